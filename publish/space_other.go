//go:build !(linux || darwin || freebsd)

package publish

import "errors"

func freeSpace(string) (uint64, error) {
	return 0, errors.New("this system does not say: start mailflume anew once there is room")
}
