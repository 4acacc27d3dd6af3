package mailbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// claimAndDie claims the rig's mailbox and gets nowhere, as a process does that dies of its next message.
func (r *rig) claimAndDie() {
	r.t.Helper()
	broken := errors.New("killed")
	if err := r.scripted(&script{passes: [][]fetcher.Message{nil}, err: broken}, "INBOX").Drain(r.t.Context()); !errors.Is(err, broken) {
		r.t.Fatal(err)
	}
}

// Where the process that is to try out messages cannot live, whatever it is given, no message is to blame.
func TestAProcessThatCannotTryOutBlamesNoMessage(t *testing.T) {
	for _, command := range []string{"true", "/nowhere/at/all"} {
		r := newRig(t, sim.Exchange)
		r.claimAndDie()
		r.deliver("INBOX", 0, 3)
		c := r.config()
		c.Trial = []string{command}
		w := mailbox.NewWorker(c)
		must(t, w.Drain(t.Context()))
		w.Close()
		r.wantExactly("INBOX")
		wantDead(t, r.stored(), nil)
	}
}

// After a complete pass nobody can have died of what comes next: it is not tried out, though one of the folders cannot be read.
func TestCareEndsWithAPass(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	for _, folders := range [][]string{{"INBOX"}, {"INBOX", "Orders"}} {
		r := newRig(t, sim.Exchange, folders...)
		r.claimAndDie()
		tried := filepath.Join(t.TempDir(), "tried")
		c := r.config()
		c.Trial = []string{"sh", "-c", `tee -a "$0" | "$1" trial`, tried, self}
		w := mailbox.NewWorker(c)
		drain := func() (size int64) {
			t.Helper()
			var missing *fetcher.FolderError
			if err := w.Drain(t.Context()); err != nil && !errors.As(err, &missing) {
				t.Fatal(err)
			}
			info, err := os.Stat(tried)
			must(t, err)
			return info.Size()
		}
		r.deliver("INBOX", 0, 2)
		first := drain()
		if first == 0 {
			t.Error("nothing was tried out after a crash")
		}
		r.deliver("INBOX", 2, 2)
		if again := drain(); again != first {
			t.Errorf("%v: %d bytes were tried out after a pass", folders, again-first)
		}
		w.Close()
		r.wantExactly("INBOX")
	}
}

// What has no news needs no turn: it does not wait behind those that parse and commit.
func TestAPassThatFindsNothingTakesNoTurn(t *testing.T) {
	r := newRig(t, sim.Exchange)
	c := r.config()
	c.Turns = mailbox.NewTurns(1)
	w := mailbox.NewWorker(c)
	defer w.Close()
	must(t, w.Drain(t.Context()))
	c.Turns <- struct{}{} // another worker's, for as long as it hangs
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, w.Drain(ctx))
}
