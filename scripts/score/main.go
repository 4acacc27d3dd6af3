// Command score turns what `mailflume parse --leaves` prints into the lines that the corpus' score.py reads.
//
// usage: mailflume parse --leaves DIR | go run ./scripts/score > OUT.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/parser"
)

// parsed is a line of the input.
type parsed struct {
	File   string     `json:"file"`
	Mail   event.Mail `json:"mail"`
	Leaves []leaf     `json:"leaves"`
}

type leaf struct {
	PartID      string `json:"partId,omitempty"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	Disposition string `json:"disposition"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}

type address struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// line is a line of the output.
type line struct {
	File      string    `json:"file"`
	OK        bool      `json:"ok"`
	Subject   string    `json:"subject"`
	From      []address `json:"from"`
	To        []address `json:"to"`
	Date      string    `json:"date"`
	MessageID string    `json:"message_id"`
	Text      string    `json:"text"`
	HTML      string    `json:"html"`
	Leaves    []leaf    `json:"leaves"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

func run(r io.Reader, w io.Writer) error {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	for decoder := json.NewDecoder(r); ; {
		var p parsed
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return out.Flush()
		case err != nil:
			return err
		}
		if strings.HasSuffix(p.File, ".json") { // expected results, not messages
			continue
		}
		if err := encoder.Encode(score(p)); err != nil {
			return err
		}
	}
}

func score(p parsed) line {
	e := p.Mail.Email
	l := line{File: p.File, OK: !slices.ContainsFunc(p.Mail.Defects, gaveUp), From: addresses(e.From), To: addresses(e.To)}
	if e.Subject != nil {
		l.Subject = *e.Subject
	}
	if e.SentAt != nil {
		l.Date = e.SentAt.UTC().Format(time.RFC3339)
	}
	if len(e.MessageID) > 0 {
		l.MessageID = e.MessageID[0]
	}
	own := outermost(p.Leaves)
	l.Text = first(e, own, "text/plain")
	l.HTML = first(e, own, "text/html")
	for _, one := range own {
		one.PartID = ""
		one.Name = one.Name[strings.LastIndexAny(one.Name, `/\`)+1:]
		l.Leaves = append(l.Leaves, one)
	}
	return l
}

// outermost leaves out what is in another leaf: the expected results take an attached message and a winmail.dat for one.
// A file that stands uuencoded in a text is one of its own.
func outermost(leaves []leaf) []leaf {
	kinds := make(map[string]string)
	for _, l := range leaves {
		kinds[l.PartID] = l.Type
	}
	return slices.DeleteFunc(slices.Clone(leaves), func(l leaf) bool {
		for i, c := range l.PartID {
			if kind := kinds[l.PartID[:i]]; c == '.' && kind != "" && !strings.HasPrefix(kind, "text/") {
				return true
			}
		}
		return false
	})
}

// gaveUp says whether a defect is the one of a parser that failed. Bytes without a header are no refusal: they are text.
func gaveUp(d event.Defect) bool { return d.Code == parser.DefectPanic }

var uuencoded = regexp.MustCompile(`(?ms)^begin [0-7]{3,4} [^\n]+\n.*?^end$\n?`)

// first returns the first text of that type that is not empty and not an attachment.
func first(e event.Email, leaves []leaf, kind string) string {
	for _, l := range leaves {
		if value := e.BodyValues[l.PartID].Value; l.Type == kind && l.Disposition != "attachment" && strings.TrimSpace(value) != "" {
			if slices.ContainsFunc(leaves, func(f leaf) bool { return strings.HasPrefix(f.PartID, l.PartID+".") }) {
				return uuencoded.ReplaceAllString(value, "")
			}
			return value
		}
	}
	return ""
}

func addresses(list []event.EmailAddress) []address {
	out := []address{}
	for _, a := range list {
		one := address{Address: a.Email}
		if a.Name != nil {
			one.Name = *a.Name
		}
		out = append(out, one)
	}
	return out
}
