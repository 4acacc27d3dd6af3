package fetcher

import (
	"context"
	"io"
	"net"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// attack is a script of a server that means harm: at the command, or instead of the greeting, it sends first and then each
// of rest, over and over, until we cut the connection. It never does so itself. %d in rest is a number.
type attack struct {
	name, at, first, rest string
}

const kilo = 1 << 10

// attacks are 60 scripts, each of which breaks a limit or would fill the memory of a client without one.
var attacks = slices.Concat(
	anywhere("GREETING"), anywhere("AUTHENTICATE"), anywhere("EXAMINE"), anywhere("UID SEARCH"), anywhere("UID FETCH"),
	[]attack{
		{"literals of ID", "ID", "* ID (", "{60000}\r\n" + strings.Repeat("x", 60000)},
		{"capabilities", "CAPABILITY", "* CAPABILITY", strings.Repeat(" X%d", kilo)},
		{"capability lines", "CAPABILITY", "", "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 X%d\r\n"},
		{"challenges", "AUTHENTICATE", "", "+ eyJzdGF0dXMiOiI0MDAifQ==\r\n"},
		{"namespaces", "NAMESPACE", "* NAMESPACE ", strings.Repeat("(", kilo)},
		{"literal of NAMESPACE", "NAMESPACE", "* NAMESPACE {9223372036854775807}\r\n", "x"},
		{"folders", "LIST", "", "* LIST (\\X%d) \"/\" \"folder %d\"\r\n"},
		{"long names of folders", "LIST", "", "* LIST () \"/\" \"" + strings.Repeat("%d", 20*kilo) + "\"\r\n"},
		{"attributes of folders", "LIST", "", "* LIST (" + strings.Repeat("\\X%d ", 20*kilo) + ") \"/\" a\r\n"},
		{"name as literal", "LIST", "* LIST () \"/\" {100000000}\r\n", strings.Repeat("x", kilo)},
		{"names as literals", "LIST", "", "* LIST () \"/\" {60000}\r\n" + strings.Repeat("x", 60000) + "\r\n"},
		{"UIDs in one line", "UID SEARCH", "* SEARCH", " 1%d"},
		{"UIDs in many lines", "UID SEARCH", "", "* SEARCH" + strings.Repeat(" 1%d", 20*kilo) + "\r\n"},
		{"ESEARCH", "UID SEARCH", "", "* ESEARCH (TAG \"T9\") UID ALL 1:4294967295\r\n"},
		{"numbers", "UID SEARCH", "* SEARCH ", "9"},
		{"parentheses", "UID FETCH", "* 1 FETCH (", strings.Repeat("(", kilo)},
		{"BODYSTRUCTURE", "UID FETCH", "* 1 FETCH (BODYSTRUCTURE ", strings.Repeat("(", kilo)},
		{"nesting of the unknown", "UID FETCH", "* XYZ ", strings.Repeat("((x)", kilo)},
		{"literal of 9.2 EB", "UID FETCH", "* 1 FETCH (UID 1 BODY[] {9223372036854775807}\r\n", strings.Repeat("x", kilo)},
		{"literal of 10^30", "UID FETCH", "* 1 FETCH (UID 1 BODY[] {1000000000000000000000000000000}\r\n", "x"},
		{"literal of -1", "UID FETCH", "", "* 1 FETCH (UID 1 BODY[] {-1}\r\n"},
		{"large literal inside", "UID FETCH", "* 1 FETCH (UID 1 X-GM-LABELS ({100000000}\r\n", strings.Repeat("x", kilo)},
		{"literals inside", "UID FETCH", "* 1 FETCH (X-GM-LABELS (", "{1}\r\nx "},
		{"literals skipped", "UID FETCH", "* 1 FETCH (X (", "{1}\r\nx "},
		{"large literals skipped", "UID FETCH", "* 1 FETCH (X (", "{1000000}\r\n" + strings.Repeat("x", 1e6) + " "},
		{"bodies of others", "UID FETCH", "", "* 1 FETCH (UID 9 BODY[] {1000000}\r\n" + strings.Repeat("x", 1e6) + ")\r\n"},
		{"bodies again", "UID FETCH", "", "* 1 FETCH (UID 1 BODY[] {1000000}\r\n" + strings.Repeat("x", 1e6) + ")\r\n"},
		{"bodies without UID", "UID FETCH", "", "* 1 FETCH (BODY[] {1000000}\r\n" + strings.Repeat("x", 1e6) + ")\r\n"},
		{"a response without end", "UID FETCH", "* 1 FETCH (UID 1 BODY[] {3}\r\nabc", " X 1"},
		{"flags", "UID FETCH", "* 1 FETCH (UID 1 FLAGS (", "\\F%d "},
		{"flags of many", "UID FETCH", "", "* 1 FETCH (UID 1 FLAGS (" + strings.Repeat("\\F%d ", 20*kilo) + "))\r\n"},
		{"labels of many", "UID FETCH", "", "* 1 FETCH (UID 1 X-GM-LABELS (" + strings.Repeat("L%d ", 20*kilo) + "))\r\n"},
		{"EXISTS in IDLE", "IDLE", "+ idling\r\n", "* %d EXISTS\r\n"},
		{"lines in IDLE", "IDLE", "+ idling\r\n", "* OK still here\r\n"},
		{"literals in IDLE", "IDLE", "+ idling\r\n", "* XYZ {1000000}\r\n" + strings.Repeat("x", 1e6) + "\r\n"},
	})

// anywhere are attacks that do not care about the command.
func anywhere(at string) []attack {
	return []attack{
		{"a line without end", at, "* OK ", strings.Repeat("x", 64*kilo)},
		{"a tag without end", at, "", strings.Repeat("x", 64*kilo)},
		{"lines", at, "* OK x\r\n", "* OK [ALERT] %d\r\n"},
		{"empty lines", at, "* OK\r\n", "\r\n"},
		{"NULs", at, "", strings.Repeat("\x00", kilo)},
	}
}

// run plays the script on one connection.
func (a attack) run(conn net.Conn) {
	go io.Copy(io.Discard, conn) //nolint:errcheck // as a socket does, which takes what nobody reads
	if _, err := io.WriteString(conn, a.first); err != nil {
		return
	}
	chunk := strings.Repeat(a.rest, max(1, 16*kilo/len(a.rest))) // a fast server
	for i := 100; ; i++ {
		if _, err := io.WriteString(conn, strings.ReplaceAll(chunk, "%d", strconv.Itoa(i%1000))); err != nil {
			return
		}
	}
}

// suffer talks to the server of a script until the connection ends, and returns why.
func (a attack) suffer(t *testing.T) error {
	f := newFake(t, 1)
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool { c.say("* LIST () \"/\" Work\r\n%s OK", tag); return true }
	f.on[a.at] = func(c *fakeConn, _, _ string) bool { a.run(c.Conn); c.fail = io.EOF; return true }
	c := f.config()
	c.Folders = []string{"Work"}
	if a.at == "GREETING" {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { defer server.Close(); a.run(server) }()
			return client, nil
		}
	}
	s, err := Open(t.Context(), c, secret{"x"})
	if err != nil {
		return err
	}
	defer s.Close()
	for range 5 {
		if r := readAll(t.Context(), s, nil); r.err != nil {
			return r.err
		}
		if err := s.Wait(t.Context()); err != nil {
			return err
		}
	}
	return nil
}

// TestHostileScripts: whatever a server sends, the process lives, a breach is cut before it has cost 5 seconds of a
// processor, no script costs more than 64 MiB, and another mailbox is read all the while. TestHostileNeighbour has the times.
func TestHostileScripts(t *testing.T) {
	if len(attacks) < 60 {
		t.Fatalf("%d scripts", len(attacks))
	}
	quiet := victim(t, 100*time.Millisecond, func() {})
	var slow []time.Duration
	for i, a := range attacks {
		if raced && i%3 > 0 {
			continue // twenty show what the race detector can see
		}
		t.Run(a.at+" "+a.name, func(t *testing.T) {
			before := heap()
			most := make(chan uint64)
			stop := make(chan struct{})
			go watchHeap(stop, most)
			began := processorTime()
			slow = append(slow, victim(t, 0, func() {
				if err := a.suffer(t); err == nil {
					t.Error("no error")
				} else if len(err.Error()) > 1000 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
			})...)
			close(stop)
			if peak := <-most; peak > before+64<<20 {
				t.Errorf("%d MiB of memory", (peak-before)>>20)
			}
			if took := processorTime() - began; took > 5*time.Second {
				t.Errorf("cut after %v", took)
			}
		})
	}
	slices.Sort(quiet)
	slices.Sort(slow)
	before, during := quiet[len(quiet)/2], slow[len(slow)/2]
	t.Logf("%d scripts; a pass of another mailbox took %v before and %v meanwhile (medians)", len(attacks), before, during)
	if during > 20*before+50*time.Millisecond {
		t.Errorf("another mailbox had to wait: %v instead of %v", during, before)
	}
}

// victim reads a mailbox, over and over, for at least so long and until do has returned, and returns how long each pass
// took.
func victim(t *testing.T, least time.Duration, do func()) (passes []time.Duration) {
	f := newFake(t, 1, 2, 3)
	s, err := Open(t.Context(), f.config(), secret{"x"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		start := time.Now()
		wantUIDs(t, readAll(t.Context(), s, nil), 1, 2, 3)
		passes = append(passes, time.Since(start))
		select {
		case <-done:
			if time.Since(began) >= least {
				return passes
			}
		default:
		}
	}
}

// heap returns the bytes of memory in use, garbage included.
func heap() (sum uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		sum += s.Value.Uint64()
	}
	return sum
}

func watchHeap(stop <-chan struct{}, most chan<- uint64) {
	var peak uint64
	for {
		peak = max(peak, heap())
		select {
		case <-stop:
			most <- peak
			return
		case <-time.After(time.Millisecond):
		}
	}
}
