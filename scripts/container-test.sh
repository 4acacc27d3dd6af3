#!/usr/bin/env bash
# Builds the image with buildah, without a registry, unpacks it and runs its root the way a container engine does: read-only,
# as uid 65532, without capabilities, through whole fetches against a real Dovecot (internal/container).
# It takes root and installs what is missing from Debian's packages. Nothing stays behind but those.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

fail() {
	echo "container: $*" >&2
	exit 1
}
[ "$(uname)" = Linux ] || fail "this test mounts and makes namespaces, which takes Linux"
[ "$(id -u)" = 0 ] || fail "this test mounts and makes namespaces, which takes root: sudo env \"PATH=\$PATH\" make container"
command -v "${GO:-go}" >/dev/null || fail "there is no go in PATH; install Go or set GO"
go=$(command -v "${GO:-go}")
authorities=/etc/ssl/certs/ca-certificates.crt

missing=()
command -v buildah >/dev/null || missing+=(buildah)
[ -e "$authorities" ] || missing+=(ca-certificates)
[ "${#missing[@]}" = 0 ] || timeout 300 scripts/apt-install.sh "${missing[@]}" || fail "install ${missing[*]}, then try again"
CI=true timeout 300 scripts/test-deps.sh # without Dovecot there is no test

tmp=$(mktemp -d)
cleanup() {
	status=$?
	trap - EXIT
	buildah rm --all >/dev/null 2>&1 || true
	# A mount that stayed would have rm follow it out of here.
	awk -v dir="$tmp/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | tac | xargs -r umount -l || true
	if grep -qF " $tmp/" /proc/self/mountinfo; then
		echo "container: something is still mounted in $tmp; unmount it, then remove it" >&2
		exit 1
	fi
	rm -rf "$tmp"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Images and containers live in the temporary folder, as plain folders, which work on every file system.
mkdir "$tmp/tmp" "$tmp/image"
chmod 755 "$tmp" # Dovecot's mail belongs to a user of its own
cat >"$tmp/storage.conf" <<-END
	[storage]
	driver = "vfs"
	graphroot = "$tmp/store"
	runroot = "$tmp/run"
END
export CONTAINERS_STORAGE_CONF=$tmp/storage.conf BUILDAH_ISOLATION=chroot
buildah() { TMPDIR=$tmp/tmp timeout 300 buildah "$@"; }

# golang stands in for the image of that name: the tool chain that is here. Like that one it has a CA bundle.
golang() {
	local c root goroot
	goroot=$("$go" env GOROOT)
	c=$(buildah from scratch)
	root=$(buildah mount "$c")
	mkdir -p "$root/usr/local/go" "$root/etc/ssl/certs" "$root/tmp"
	# What only builds or tests the tool chain itself is left out: it is half of the bytes.
	tar -C "$goroot" -ch --exclude=testdata --exclude='*_test.go' --exclude=./src/cmd ./{VERSION,go.env,bin,pkg,src} |
		tar -C "$root/usr/local/go" -x
	cp -L "$authorities" "$root$authorities"
	buildah config --env PATH=/usr/local/go/bin --env HOME=/tmp --env GOPATH=/go --env GOCACHE=/cache --env GOTOOLCHAIN=local \
		--env GOPROXY=off "$c"
	buildah commit --quiet --rm "$c" localhost/golang >/dev/null
}

seconds() { echo "container: $1: $((SECONDS - since)) s" && since=$SECONDS; }
since=$SECONDS
timeout 300 "$go" mod download
golang
seconds "stand-in for the golang image, $(buildah images --format '{{.Size}}' localhost/golang)"

# The host's modules and compiled packages are lent to the build. The network is not needed.
gocache=$("$go" env GOCACHE)
mkdir -p "$gocache"
BUILDER=buildah GO_IMAGE=localhost/golang TAG=localhost/mailflume:test TMPDIR=$tmp/tmp timeout 300 scripts/image.sh --quiet \
	--pull-never --volume "$("$go" env GOMODCACHE):/go/pkg/mod:ro" --volume "$gocache:/cache" | tail -n 1
seconds build

c=$(buildah from --pull-never localhost/mailflume:test)
cp -a "$(buildah mount "$c")" "$tmp/image/rootfs"
buildah inspect --type image localhost/mailflume:test >"$tmp/image/image.json"
buildah push --quiet localhost/mailflume:test "dir:$tmp/pushed" >/dev/null
echo "container: $(find "$tmp/image/rootfs" -type f | wc -l) files, $(du -s --block-size=1000 "$tmp/image/rootfs" | cut -f1) kB," \
	"$(du -s --block-size=1000 "$tmp/pushed" | cut -f1) kB to pull"
seconds unpack

# The settings of the image's own build, so that what it compiled is not compiled again.
CGO_ENABLED=0 GOFLAGS='-trimpath -tags=timetzdata' MAILFLUME_CONTAINER=$tmp/image TMPDIR=$tmp/tmp \
	timeout 300 "$go" test -count=1 -timeout 3m -v ./internal/container
seconds test
