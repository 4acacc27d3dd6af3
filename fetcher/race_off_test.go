//go:build !race

package fetcher

const raced = false
