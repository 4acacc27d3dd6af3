package crashtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mailflume/mailflume/token"
)

// mail makes a message that differs from all others.
func mail(n int) []byte {
	return fmt.Appendf(nil, "From: Ada <ada@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: Message %d\r\n"+
		"Message-ID: <%d@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nAll work and no play, for the %dth time.\r\n", n, n, n)
}

// large makes a message whose attachment, and which itself, takes several chunks.
func large(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: Ada <ada@example.org>\r\nSubject: Large %d\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"+
		"--x\r\n\r\nAttached.\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=%d.bin\r\n\r\n", n, n)
	for i := range 20_000 {
		fmt.Fprintf(&b, "%d %d\r\n", n, i)
	}
	b.WriteString("--x--\r\n")
	return b.Bytes()
}

// noMail makes bytes that are no message.
func noMail(n int) []byte { return fmt.Appendf(nil, "\x89PNG\r\n\x1a\n\x00%d", n) }

// step is a part of the story.
type step struct {
	name   string
	must   bool // even if somebody has died before
	happen func()
}

// tell tells the story: until the death, what is left of its step, and then whether all goes on.
func (w *world) tell() {
	w.t.Helper()
	one, two, three := w.boxes[0], w.boxes[1], w.boxes[2]
	n, gone := 0, false
	w.noMails = 2
	next := func(make func(int) []byte) []byte { n++; return make(n) }
	for _, s := range []step{
		{"connect", true, w.connect},
		{"backlog", true, func() {
			w.deliver(one, "INBOX", next(mail), next(large), next(mail), next(noMail), next(mail))
			w.deliver(two, "INBOX", next(mail), next(mail), next(mail), next(mail))
			w.deliver(two, "Junk Email", next(mail), next(noMail))
			w.deliver(three, "INBOX", next(mail), next(mail))
			w.start()
			w.all()
		}},
		{"live", false, func() {
			for _, box := range w.boxes {
				w.deliver(box, "INBOX", next(mail))
			}
			w.all()
		}},
		{"another UIDVALIDITY", false, func() {
			w.acted(w.boxes...) // what was published under another UIDVALIDITY is let alone
			w.renumber(two, "INBOX")
			w.deliver(two, "INBOX", next(mail), next(mail))
			w.all()
		}},
		{"another key", false, func() {
			file := filepath.Join(w.dir, "data", "sealing-key")
			old, err := os.ReadFile(file)
			w.must(err)
			w.must(os.WriteFile(file, append([]byte(token.NewKey()+"\n"), old...), 0o600))
			out := w.command(nil, func() {
				if out, err := w.once(nil, "token", "status"); err != nil {
					w.t.Errorf("with grants under both keys: %v\n%s", err, out)
				}
			}, "keys", "rotate")
			if !strings.Contains(out, "of 3 grants") {
				w.t.Errorf("keys rotate: %s", out)
			}
		}},
		{"another configuration", false, func() {
			w.deliver(w.later, "INBOX", next(mail))
			w.boxes = append(w.boxes, w.later)
			text, err := os.ReadFile(w.config)
			w.must(err)
			w.write("new.yaml", string(text)+w.entry)
			w.must(os.Rename(filepath.Join(w.dir, "new.yaml"), w.config))
			w.all()
		}},
		{"stop", false, func() { w.stop(); w.start(); w.all() }},
		{"another grant gone", false, func() {
			w.acted(three)
			gone = true
			w.command(nil, nil, "token", "revoke", "three")
		}},
	} {
		if s.must || !w.died {
			s.happen()
			w.look()
		}
	}
	for _, box := range []*mailbox{one, two} {
		w.deliver(box, "INBOX", next(mail))
	}
	w.all()
	w.acted(one, two)
	if !gone {
		w.acted(three)
	}
	there := map[string]bool{}
	for _, uid := range three.UIDs("Done") {
		sum := sumOf(three.Raw("Done", uid))
		if there[sum] || w.served[sum] == nil {
			w.t.Errorf("UID %d of Done is a copy", uid)
		}
		there[sum] = true
	}
	for sum, of := range w.served {
		if of.box == three.name && !there[sum] {
			w.t.Errorf("a message of %s is not in Done", three.name)
		}
	}
	w.stop()
}

// acted waits until each message of the boxes was treated as the configuration wants it.
func (w *world) acted(boxes ...*mailbox) {
	w.t.Helper()
	for _, box := range boxes {
		w.await("what is done to the messages of "+box.name, func() (bool, string) {
			for _, folder := range box.folders {
				for _, uid := range box.UIDs(folder) {
					if flags := box.Flags(folder, uid); !box.treated(folder, uid) {
						return false, fmt.Sprintf("UID %d of %s: %v", uid, folder, flags)
					}
				}
			}
			return true, ""
		})
	}
}

// treated says whether a message is as its mailbox's after wants it.
func (b *mailbox) treated(folder string, uid uint32) bool {
	switch {
	case bytes.HasPrefix(b.Raw(folder, uid), noMail(0)[:4]): // what is dead is left for people to see
		return len(b.Flags(folder, uid)) == 0
	case b.name == "one":
		return slices.Contains(b.Flags(folder, uid), `\Seen`) && slices.Contains(b.Labels(folder, uid), "Published")
	case b.name == "two":
		return slices.Contains(b.Flags(folder, uid), `\Flagged`)
	}
	return false // it is still there
}

// connect has the owner of the last mailbox sign in.
func (w *world) connect() {
	w.t.Helper()
	w.command(signIn(w.t), func() {
		if out, _ := w.once(nil, "token", "status", "three"); w.death.point == "oauth.callback" && !strings.Contains(out, "not connected") {
			w.t.Errorf("killed between the exchange and the save, the mailbox is connected:\n%s", out)
		}
	}, "connect", "--no-browser", "three")
}
