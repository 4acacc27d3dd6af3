package publish

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server that comes back without what it had acknowledged is at first taken for a former leader, since that is no reason
// to begin anew; if it stays so, it has lost something, and its answer counts: the mailbox is not held up for ever.
func TestAServerThatLostWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	now, old := filepath.Join(dir, "now"), filepath.Join(dir, "old")
	conf := ownPort(t) + "jetstream {sync_interval: always}"
	srv := external(t, now, conf)
	p := mustSetup(t, mustOpen(t, Config{URL: srv.ClientURL()}))
	p.doubt = 300 * time.Millisecond
	tail := mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 3)})
	restart := func(between func() error) {
		srv.Shutdown()
		srv.WaitForShutdown()
		eventually(t, 20*time.Second, "it knows that the server is gone", func() bool { return !p.nc.IsConnected() })
		if err := between(); err != nil {
			t.Fatal(err)
		}
		srv = external(t, now, conf)
		eventually(t, 20*time.Second, "it is connected again", p.nc.IsConnected)
	}
	restart(func() error { return os.CopyFS(old, os.DirFS(now)) })
	mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 3, 2)})
	restart(func() error { return errors.Join(os.RemoveAll(now), os.CopyFS(now, os.DirFS(old))) })
	if _, err := p.Recover(timeout(t, 20*time.Second), "m", nil); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("at first: %v", err)
	}
	time.Sleep(p.doubt)
	if c := mustRecover(t, p, "m", "INBOX"); c.Seq != tail || c.Stream.Last != tail || c.Folders["INBOX"].Position != "3" {
		t.Errorf("later: %+v", c)
	}
	mustCommit(t, p, Batch{Mailbox: "m", After: tail, Events: evs("INBOX", 3, 2)})
}
