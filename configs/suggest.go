package configs

import "strings"

// closest returns the candidate that word is most likely a misspelling of.
func closest(word string, candidates []string) (string, bool) {
	if len(word) > 64 {
		return "", false
	}
	best, at := "", 0
	for _, c := range candidates {
		d := distance(plainKey(word), plainKey(c))
		if len(c) > 3 && strings.HasPrefix(word, c) {
			d = 1 // warning for warn
		}
		if d <= 1+len(c)/4 && d < len(c)-1 && (best == "" || d < at) {
			best, at = c, d
		}
	}
	return best, best != ""
}

// plainKey leaves out what people vary in the spelling of a key: case, underscores and hyphens.
func plainKey(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours that lead from a to b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
