package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailflume/mailflume/internal/chaos"
	"github.com/mailflume/mailflume/internal/process"
)

// options are what a test gives to a container beside the image's own settings.
type options struct {
	name   string
	env    []string // wins over the image's
	mounts []Mount
	args   []string // the image's command if nil
}

// run says how to run the image. Each run has a root of its own, because engines make the mount points in a layer of the
// container.
func run(t *testing.T, i *Image, o options) Run {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", i.Root, root).CombinedOutput(); err != nil {
		t.Fatalf("copy the root: %v\n%s", err, out)
	}
	if o.args == nil {
		o.args = i.Config.Cmd
	}
	if o.name == "" {
		o.name = "container"
	}
	return Run{
		Root: root, User: user, Hostname: o.name, Mounts: o.mounts,
		Env:  override(i.Config.Env, o.env),
		Pass: []string{"CHAOS_CLIENT_SECRET", "CHAOS_SEALING_KEY"},
		Args: slices.Concat(i.Config.Entrypoint, o.args),
	}
}

// override returns the variables of base that by does not set, and those that it does.
func override(base, by []string) []string {
	kept := slices.DeleteFunc(slices.Clone(base), func(old string) bool {
		name, _, _ := strings.Cut(old, "=")
		return slices.ContainsFunc(by, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	})
	return append(kept, by...)
}

// start runs the image until it ends by itself.
func start(t *testing.T, i *Image, o options) (out string, code int) {
	t.Helper()
	return execute(t, run(t, i, o))
}

func execute(t *testing.T, r Run) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self(t))
	cmd.Env = append(os.Environ(), environ(t, r))
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func self(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func environ(t *testing.T, r Run) string {
	t.Helper()
	text, err := r.Environ()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// world is a Dovecot, a token endpoint and, if nats is the path of a nats-server, that. What it takes for the program under
// test is this one: it becomes the container.
func world(t *testing.T, nats string) *chaos.World {
	t.Helper()
	w, err := chaos.New(t.Context(), chaos.Options{Binary: self(t), NATS: nats, Mailboxes: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// configuration returns the world's configuration as a mount: all files of it in one folder that only our user can read.
func configuration(t *testing.T, w *chaos.World) Mount {
	t.Helper()
	const inside = "/etc/mailflume"
	from, dir := filepath.Dir(w.Config), t.TempDir()
	text, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(from), []byte(inside))
	text = bytes.ReplaceAll(text, []byte(w.Dovecot.CAFile), []byte(inside+"/ca.pem"))
	files := map[string][]byte{filepath.Base(w.Config): text, "ca.pem": w.Dovecot.CertPEM}
	tokens, err := filepath.Glob(filepath.Join(from, "*.refresh-token"))
	if err != nil || len(tokens) == 0 {
		t.Fatalf("no refresh tokens in %s: %v", from, err)
	}
	for _, name := range tokens {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(name, text, 0o400), os.Chown(name, user, user)); err != nil {
			t.Fatal(err)
		}
	}
	return Mount{Source: dir, Target: inside, ReadOnly: true}
}

// volume returns an empty volume, with the owner that engines take over from the image.
func volume(t *testing.T) Mount {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	return Mount{Source: dir, Target: "/data"}
}

// page returns the setting that has the page listen on a port that is free: the containers share the host's network.
func page(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "MAILFLUME_HTTP_LISTEN=127.0.0.1:" + port
}

// deliver puts n messages into the mailboxes.
func deliver(ctx context.Context, t *testing.T, w *chaos.World, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	mails, err := chaos.Mails("", n, rng)
	if err == nil {
		err = w.Deliver(ctx, rng, mails...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// healthy asks the container how it is by the image's own health check, as an engine does.
func healthy(t *testing.T, i *Image, env string) (said string, ok bool) {
	t.Helper()
	r := run(t, i, options{env: []string{env}})
	if len(i.Config.Healthcheck.Test) < 2 {
		t.Fatal("the image has no health check")
	}
	r.Args = i.Config.Healthcheck.Test[1:]
	out, code := execute(t, r)
	return strings.TrimSpace(out), code == 0
}

// inside returns what /proc tells of the process in the container that p stands for.
func inside(t *testing.T, p *process.Process) (status string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // it has ended
		}
		if field(string(text), "PPid") == strconv.Itoa(p.Pid()) {
			return string(text)
		}
	}
	t.Fatalf("there is nothing in the container: %v", p.Running())
	return ""
}

func field(status, name string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// confined checks that what runs in the container has nothing that could get it out, and is process 1.
func confined(t *testing.T, p *process.Process) {
	t.Helper()
	status := inside(t, p)
	none := strings.Repeat("0", 16)
	id := strings.TrimSpace(strings.Repeat(strconv.Itoa(user)+" ", 4)) // real, effective, saved, of files
	for name, want := range map[string]string{
		"Name": "mailflume", "Uid": id, "Gid": id, "Groups": "", "NoNewPrivs": "1",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
	} {
		if got := field(status, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if pids := strings.Fields(field(status, "NSpid")); len(pids) == 0 || pids[len(pids)-1] != "1" {
		t.Errorf("NSpid is %q, want it to be the first process of its namespace", pids)
	}
	root := "/proc/" + field(status, "Pid") + "/root"
	if err := os.WriteFile(root+"/written", nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing to its root, even by us: %v, want %v", err, syscall.EROFS)
	}
}

// nats builds the nats-server of the module that the program is built with.
func nats(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nats-server")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	return binary
}

// judge wants every message of the servers on the stream, once and with the servers' bytes.
func judge(ctx context.Context, t *testing.T, w *chaos.World, want int) {
	t.Helper()
	v, _, err := w.Judge(ctx)
	if err == nil {
		err = v.Err()
	}
	if err == nil && v.Events != want {
		err = fmt.Errorf("%d events, want %d", v.Events, want)
	}
	if err != nil {
		t.Fatal(err)
	}
}
