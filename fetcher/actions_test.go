package fetcher

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// opens answers SELECT with these lines, and what comes after it with OK.
func opens(f *fake, tagged string, lines ...string) {
	f.on["SELECT"] = func(c *fakeConn, tag, _ string) bool {
		for _, l := range lines {
			c.say("%s", l)
		}
		c.say("%s %s", tag, tagged)
		return true
	}
	for _, verb := range []string{"UID STORE", "UID MOVE", "UID COPY", "UID EXPUNGE", "CREATE", "LIST"} {
		f.on[verb] = func(c *fakeConn, tag, _ string) bool {
			c.say("%s OK done", tag)
			return true
		}
	}
}

// What SELECT says decides whether anything is done at all.
func TestActOpensTheFolder(t *testing.T) {
	const valid, ok = "* OK [UIDVALIDITY 7] valid", "OK [READ-WRITE] done"
	var final *ActionError
	var passing *ServerError
	for name, test := range map[string]struct {
		validity uint32
		tagged   string
		lines    []string
		want     any // as of errors.As; nil if it is done
	}{
		"all is well":           {7, ok, []string{valid, `* OK [PERMANENTFLAGS (\Seen \*)] kept`}, nil},
		"the keyword is known":  {7, ok, []string{valid, `* OK [PERMANENTFLAGS (\Seen Done)] kept`}, nil},
		"nothing is said of it": {7, ok, []string{valid}, nil},
		"renumbered":            {6, ok, []string{valid}, ErrRenumbered},
		"not said this time":    {7, ok, nil, &passing},
		"never said":            {0, ok, nil, &final},
		"read only":             {7, "OK [READ-ONLY] done", []string{valid}, &final},
		"no keywords":           {7, ok, []string{valid, `* OK [PERMANENTFLAGS (\Seen \Deleted)] kept`}, &final},
		"not allowed":           {7, "NO [NOPERM] no", nil, &final},
		"not now":               {7, "NO [INUSE] later", nil, &passing},
		"not a folder":          {7, "NO [NONEXISTENT] gone", nil, &final},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, 1, 2, 3)
				opens(f, test.tagged, test.lines...)
				s := mustOpen(t, f.config())
				defer s.Close()
				err := s.Act(t.Context(), "INBOX", test.validity, []uint32{1, 2, 3}, Action{Seen: true, Keyword: "Done"})
				switch want := test.want.(type) {
				case nil:
					if err != nil {
						t.Error(err)
					}
				case error:
					if !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				default:
					if !errors.As(err, want) {
						t.Errorf("%T %v, want %T", err, err, want)
					}
				}
				stored := f.commands("UID STORE")
				if done := slices.Equal(stored, []string{`UID STORE 1:3 +FLAGS.SILENT (\Seen Done)`}); done != (test.want == nil) || !done && len(stored) > 0 {
					t.Errorf("sent %q", stored)
				}
				if r := readAll(t.Context(), s, nil); r.err != nil { // and the session reads on
					t.Error(r.err)
				}
				if sent := f.commands("EXAMINE"); len(sent) == 0 {
					t.Error("the folder is read as it was opened for writing")
				}
			})
		})
	}
}

// A target that is missing is made, also if it goes between LIST and MOVE; a name is what the server can read.
func TestActMakesTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 1)
		f.post += " MOVE UIDPLUS"
		opens(f, "OK [READ-WRITE] done", "* OK [UIDVALIDITY 7] valid")
		moves := 0
		f.on["UID MOVE"] = func(c *fakeConn, tag, _ string) bool {
			if moves++; moves == 1 {
				c.say("%s NO [TRYCREATE] it went", tag)
				return true
			}
			f.change(func() { f.mails = nil })
			c.say("* OK [COPYUID 9  ] odd\r\n[COPYUID 9 1 1]\r\n%s OK moved", tag)
			return true
		}
		s := mustOpen(t, f.config())
		defer s.Close()
		if err := s.Act(t.Context(), "INBOX", 7, []uint32{1}, Action{Move: `Grüße & "Küsse" 日本`}); err != nil {
			t.Fatal(err)
		}
		const name = `"Gr&APwA3w-e &- \"K&APw-sse\" &ZeVnLA-"`
		if got, want := f.commands("CREATE"), []string{"CREATE " + name, "CREATE " + name}; !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
		if got, want := f.commands("UID MOVE"), []string{"UID MOVE 1 " + name, "UID MOVE 1 " + name}; !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

// What toUTF7 writes is strict modified UTF-7, whatever the name, and fromUTF7 reads it.
func FuzzFolderName(f *testing.F) {
	for _, name := range []string{"", "INBOX", "a&b", "Größe", "日本語", "&", "é&é", "😀", "a\tb", "~peter/mail/台北/日本語"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		text := toUTF7(strings.ToValidUTF8(name, ""))
		if text != "" && !isUTF7(text) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			t.Errorf("%q became %q", name, text)
		}
		if again := fromUTF7(text); isUTF7(text) && again != strings.ToValidUTF8(name, "") {
			t.Errorf("%q became %q, and that %q", name, text, again)
		}
	})
}

// gmailFake is a server with labels whose folders are these LIST lines.
func gmailFake(t *testing.T, folders ...string) *fake {
	f := newFake(t, 1, 2)
	f.post += " X-GM-EXT-1 MOVE UIDPLUS"
	opens(f, "OK [READ-WRITE] done", "* OK [UIDVALIDITY 7] valid")
	f.on["LIST"] = func(c *fakeConn, tag, _ string) bool {
		for _, l := range folders {
			c.say("* LIST %s", l)
		}
		c.say("%s OK done", tag)
		return true
	}
	return f
}

func TestQuirkDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gmailFake(t, `() "/" INBOX`, `(\Trash) "/" "[Gmail]/Bin"`)
		f.on["UID MOVE"] = func(c *fakeConn, tag, _ string) bool {
			f.change(func() { f.mails = nil })
			c.say("%s OK done", tag)
			return true
		}
		s := mustOpen(t, f.config())
		defer s.Close()
		if err := s.Act(t.Context(), "INBOX", 7, []uint32{1, 2}, Action{Delete: true}); err != nil {
			t.Error(err)
		}
		if got := f.commands("UID MOVE"); !slices.Equal(got, []string{`UID MOVE 1:2 "[Gmail]/Bin"`}) || len(f.commands("UID STORE")) > 0 {
			t.Errorf("sent %q and %q", got, f.commands("UID STORE"))
		}
		var final *ActionError
		f = gmailFake(t, `() "/" INBOX`) // its owner hides the trash
		s = mustOpen(t, f.config())
		defer s.Close()
		if err := s.Act(t.Context(), "INBOX", 7, []uint32{1, 2}, Action{Delete: true}); !errors.As(err, &final) || final.Hint == "" {
			t.Errorf("%v", err)
		}
	})
}

func TestQuirkAllMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gmailFake(t, `(\All) "/" INBOX`, `() "/" Done`)
		s := mustOpen(t, f.config())
		defer s.Close()
		if err := s.Act(t.Context(), "INBOX", 7, []uint32{1, 2}, Action{Move: "Done"}); err != nil {
			t.Error(err)
		}
	})
}

func TestQuirkCopyuid(t *testing.T) {
	for _, odd := range []string{"* OK [COPYUID 14  ] odd", "[COPYUID 55 31 6]", "* OK [COPYUID 7 1:2 8:9] odd"} {
		for _, moves := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, 1, 2)
				f.post += " MOVE UIDPLUS"
				opens(f, "OK [READ-WRITE] done", "* OK [UIDVALIDITY 7] valid")
				f.on["UID MOVE"] = func(c *fakeConn, tag, _ string) bool {
					if moves {
						f.change(func() { f.mails = nil })
					}
					c.say("%s\r\n%s OK [COPYUID 7 1:2 8:9] done", odd, tag)
					return true
				}
				s := mustOpen(t, f.config())
				defer s.Close()
				err := s.Act(t.Context(), "INBOX", 7, []uint32{1, 2}, Action{Move: "Done"})
				var there *ServerError
				if moves && err != nil || !moves && !errors.As(err, &there) {
					t.Errorf("%s, moves %v: %v", odd, moves, err)
				}
			})
		}
	}
}
