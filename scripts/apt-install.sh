#!/bin/sh
# Installs Debian packages for tests: apt-install.sh PACKAGE... Only their files are wanted, so nothing of them is started.
# It is silent unless it fails; then it says why and exits 1.
set -eu

PATH=$PATH:/usr/sbin:/sbin

command -v apt-get >/dev/null || {
	echo "apt-install: there is no apt-get; install $* yourself" >&2
	exit 1
}
as_root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
		echo "apt-install: installing $* takes root" >&2
		exit 1
	fi
	as_root='sudo -n'
fi

# A policy that is there already stays.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
ours=
trap 'rm -f "$log"; [ -z "$ours" ] || $as_root rm -f "$policy"' EXIT
if [ ! -e "$policy" ]; then
	ours=yes
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod +x "$policy"
fi

install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o Acquire::Retries=3 --no-install-recommends "$@"
}
install "$@" >"$log" 2>&1 && exit 0
# The list of packages may be missing, or too old.
{ $as_root apt-get update -q -o Acquire::Retries=3 && install "$@"; } >>"$log" 2>&1 && exit 0
tail -n 5 "$log" >&2
echo "apt-install: $* could not be installed" >&2
exit 1
