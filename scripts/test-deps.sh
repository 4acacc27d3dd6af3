#!/bin/sh
# Installs what the tests need beside Go, where it is missing: Dovecot from Debian's packages, or with the argument chromium
# a browser. Where that cannot be done it says so and exits 0, because the tests that need it are then skipped; with CI=true
# it fails, and so it does for the browser, which only its own test asks for.
set -eu
PATH=$PATH:/usr/sbin
case ${1:-dovecot} in
chromium)
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null && exit 0
	echo "test-deps: installing chromium" >&2
	exec "$(dirname "$0")/apt-install.sh" chromium
	;;
dovecot) ;;
*)
	echo "usage: test-deps.sh [chromium]" >&2
	exit 2
	;;
esac
if command -v dovecot >/dev/null && [ -e /usr/lib/dovecot/imap ]; then
	exit 0
fi
echo "test-deps: installing dovecot-imapd" >&2
if "$(dirname "$0")/apt-install.sh" dovecot-imapd; then
	exit 0
fi
echo "test-deps: without dovecot the tests against a real server are skipped" >&2
case ${CI:-} in
1 | t | T | true | True | TRUE) exit 1 ;;
esac
