package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mailflume/mailflume/internal/process"
	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "trial" { // a service under test looks for the program that it is in
		main()
	}
	testscript.Main(m, map[string]func(){"mailflume": main})
}

// The scripts run the program as its users do: each mailflume in them is a process of its own, with exit code and signals.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Deadline:            time.Now().Add(2 * time.Minute),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values[simKey{}] = new(*sim.World)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":    cmdCode,
			"port":    cmdPort,
			"hog":     cmdHog,
			"oldnats": cmdOldNATS,
			"await":   cmdAwait,
			"pid":     cmdPID,
			"term":    cmdTerm,
			"sim":     cmdSim,
		},
	})
}

// within is how long a script waits for what takes a moment; a busy machine may need much of it.
const within = 30 * time.Second

// arguments fails the script unless there are n of them.
func arguments(ts *testscript.TestScript, neg bool, args []string, n int, how string) {
	if neg || len(args) != n {
		ts.Fatalf("usage: %s", how)
	}
}

// cmdCode runs a command whose exit code must be the given one; stdout and stderr are then in files of those names.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// cmdPort sets a variable to an address on which nobody listens.
func cmdPort(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "port VAR")
	port, err := process.FreePort()
	ts.Check(err)
	ts.Setenv(args[0], "127.0.0.1:"+port)
}

// cmdHog sets a variable to an address that is in use.
func cmdHog(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "hog VAR")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// cmdOldNATS sets a variable to the address of a NATS server that knows no atomic batches.
func cmdOldNATS(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "oldnats VAR")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go oldNATS(conn)
		}
	}()
}

// oldNATS says as much as a client needs to take it for a server of version 2.10.
func oldNATS(conn net.Conn) {
	defer conn.Close()
	fmt.Fprintf(conn, "INFO {\"server_id\":\"OLD\",\"version\":\"2.10.29\",\"proto\":1,\"headers\":true,\"jetstream\":true,\"max_payload\":1048576}\r\n")
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if regexp.MustCompile(`(?m)^PING\r$`).Match(buf[:n]) {
			fmt.Fprint(conn, "PONG\r\n")
		}
	}
}

// cmdAwait polls an URL until what it answers, status and body, matches.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "await URL REGEXP")
	want, err := regexp.Compile(args[1])
	ts.Check(err)
	got := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = get(args[0]); want.MatchString(got) {
			return
		}
	}
	ts.Fatalf("%s does not match %q within %v:\n%s", args[0], args[1], within, got)
}

// get returns the status and the body of a page, or why there is none.
func get(url string) string {
	answer, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return answer.Status + "\n" + string(body)
}

// last returns the background command that was started last.
func last(ts *testscript.TestScript) *os.Process {
	all := ts.BackgroundCmds()
	if len(all) == 0 {
		ts.Fatalf("nothing runs in the background")
	}
	return all[len(all)-1].Process
}

// cmdPID sets a variable to the process id of the background command that was started last.
func cmdPID(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "pid VAR")
	ts.Setenv(args[0], strconv.Itoa(last(ts).Pid))
}

// cmdTerm sends SIGTERM to the background command that was started last and gives it the time that a container has before
// it is killed. The wait that follows tells how it ended.
func cmdTerm(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 0, "term")
	p := last(ts)
	ts.Check(p.Signal(syscall.SIGTERM))
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if p.Signal(syscall.Signal(0)) != nil {
			return
		}
	}
	ts.Fatalf("it still runs 10 s after SIGTERM")
}

// simKey is where a script keeps its simulated providers.
type simKey struct{}

// cmdSim starts the simulated providers and writes mailflume.yaml for a mailbox at each, sales and support; then it puts
// sample mails into one of them.
func cmdSim(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case !neg && len(args) == 1 && args[0] == "start":
		world := sim.New(sim.Options{})
		ts.Defer(world.Close)
		path, err := writeDemoConfig(ts.Getenv("WORK"), world)
		ts.Check(err)
		// Where NATS is, a script says by variables.
		text := strings.Replace(ts.ReadFile(path), "nats: {embedded: {listen: \"127.0.0.1:0\"}}\n", "", 1)
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
		ts.Setenv("MAILFLUME_NATS_EMBEDDED_LISTEN", "127.0.0.1:0")
		*ts.Value(simKey{}).(**sim.World) = world
	case !neg && len(args) == 3 && args[0] == "deliver":
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		world := *ts.Value(simKey{}).(**sim.World)
		for _, m := range demoMailboxes {
			for i := 0; m.name == args[1] && i < n; i++ {
				world.Account(m.address).Deliver("INBOX", samples.Nth(i, time.Now()), time.Now())
			}
		}
	default:
		ts.Fatalf("usage: sim start, or sim deliver MAILBOX N")
	}
}
