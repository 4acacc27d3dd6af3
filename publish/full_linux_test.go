package publish

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The disk of the built-in server is full for a while: with what it has written itself, up to the part that nats-server takes,
// or with the files of others. What was acknowledged is there before and after the server is started anew, and with
// room it takes events again; without, nothing is done.
func TestRestartAfterAFullDisk(t *testing.T) {
	for name, ballast := range map[string]int{"with mail": 0, "with the files of others": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
				t.Skipf("a small file system cannot be mounted here: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			c := embeddedConfig(dir)
			c.Embedded.Listen = "127.0.0.1:0"
			p := mustSetup(t, mustOpen(t, c))
			url := p.Status().URL
			must(t, os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, ballast), 0o600))
			ctx, patience := timeout(t, time.Minute), p.commitWait
			p.commitWait = time.Second // to what its disk does not take the server may give no answer at all
			w := writer{p: p, mailbox: "m", folders: []string{"INBOX"}, size: 50_000}
			acked := fillUp(ctx, t, &w)
			before := p.server.srv.Load()
			wantError(t, p.Restart(ctx), ErrFull, dir, "room")
			if p.server.srv.Load() != before {
				t.Error("it was started anew without room")
			}
			if n := checkHistory(t, ledgerOf(t, p, "m")); n < acked {
				t.Errorf("%d of %d events", n, acked)
			}

			must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
			if _, err := p.Commit(ctx, Batch{Mailbox: "other", Events: evs("INBOX", 0, 1)}); err == nil {
				t.Error("nats-server goes on by itself: Restart is not needed any more")
			}
			p.commitWait = patience
			back := p.Back()
			must(t, p.Restart(ctx))
			select {
			case <-back:
			case <-ctx.Done():
				t.Fatal("the connection does not come back")
			}
			must(t, w.step(ctx, "INBOX", 20))
			if n := checkHistory(t, ledgerOf(t, p, "m")); n < acked+20 {
				t.Errorf("%d of %d events", n, acked+20)
			}
			if now := p.Status().URL; now != url {
				t.Errorf("others find it at %s, and knew it at %s", now, url)
			}
			before = p.server.srv.Load()
			must(t, p.Restart(ctx))
			if p.server.srv.Load() != before {
				t.Error("it was started anew although it writes")
			}
		})
	}
}

// fillUp adds events until the server refuses them and says so, and returns how many it acknowledged. It adds them one by
// one: of a batch that it cannot store nats-server (2.15.2) leaves a goroutine behind.
func fillUp(ctx context.Context, t *testing.T, w *writer) (acked int) {
	t.Helper()
	for {
		err := w.step(ctx, "INBOX", 1)
		if err == nil {
			acked++
			continue
		}
		select {
		case <-w.p.Stuck():
			return acked
		case <-ctx.Done():
			t.Fatalf("nobody says that the server refuses events: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
