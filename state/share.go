package state

import "hash/fnv"

// share returns which of the sessions is to carry a mailbox: the one with the highest score (rendezvous hashing).
// Whoever computes it gets the same answer, and when a session comes or goes only the mailboxes move that it gets or
// had.
func share(mailbox string, sessions []string) string {
	var best string
	var high uint64
	m := mix(sum(mailbox))
	for _, s := range sessions {
		if score := mix(sum(s) ^ m); best == "" || score > high || score == high && s > best {
			best, high = s, score
		}
	}
	return best
}

func sum(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// mix spreads every bit over all others (the finalizer of splitmix64); FNV alone does not.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
