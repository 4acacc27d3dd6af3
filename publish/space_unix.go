//go:build linux || darwin || freebsd

package publish

import "golang.org/x/sys/unix"

// freeSpace is how many bytes more we may write to the disk of a directory.
func freeSpace(dir string) (uint64, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(dir, &fs)
	return uint64(fs.Bavail) * uint64(fs.Bsize), err //nolint:unconvert // the types differ from system to system
}
