// Command score parses every message under a folder and prints one JSON line each in the form that the corpus' score.py
// reads.
//
// usage: go run ./scripts/score DIR > OUT.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/parser"
)

type address struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type leaf struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Disposition string `json:"disposition"`
	Size        int64  `json:"size"`
	SHA256      string `json:"sha256"`
}

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
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: score DIR > OUT.jsonl")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return encoder.Encode(score(path, raw))
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func score(path string, raw []byte) line {
	m := parser.Parse(raw)
	l := line{File: path, OK: !slices.ContainsFunc(m.Defects, gaveUp), From: addresses(m.Email.From), To: addresses(m.Email.To)}
	if m.Email.Subject != nil {
		l.Subject = *m.Email.Subject
	}
	if m.Email.SentAt != nil {
		l.Date = m.Email.SentAt.UTC().Format(time.RFC3339)
	}
	if len(m.Email.MessageID) > 0 {
		l.MessageID = m.Email.MessageID[0]
	}
	for _, p := range m.Leaves() {
		if p.Within != "" { // the expected results take an attached message for one leaf
			continue
		}
		name := p.Name
		if i := strings.LastIndexAny(name, `/\`); i >= 0 {
			name = name[i+1:]
		}
		l.Leaves = append(l.Leaves, leaf{p.Type, name, p.Disposition, p.Size, p.SHA256})
	}
	l.Text = first(m, "text/plain")
	l.HTML = first(m, "text/html")
	return l
}

// gaveUp says whether a defect is the one of a parser that failed. Bytes without a header are no refusal: they are text.
func gaveUp(d event.Defect) bool { return d.Code == parser.DefectPanic }

// first returns the first text of that type that is not an attachment.
func first(m parser.Mail, kind string) string {
	for _, p := range m.Leaves() {
		if value, ok := m.Email.BodyValues[p.PartID]; ok && p.Type == kind && p.Disposition != "attachment" {
			return value.Value
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
