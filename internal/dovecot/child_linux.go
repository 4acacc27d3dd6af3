package dovecot

import (
	"runtime"
	"syscall"
)

// childAttr makes the daemon lead a process group and end when the thread that started it ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func lockThread() { runtime.LockOSThread() }
