package publish

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leaveStore makes a store with events and objects and returns its configuration and where the streams are.
func leaveStore(t *testing.T, key Secret) (c Config, streams string) {
	t.Helper()
	c = embeddedConfig(t.TempDir())
	c.Embedded.Key = key
	p := mustSetup(t, mustOpen(t, c))
	mustCommit(t, p, Batch{Mailbox: "m", Events: evs("INBOX", 0, 20)})
	data := []byte("the bytes")
	_, err := p.Put(t.Context(), "m", sumOf(data), int64(len(data)), bytes.NewReader(data))
	must(t, err)
	mustClose(t, p)
	return c, filepath.Join(c.Embedded.Dir, "jetstream", "$G", "streams")
}

// wantStore opens a store of leaveStore and looks whether all is there.
func wantStore(t *testing.T, c Config) {
	t.Helper()
	p := mustSetup(t, mustOpen(t, c))
	if n := checkHistory(t, ledgerOf(t, p, "m")); n != 20 {
		t.Errorf("%d events", n)
	}
	s, err := p.js.Stream(t.Context(), bucketStream(p.config.Bucket))
	must(t, err)
	if n := s.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("%d messages in the bucket, not a chunk and its meta message", n)
	}
	mustClose(t, p)
}

// A kill between the making of a block's file and that of its key.
func TestKilledWhileABlockIsBegun(t *testing.T) {
	for _, stream := range []string{"MAIL", "OBJ_mail"} {
		t.Run(stream, func(t *testing.T) {
			c, streams := leaveStore(t, NewSecret("right"))
			must(t, os.WriteFile(filepath.Join(streams, stream, "msgs", "2.blk"), nil, 0o600))
			wantStore(t, c)
		})
	}
}

// A kill between the writing of a stream's new settings and that of their checksum.
func TestKilledWhileSettingsChange(t *testing.T) {
	for _, key := range []Secret{{}, NewSecret("right")} {
		t.Run(fmt.Sprint("encrypted ", !key.isZero()), func(t *testing.T) {
			c, streams := leaveStore(t, key)
			sum := filepath.Join(streams, "OBJ_mail", "meta.sum")
			must(t, os.WriteFile(sum, []byte(strings.Repeat("0", 16)), 0o600))
			old := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(sum, old, old))
			wantStore(t, c)
			must(t, os.Remove(sum)) // the stream was just made
			wantStore(t, c)
		})
	}
}

// A kill while a stream is made leaves no message, and it is made again.
func TestKilledWhileAStreamIsMade(t *testing.T) {
	c, streams := leaveStore(t, NewSecret("right"))
	empty := filepath.Join(streams, "KV_new")
	must(t, os.MkdirAll(filepath.Join(empty, "msgs"), 0o700))
	must(t, os.WriteFile(filepath.Join(empty, "msgs", "1.blk"), nil, 0o600))
	wantStore(t, c)
}

// A kill between the settings of a stream or a consumer and their checksum, of which the next start was killed in its turn.
func TestKilledWhileItIsMended(t *testing.T) {
	c, streams := leaveStore(t, NewSecret("right"))
	sum := filepath.Join(streams, "MAIL", "meta.sum")
	must(t, os.WriteFile(sum, nil, 0o600))
	wantStore(t, c)
}

// A kill while a subscriber's consumer is made leaves its settings, and nats-server writes their checksum neither when it
// is made again nor ever: the consumer would be gone after every start.
func TestKilledWhileAConsumerIsMade(t *testing.T) {
	for _, key := range []Secret{{}, NewSecret("right")} {
		t.Run(fmt.Sprint("encrypted ", !key.isZero()), func(t *testing.T) {
			c, streams := leaveStore(t, key)
			p := mustSetup(t, mustOpen(t, c))
			s, err := p.js.Stream(t.Context(), "MAIL")
			must(t, err)
			_, err = s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "workflow"})
			must(t, err)
			mustClose(t, p)
			must(t, os.Remove(filepath.Join(streams, "MAIL", "obs", "workflow", "meta.sum")))
			p = mustSetup(t, mustOpen(t, c))
			s, err = p.js.Stream(t.Context(), "MAIL")
			must(t, err)
			_, err = s.Consumer(t.Context(), "workflow")
			must(t, err)
			mustClose(t, p)
			wantStore(t, c)
		})
	}
}

// The store is mended wherever it is, and what nats-server is about to remove is nobody's loss.
func TestAStoreWithAStrangeName(t *testing.T) {
	c, _ := leaveStore(t, NewSecret("right"))
	strange := filepath.Join(t.TempDir(), "mail[1]*")
	must(t, os.Rename(c.Embedded.Dir, strange))
	streams := filepath.Join(strange, "jetstream", "$G", "streams")
	c.Embedded.Dir = strange
	must(t, os.WriteFile(filepath.Join(streams, "MAIL", "msgs", "2.blk"), nil, 0o600))
	must(t, os.CopyFS(filepath.Join(streams, ".KV_old"), os.DirFS(filepath.Join(streams, "MAIL"))))
	wantStore(t, c)
	must(t, os.Remove(filepath.Join(streams, "MAIL", "meta.inf")))
	_, err := Open(t.Context(), c, quiet())
	wantText(t, err, "MAIL", "backup")
}

// A store that was made without a key is encrypted when it gets one, and whoever is killed meanwhile begins anew.
func TestEncryptAStore(t *testing.T) {
	for name, killed := range map[string]func(store string) error{
		"all at once": func(string) error { return nil },
		"killed while it was copied": func(store string) error {
			return os.MkdirAll(filepath.Join(store+".plain.tmp", "$G", "streams"), 0o700)
		},
		"killed while a block was encrypted": func(store string) error {
			if err := os.CopyFS(store+".plain", os.DirFS(store)); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(store, "$G", "streams", "MAIL", "msgs", "1.blk"), []byte("half"), 0o600)
		},
		"killed while it began anew": func(store string) error { return os.Rename(store, store+".plain") },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := leaveStore(t, Secret{})
			must(t, killed(filepath.Join(c.Embedded.Dir, "jetstream")))
			c.Embedded.Key = NewSecret("right")
			wantStore(t, c)
			if grepDir(t, c.Embedded.Dir, `{"position":1}`) || grepDir(t, c.Embedded.Dir, "the bytes") {
				t.Error("readable in the files")
			}
			left, err := filepath.Glob(filepath.Join(c.Embedded.Dir, "*.plain*"))
			must(t, err)
			if len(left) > 0 {
				t.Errorf("%v is left", left)
			}
			wantStore(t, c)
		})
	}
}

// What cannot be mended is not made anew over what it held.
func TestDamagedStream(t *testing.T) {
	for name, damage := range map[string]func(stream string) error{
		"settings": func(stream string) error {
			return os.WriteFile(filepath.Join(stream, "meta.inf"), []byte("damaged"), 0o600)
		},
		"checksum": func(stream string) error {
			return os.WriteFile(filepath.Join(stream, "meta.sum"), []byte("damaged"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, streams := leaveStore(t, NewSecret("right"))
			stream := filepath.Join(streams, "OBJ_mail")
			block := filepath.Join(stream, "msgs", "1.blk")
			before, err := os.ReadFile(block)
			must(t, err)
			must(t, damage(stream))
			_, err = Open(t.Context(), c, quiet())
			wantText(t, err, "OBJ_mail", c.Embedded.Dir, "backup")
			if after, err := os.ReadFile(block); err != nil || string(after) != string(before) {
				t.Error("its messages were changed", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
