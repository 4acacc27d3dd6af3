package publish

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// storeToFill makes the test binary a program that fills the store of that directory until it is killed.
const storeToFill = "PUBLISH_TEST_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeToFill); dir != "" {
		if err := fillStore(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// fillStore prints "has N" with the number of objects it found, and "put" for each further one.
func fillStore(dir string) error {
	ctx := context.Background()
	c := embeddedConfig(dir)
	c.Embedded.Key = "right"
	p, err := Open(ctx, c, quiet())
	if err != nil {
		return err
	}
	if err := p.Setup(ctx); err != nil {
		return err
	}
	s, err := p.js.Stream(ctx, bucketStream(p.config.Bucket))
	if err != nil {
		return err
	}
	fmt.Println("has", s.CachedInfo().State.Msgs/2) // a chunk and its meta message
	for n := 0; ; n++ {
		data := make([]byte, 100+n%9*12000) // a block has 2 MiB
		rand.Read(data)
		if _, err := p.Put(ctx, "m", sumOf(data), int64(len(data)), bytes.NewReader(data)); err != nil {
			return err
		}
		fmt.Println("put")
	}
}

// TestStoreOutlivesKills kills a process again and again while it opens an encrypted store and writes to it: what was
// acknowledged is there at the next start. MAILFLUME_LONG makes it 2,000 kills.
func TestStoreOutlivesKills(t *testing.T) {
	kills := 50
	if long() {
		kills = 2000
	}
	dir, acknowledged := t.TempDir(), 0
	for n := range kills {
		// #nosec G204 -- the test's own binary
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), storeToFill+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		// Some are killed while they start, and the others while they write.
		time.AfterFunc(mathrand.N(400*time.Millisecond)>>mathrand.N(4), func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			text := lines.Text()
			has, isCount := strings.CutPrefix(text, "has ")
			switch {
			case isCount:
				found, err := strconv.Atoi(has)
				must(t, err)
				if found < acknowledged {
					t.Fatalf("after %d kills the store has %d of %d objects", n, found, acknowledged)
				}
				acknowledged = found
			case text == "put":
				acknowledged++
			default:
				t.Fatalf("after %d kills: %s", n, text)
			}
		}
		_, err = io.Copy(io.Discard, out)
		must(t, err)
		_ = cmd.Wait() // it was killed
		if acknowledged > 1000 {
			dir, acknowledged = t.TempDir(), 0 // most of the trouble is in stores that are young
		}
	}
}
