#!/usr/bin/env bash
# Unpacks Cyrus and the libraries that it needs from Debian's packages into the directory $1, and installs nothing: its
# package and Dovecot's cannot be installed together.
set -euo pipefail
dir=${1:?usage: cyrus.sh DIR}
[ -e "$dir/usr/lib/cyrus/bin/imapd" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if [ "$(id -u)" = 0 ]; then
	chmod 755 .                        # apt-get downloads as another user
	apt-get -q -o Acquire::Retries=3 update >/dev/null || true # the list that is here may do
fi
apt-get -q -o Acquire::Retries=3 download cyrus-common cyrus-imapd libsasl2-2 libsasl2-modules libxapian30 libpcre3 libical3 libicu72 libwrap0 libcom-err2 \
	libjansson4 libxml2 libpq5 libsqlite3-0 libmariadb3 libnghttp2-14 libldap-2.5-0 libbrotli1 >/dev/null
for package in *.deb; do dpkg -x "$package" root; done
chmod 755 root # the daemon gives up its rights
mkdir -p "$(dirname "$dir")"
mv root "$dir"
