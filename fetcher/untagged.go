package fetcher

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// data handles one untagged response; rest is what follows the star. Whatever is not named here is dropped.
func (f *filter) data(rest string) error {
	word, args := cutWord(rest)
	if n, err := strconv.ParseUint(word, 10, 32); err == nil {
		kind, args := cutWord(args)
		switch strings.ToUpper(kind) {
		case "FETCH":
			return f.fetch(uint32(n), args)
		case "EXISTS":
			f.out = append(f.out, "* "+word+" EXISTS\r\n"...)
		case "EXPUNGE":
			f.expunged()
		}
		return nil
	}
	switch strings.ToUpper(word) {
	case "OK", "NO", "BAD":
		return f.untaggedStatus(args)
	case "BYE":
		if f.pending("LOGOUT") {
			return nil
		}
		return classifyBye(args) // whether the server closes the connection then, or forgets to
	case "SEARCH":
		return f.search(args)
	case "ESEARCH":
		return f.esearch(args)
	case "LIST":
		return f.list(args)
	case "FLAGS", "CAPABILITY", "ENABLED", "RECENT", "EXPUNGE", "VANISHED":
		return nil
	}
	if isFlag(word) && len(word) < 20 {
		f.debug("response dropped", "kind", word)
	}
	p := &scanner{f: f, line: []byte(args)}
	return p.skipAll()
}

// untaggedStatus passes on the two codes that EXAMINE needs and keeps what a person should read.
func (f *filter) untaggedStatus(text string) error {
	f.noteNotice(text)
	code, _, ok := cutCode(text)
	if !ok {
		return nil
	}
	word, arg := cutWord(code)
	word = strings.ToUpper(word)
	if word == "PERMANENTFLAGS" {
		f.mu.Lock()
		f.permanent = strings.Fields(strings.Trim(arg, "()"))
		f.mu.Unlock()
		return nil
	}
	n, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || word != "UIDVALIDITY" && word != "UIDNEXT" {
		return nil
	}
	opening := f.pending("EXAMINE") || f.pending("SELECT")
	if opening {
		f.out = append(f.out, "* OK ["+word+" "+strconv.FormatUint(n, 10)+"] -\r\n"...)
	}
	if word == "UIDVALIDITY" {
		return f.noteValidity(uint32(n), opening)
	}
	return nil
}

// noteValidity returns an error if UIDVALIDITY changes under an open folder: no UID that we know of means anything any
// more, and the next session begins with the new ones.
func (f *filter) noteValidity(n uint32, opening bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !opening && f.validity != 0 && n != f.validity {
		return &ServerError{Text: "UIDVALIDITY changed while the folder was open"}
	}
	f.validity = n
	return nil
}

// search keeps the numbers for the session. go-imap, which is slow with many and counts up to the highest one for ever, gets to see
// none of them.
func (f *filter) search(args string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.searching {
		return nil
	}
	for s := range strings.FieldsSeq(args) {
		if strings.HasPrefix(s, "(") {
			break // (MODSEQ n)
		}
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			if err := f.keep(n, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// esearch does the same with ESEARCH, by which a server that knows IMAP4rev2 alone answers each SEARCH (RFC 9051, section 7.3.4).
func (f *filter) esearch(args string) error {
	words := strings.Fields(args)
	all := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, "ALL") })
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.searching || all < 0 || all+1 == len(words) {
		return nil
	}
	for part := range strings.SplitSeq(words[all+1], ",") {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		if err := f.keep(min(from, to), max(from, to)); err != nil {
			return err
		}
	}
	return nil
}

// keep keeps a range of numbers, with f.mu locked; what is no UID is dropped, and the highest UID there can be, after which no other
// could come.
func (f *filter) keep(from, to uint64) error {
	from, to = max(from, 1), min(to, math.MaxUint32-1)
	if from > to {
		return nil
	}
	if to-from >= uint64(maxFound-len(f.found)) {
		return &LimitError{What: "UIDs in the answer to one SEARCH"}
	}
	for uid := from; uid <= to; uid++ {
		f.found = append(f.found, uint32(uid))
	}
	return nil
}

// takeFound returns the UIDs of the last SEARCH, ascending.
func (f *filter) takeFound() []uint32 {
	f.mu.Lock()
	found := f.found
	f.found, f.searching = nil, false
	f.mu.Unlock()
	slices.Sort(found)
	return slices.Compact(found)
}

func (f *filter) pending(verb string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cmds {
		if c.verb == verb {
			return true
		}
	}
	return false
}

// list writes one folder anew: known attributes, a quoted name. A folder whose name go-imap cannot decode is dropped,
// and so cannot be watched.
func (f *filter) list(args string) error {
	p := &scanner{f: f, line: []byte(args)}
	attrs, err := p.flags()
	if err != nil {
		return err
	}
	p.spaces()
	delim, _, err := p.nstring()
	if err != nil {
		return err
	}
	p.spaces()
	var name string
	switch {
	case p.peek() == '"' || p.atLiteral():
		if name, _, err = p.nstring(); err != nil {
			return err
		}
	default:
		// QUIRK(exchange): unquoted name. Names with TAB or other control characters come as they are.
		name = string(p.line[p.pos:])
		if i := strings.Index(name, " ("); i >= 0 {
			name = name[:i]
		}
		p.pos = len(p.line)
	}
	if err := p.skipAll(); err != nil {
		return err
	}
	if !f.pending("LIST") {
		return nil
	}
	if len(name) > maxName || !isUTF7(name) || len(delim) > 1 || delim != "" && !isPrintable(delim[0]) {
		f.debug("folder dropped", "name", clip(name))
		return nil
	}
	d := "NIL"
	if delim != "" {
		d = quote(delim)
	}
	f.out = append(f.out, "* LIST ("+strings.Join(attrs, " ")+") "+d+" "+quote(name)+"\r\n"...)
	return nil
}

func isPrintable(c byte) bool { return c >= ' ' && c < 0x7f }

// isUTF7 reports whether s is a mailbox name in strict modified UTF-7 (RFC 3501, section 5.1.3). It is at least as strict
// as go-imap's decoder, whose refusal would cost the connection.
func isUTF7(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isPrintable(s[i]) {
			return false
		}
		if s[i] != '&' {
			continue
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return false
		}
		run := s[i+1 : i+end]
		i += end
		if run == "" {
			continue // "&-" is "&"
		}
		b, err := utf7Alphabet.DecodeString(run)
		if err != nil || len(b)%2 != 0 || !isUTF16(b) || strings.HasPrefix(s[i+1:], "&") && !strings.HasPrefix(s[i+1:], "&-") {
			return false
		}
	}
	return true
}

// isUTF16 reports whether b is UTF-16 without lone surrogates and without characters that stand for themselves.
func isUTF16(b []byte) bool {
	for _, r := range utf16.Decode(utf16Units(b)) {
		if r == 0xfffd || r < 0x7f {
			return false
		}
	}
	return true
}

// discard reads a literal of n bytes and throws it away, if that is worth the connection. Of what was not asked for, no
// more is read between two commands than of one large message.
func (f *filter) discard(n int64, asked bool) error {
	most := max(4*f.maxMessage, drainFloor)
	f.mu.Lock()
	if n >= 0 && n <= most && !asked {
		f.drained += n
	}
	tooMuch := n < 0 || n > most || f.drained > most
	f.mu.Unlock()
	if tooMuch {
		return &LimitError{What: "literal of " + strconv.FormatInt(n, 10) + " bytes"}
	}
	if _, err := io.CopyN(io.Discard, f.br, n); err != nil {
		return err
	}
	f.advanced()
	return nil
}
