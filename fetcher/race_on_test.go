//go:build race

package fetcher

// raced says that the race detector runs, which makes everything several times slower.
const raced = true
