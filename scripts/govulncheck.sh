#!/usr/bin/env bash
# Looks for known vulnerabilities that the code reaches. The database is the public one, or a copy of it: file:///folder, or
# an archive (.tar.xz) of such a folder. Where none can be reached it says so and lets the other checks stand.
set -euo pipefail
cd "$(dirname "$0")/.."
db=${1:-}
case $db in
'')
	if ! curl -fsS --max-time 10 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then
		echo "govulncheck: not run: the vulnerability database cannot be reached; set VULNDB to a copy of it"
		exit 0
	fi
	;;
*.tar.xz)
	unpacked=$(mktemp -d)
	trap 'rm -rf "$unpacked"' EXIT
	tar -xJf "$db" -C "$unpacked"
	db=file://$(dirname "$(dirname "$(find "$unpacked" -path '*/index/db.json')")")
	;;
esac
go tool -modfile=tools/go.mod govulncheck ${db:+-db "$db"} ./...
