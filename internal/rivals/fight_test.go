package rivals

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is read back from a Maildir is judged: a copy too many, one that is missing, one that is cut, and one with other bytes.
func TestTheJudgeSeesWhatIsWrong(t *testing.T) {
	mails := newMails(5, rand.New(rand.NewPCG(1, 1)))
	whole := func(i int) []byte { return mails[i].raw }
	for _, c := range []struct {
		name                    string
		files                   [][]byte
		lost, duplicate, broken int
	}{
		{"all there", [][]byte{whole(0), whole(1), whole(2), whole(3), whole(4)}, 0, 0, 0},
		{"one missing", [][]byte{whole(0), whole(1), whole(2), whole(3)}, 1, 0, 0},
		{"one twice", [][]byte{whole(0), whole(1), whole(2), whole(3), whole(4), whole(4)}, 0, 1, 0},
		{"one cut", [][]byte{whole(0), whole(1), whole(2), whole(3), whole(4)[:500]}, 1, 0, 1},
		{"one cut in its header", [][]byte{whole(0), whole(1), whole(2), whole(3), whole(4), whole(4)[:5]}, 0, 0, 1},
		{"one changed", [][]byte{whole(0), whole(1), whole(2), whole(3), append(whole(4), '.')}, 1, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			inbox := filepath.Join(dir, "box", "INBOX")
			if err := makeMaildir(inbox); err != nil {
				t.Fatal(err)
			}
			for i, raw := range c.files {
				if err := os.WriteFile(filepath.Join(inbox, "new", string(rune('a'+i))), raw, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			all, err := readMaildirs(dir)
			if err != nil {
				t.Fatal(err)
			}
			var r Result
			r.judge(mails, all, []passed{{time.Now().Add(-time.Minute), time.Now().Add(time.Minute)}})
			if r.Lost != c.lost || r.Duplicate != c.duplicate || r.Broken != c.broken {
				t.Errorf("lost %d, duplicate %d, broken %d; want %d, %d, %d", r.Lost, r.Duplicate, r.Broken, c.lost, c.duplicate, c.broken)
			}
			if len(r.First) != 1 || len(r.CaughtUp) != 1 || r.First[0] > r.CaughtUp[0] {
				t.Errorf("first after %v, caught up after %v", r.First, r.CaughtUp)
			}
		})
	}
}
