#!/usr/bin/env bash
# Runs the benchmarks of the parser against go-message and lets benchstat compare them. The first column is go-message, so
# the percentages say how much less time, and how many fewer allocations, ours take. COUNT runs each (default 6).
# MAILFLUME_CORPUS may name a folder of real messages for the mix "small".
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
go test -run '^$' -bench Walk -cpu 1 -count "${COUNT:-6}" -benchtime "${BENCHTIME:-300ms}" -timeout 20m ./parser | tee "$out" >&2
go tool -modfile=tools/go.mod benchstat -col /impl -row /mix "$out"
# benchstat shows how much time falls away; the ratios are what one wants to read. They are of the CPU time of the
# best run of each, which what else runs on the machine changes least.
awk '
	/^Benchmark/ {
		split($1, name, /mix=|\/impl=/); mix = name[2]; impl = name[3]; sub(/-[0-9]+$/, "", impl)
		key = mix " " impl; n[key]++; for (i = 3; i < NF; i += 2) v[key, $(i + 1), n[key]] = $i
	}
	function best(key, unit,   i, least) {
		least = v[key, unit, 1]
		for (i = 2; i <= n[key]; i++) if (v[key, unit, i] + 0 < least + 0) least = v[key, unit, i]
		return least
	}
	END {
		for (m = 1; m <= 2; m++) {
			mix = m == 1 ? "small" : "large"; g = mix " go-message"; w = mix " walk"; p = mix " parse"
			printf "%s: walk %.2f times as fast as go-message, with %.2f of its allocations and %.2f of its bytes; all of Parse %.2f times as fast\n",
				mix, best(g, "cpu-ns/op") / best(w, "cpu-ns/op"), best(w, "allocs/op") / best(g, "allocs/op"), best(w, "B/op") / best(g, "B/op"),
				best(g, "cpu-ns/op") / best(p, "cpu-ns/op")
		}
		printf "large: walk at %.0f %% of the speed of base64 and sha256 alone\n", 100 * best("large floor", "cpu-ns/op") / best("large walk", "cpu-ns/op")
	}' "$out"
