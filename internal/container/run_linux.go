package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run is one run of an image, as by
//
//	docker run --read-only --cap-drop ALL --security-opt no-new-privileges --network host
//
// in new mount, process, host name and IPC namespaces. Root must be a copy that the Run may make mount points in.
type Run struct {
	Root     string
	User     int // and group
	Hostname string
	Env      []string
	Pass     []string // variables to take over from whoever starts it, by name
	Mounts   []Mount
	Args     []string // the first is a path in Root
}

// Mount is a folder of the host in a container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

const variable = "CONTAINER_RUN"

// Environ returns the variable that makes this program, started again, the container. SIGTERM and SIGINT reach what runs
// in it, and its exit code is the program's.
func (r Run) Environ() (string, error) {
	text, err := json.Marshal(r)
	return variable + "=" + string(text), err
}

// failed is the exit code of engines when the container could not be started.
const failed = 125

// Become turns this process into the container that its environment describes. Without one it returns at once.
func Become() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	var r Run
	err := json.Unmarshal([]byte(text), &r)
	code := failed
	switch {
	case err != nil:
	case os.Getpid() != 1:
		code, err = supervise()
	default: // the first process of its namespace
		err = r.enter()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "container: %v\n", err)
	}
	os.Exit(code)
}

// supervise starts this program once more, in namespaces of its own, and stands for it: an exec alone would leave it in the
// process namespace of the host, where it is not the first process.
func supervise() (int, error) {
	runtime.LockOSThread() // the kernel binds the death signal to the thread
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return failed, fmt.Errorf("make namespaces, which takes root: %w", err)
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s) // it may be gone
		}
	}()
	err := cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return failed, err
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// enter makes this process the one in the container. It returns only if that failed.
func (r Run) enter() error {
	runtime.LockOSThread() // capabilities belong to threads
	if err := r.mount(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(r.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := errors.Join(unix.Chroot(r.Root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := dropPrivileges(r.User); err != nil {
		return err
	}
	env := r.Env
	for _, name := range r.Pass {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return fmt.Errorf("start %s: %w", strings.Join(r.Args, " "), unix.Exec(r.Args[0], r.Args, env))
}

// mount makes what the container sees: its root read-only, the mounts, and /proc, which every engine provides.
func (r Run) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the mounts from the host: %w", err)
	}
	if err := unix.Mount(r.Root, r.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range r.Mounts {
		target := filepath.Join(r.Root, m.Target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("make a mount point: %w", err)
		}
		flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | safe)
		if m.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		if err := errors.Join(unix.Mount(m.Source, target, "", unix.MS_BIND, ""), unix.Mount("", target, "", flags, "")); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.Source, m.Target, err)
		}
	}
	proc := filepath.Join(r.Root, "proc")
	if err := errors.Join(os.MkdirAll(proc, 0o555), unix.Mount("proc", proc, "proc", safe, "")); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("", r.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}

// dropPrivileges leaves no capability and no way to get one back.
func dropPrivileges(user int) error {
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > 0 {
			break // there are no more
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(user, user, user), syscall.Setresuid(user, user, user)); err != nil {
		return fmt.Errorf("become user %d: %w", user, err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	// A change of user takes the death signal away.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("tie it to its supervisor: %w", err)
	}
	return nil
}
