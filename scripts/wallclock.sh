#!/usr/bin/env bash
# Runs go test with a clock on the wall that a test can move, while timers go on: the arguments are those of go test.
# The package time that the test is built with has one line more in Now, and the function ShiftWall. In a bubble of
# testing/synctest, where times have no monotonic part, they get one from the bubble's clock.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$(go env GOROOT)
sed '/^func Now() Time {$/,/^}$/s/^\tsec, nsec, mono := runtimeNow()$/&\n\tsec, mono = shifted(sec, nsec, mono)/' "$root/src/time/time.go" >"$dir/time.go"
grep -q shifted "$dir/time.go" || { echo "time.Now of $(go version) looks different: see $0" >&2; exit 1; }
cat >"$dir/shift.go" <<'GO'
package time

import "sync/atomic"

var wallShift atomic.Int64

// ShiftWall says by how many seconds the clock on the wall is ahead of the one that was there at the start.
func ShiftWall(seconds int64) { wallShift.Store(seconds) }

func shifted(sec int64, nsec int32, mono int64) (wall, monotonic int64) {
	if mono == 0 {
		mono = startNano + 1 + (sec-946684800)*1_000_000_000 + int64(nsec)
	}
	return sec + wallShift.Load(), mono
}
GO
cat >"$dir/overlay.json" <<JSON
{"Replace": {"$root/src/time/time.go": "$dir/time.go", "$root/src/time/shift.go": "$dir/shift.go"}}
JSON
go test -overlay "$dir/overlay.json" -tags wallclock "$@"
