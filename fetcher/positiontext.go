package fetcher

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Position's text begins with the version of its form. The second is for one with backfill to read, which a program that
// knows the first alone would read again; all others are written so that it understands them.
const (
	positionVersion = "p1"
	behindVersion   = "p2"
)

// String returns p as a compact text without spaces, for ParsePosition:
//
//	p1;<uidvalidity>;<low>;<next>;<n>;<since>;<relist>;<window>;<lost>;<known>;<seen>
//	p2;<uidvalidity>;<low>;<next>;<n>;<since>;<relist>;<window>;<lost>;<known>;<seen>;<low of ahead>;<window of ahead>
//
// relist is 0 or 1; a window is base64url of its bytes, the lowest UID in the lowest bit of the first, without trailing zero bytes; lost is
// uid.tries.first of each, with commas between, where 65535 tries and 0 stand for a draft. Numbers are decimal. In a p1, known and seen are left out if both are 0.
func (p Position) String() string {
	relist := 0
	if p.relist {
		relist = 1
	}
	text := fmt.Sprintf("%d;%d;%d;%d;%d;%d;%s;%s", p.UIDValidity, p.Low, p.Next, p.N, p.since, relist, p.base().text(), p.lost)
	switch {
	case p.Behind():
		return fmt.Sprintf("%s;%s;%d;%d;%d;%s", behindVersion, text, p.known, p.seen, p.ahead.low, p.ahead.text())
	case p.known == 0 && p.seen == 0:
		return positionVersion + ";" + text
	}
	return fmt.Sprintf("%s;%s;%d;%d", positionVersion, text, p.known, p.seen)
}

// text returns the window as Position.String writes it.
func (s span) text() string {
	var win []byte
	for _, w := range s.window {
		for i := range 8 {
			win = append(win, byte(w>>(8*i)))
		}
	}
	for len(win) > 0 && win[len(win)-1] == 0 {
		win = win[:len(win)-1]
	}
	return base64.RawURLEncoding.EncodeToString(win)
}

func parseSpan(low uint32, text string) (span, error) {
	s := span{low: low}
	win, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return s, err
	}
	if len(win) > windowSize/8 {
		return s, errors.New("window too large")
	}
	for i, b := range win {
		s.window[i/8] |= uint64(b) << (8 * (i % 8))
	}
	return s, nil
}

// ParsePosition reads what String wrote, this one or that of an earlier version. It refuses everything else.
func ParsePosition(s string) (Position, error) {
	refuse := func(err error) (Position, error) { return Position{}, fmt.Errorf("position %q: %w", clip(s), err) }
	fields := strings.Split(s, ";")
	want, known := map[string][]int{positionVersion: {9, 11}, behindVersion: {13}}[fields[0]]
	if !known {
		if n, err := strconv.Atoi(strings.TrimPrefix(fields[0], "p")); err == nil && n > 2 && strings.HasPrefix(fields[0], "p") {
			return refuse(errors.New("it was written by a later version of this program"))
		}
		return refuse(errors.New("unknown version"))
	}
	if !slices.Contains(want, len(fields)) {
		return refuse(fmt.Errorf("%d fields", len(fields)))
	}
	p, err := parseFields(fields[1:])
	if err != nil {
		return refuse(err)
	}
	if p.String() != s {
		return refuse(errors.New("not in its plain form"))
	}
	return p, nil
}

func parseFields(fields []string) (Position, error) {
	var p Position
	var errs []error
	num := func(s string, bits int) uint64 {
		n, err := strconv.ParseUint(s, 10, bits)
		errs = append(errs, err)
		return n
	}
	p.UIDValidity = uint32(num(fields[0], 32))
	low := uint32(num(fields[1], 32))
	p.Next = uint32(num(fields[2], 32))
	p.N = num(fields[3], 64)
	p.since = int32(num(fields[4], 31))
	p.relist = num(fields[5], 1) == 1
	base, err := parseSpan(low, fields[6])
	errs = append(errs, err)
	p.setBase(base)
	all, err := parseLost(fields[7])
	errs = append(errs, err)
	p.setLost(all)
	if len(fields) > 8 {
		p.known, p.seen = int64(num(fields[8], 62)), int64(num(fields[9], 62))
	}
	if len(fields) > 10 {
		p.ahead, err = parseSpan(uint32(num(fields[10], 32)), fields[11])
		errs = append(errs, err)
		if p.Next == 0 || p.ahead.low < p.Next-1 || p.base().high() >= p.Next {
			errs = append(errs, errors.New("backfill and new mail overlap"))
		}
	}
	return p, errors.Join(errs...)
}
