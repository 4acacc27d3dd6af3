package process

import "syscall"

// KilledBy returns the signal that ended the process; ok is false while it runs, and if it ended by itself.
func (p *Process) KilledBy() (s syscall.Signal, ok bool) {
	select {
	case <-p.gone:
	default:
		return 0, false
	}
	status, is := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !is || !status.Signaled() {
		return 0, false
	}
	return status.Signal(), true
}
