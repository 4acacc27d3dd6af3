package process

import (
	"runtime"
	"syscall"
)

// attr makes the program lead a process group, and be killed when the thread that started it ends.
func attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// lockThread keeps that thread for the goroutine that waits for the program.
func lockThread() { runtime.LockOSThread() }
