package parser

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/mailflume/mailflume/event"
)

// TXTResolver looks up the TXT records of a name, as *net.Resolver does.
type TXTResolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// What a message may ask for. The library joins the lines of a folded field one by one, which takes quadratic time.
const (
	maxSignatures = 8
	dkimHeader    = 1 << 20  // bytes of the header
	dkimField     = 64 << 10 // bytes of a field
	dkimLines     = 1_000    // lines of a field
)

// VerifyDKIM checks the DKIM signatures of a message (RFC 6376), the first eight of them, in order; without one the result
// is one entry that says none. The bytes must be those that arrived. Unlike Parse it does I/O: a lookup for each signature,
// bounded by ctx. That a signature holds says that its domain sent the message on, not that it is the domain in From.
func VerifyDKIM(ctx context.Context, raw []byte, resolver TXTResolver) []event.DKIM {
	out, problem := signatures(raw)
	if len(out) == 0 {
		return []event.DKIM{{Result: "none", Reason: "no signature"}}
	}
	if problem == "" {
		checks, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{
			LookupTXT: func(name string) ([]string, error) { return lookup(ctx, resolver, name) }, MaxVerifications: maxSignatures,
		})
		switch {
		case err != nil && !errors.Is(err, dkim.ErrTooManySignatures):
			problem = err.Error()
		case len(checks) != len(out):
			problem = "the header cannot be read"
		default:
			for i, check := range checks {
				out[i].Result, out[i].Reason = dkimResult(check.Err)
			}
			return out
		}
	}
	for i := range out {
		out[i].Result, out[i].Reason = "permerror", dkimReason(problem)
	}
	return out
}

// signatures returns domain and selector of the signatures that are checked. It reads the header as the library does. The
// problem says why they are not checked, if they are not.
func signatures(raw []byte) (found []event.DKIM, problem string) {
	var fields [][]byte
	start, lines, ended := 0, 0, false
	for pos := 0; pos < len(raw) && !ended; lines++ {
		line, next := lineAt(raw, pos)
		if pos > 0 && !folded(line) || len(line) == 0 {
			fields = append(fields, raw[start:pos])
			if pos-start > dkimField || lines > dkimLines || pos > dkimHeader {
				problem = "the header is too large to be checked"
			}
			start, lines = pos, 0
		}
		ended = len(line) == 0
		pos = next
	}
	if !ended {
		fields = append(fields, raw[start:])
		problem = "the header does not end"
	}
	for _, f := range fields {
		name, value, _ := bytes.Cut(f, []byte{':'})
		if len(found) == maxSignatures || !bytes.EqualFold(trim(name), []byte("DKIM-Signature")) {
			continue
		}
		var s event.DKIM
		for tag := range bytes.SplitSeq(value, []byte{';'}) {
			switch key, value, _ := bytes.Cut(tag, []byte{'='}); string(trim(key)) {
			case "d":
				s.Domain = dkimReason(cleanID(value))
			case "s":
				s.Selector = dkimReason(cleanID(value))
			}
		}
		found = append(found, s)
	}
	return found, problem
}

// lookup tells a record that is not there, which is for good, from one that cannot be had now.
func lookup(ctx context.Context, resolver TXTResolver, name string) ([]string, error) {
	records, err := resolver.LookupTXT(ctx, name)
	var answer *net.DNSError
	switch {
	case err == nil:
		return records, nil
	case errors.As(err, &answer) && answer.IsNotFound:
		return nil, nil
	}
	return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
}

// dkimResult says a result in the words of RFC 8601, section 2.7.1.
func dkimResult(err error) (result, reason string) {
	switch {
	case err == nil:
		return "pass", ""
	case dkim.IsTempFail(err):
		result = "temperror"
	case dkim.IsPermFail(err):
		result = "permerror"
	default:
		result = "fail"
	}
	return result, dkimReason(err.Error())
}

// dkimReason makes a short line of what can hold text of the message.
func dkimReason(text string) string {
	const longest = 200
	return cutText(printable(strings.ToValidUTF8(strings.TrimPrefix(text, "dkim: "), "\ufffd")), longest)
}
