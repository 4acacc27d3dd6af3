#!/bin/sh
# Installs what the tests need beside Go, where it is missing: Dovecot, from Debian's packages.
# Where that cannot be done it says so and exits 0, because the tests that need it are then skipped; with CI=true it fails.
set -eu

PATH=$PATH:/usr/sbin

unable() {
	echo "test-deps: $1; the tests against a real Dovecot will be skipped" >&2
	case ${CI:-} in
	1 | t | T | true | True | TRUE) exit 1 ;;
	esac
	exit 0
}

if command -v dovecot >/dev/null && [ -e /usr/lib/dovecot/imap ]; then
	exit 0
fi
command -v apt-get >/dev/null || unable "dovecot is missing and there is no apt-get to install it with"

as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null && sudo -n true 2>/dev/null || unable "dovecot is missing and installing it takes root"
	as_root='sudo -n'
fi

# Only the program is wanted: nothing may be started. A policy that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	$as_root chmod +x "$policy"
	trap '$as_root rm -f "$policy"' EXIT
fi

install() {
	$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends dovecot-imapd
}
echo "test-deps: installing dovecot-imapd" >&2
log=$(mktemp)
if install >"$log" 2>&1 || { $as_root apt-get update -q >>"$log" 2>&1 && install >>"$log" 2>&1; }; then
	rm -f "$log"
	exit 0
fi
tail -n 5 "$log" >&2
rm -f "$log"
unable "dovecot-imapd could not be installed"
