#!/usr/bin/env bash
# Builds the program in two copies of this folder, as the container image has it, and wants the same bytes from both.
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for copy in one a/second; do
	mkdir -p "$tmp/$copy"
	tar -c --exclude=./bin --exclude=node_modules . | tar -x -C "$tmp/$copy"
	GOFLAGS=-tags=timetzdata make -s -C "$tmp/$copy" build
done
cd "$tmp"
if ! cmp one/bin/mailflume a/second/bin/mailflume; then
	echo "twice: two builds of the same source differ" >&2
	exit 1
fi
echo "twice: two builds are the same $(stat -c %s one/bin/mailflume) bytes, sha256 $(sha256sum <one/bin/mailflume | cut -d' ' -f1)"
