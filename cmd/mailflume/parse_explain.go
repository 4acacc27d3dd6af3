package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/mailflume/mailflume/event"
	"github.com/mailflume/mailflume/parser"
)

// explainMail prints a message for a person: who and what, the tree, and the repairs with the reason for each.
func explainMail(w io.Writer, file string, m parser.Mail, signatures []event.DKIM) error {
	e := explainer{mail: m, names: make(map[string]parser.Leaf)}
	for _, l := range m.Leaves() {
		e.names[l.PartID] = l
	}
	e.line("%s", file)
	e.envelope()
	e.line("\nparts")
	if m.Email.BodyStructure != nil {
		e.part(*m.Email.BodyStructure, 1)
	}
	e.class()
	if len(signatures) > 0 {
		e.line("\nsignatures")
	}
	for _, s := range signatures {
		e.line("  %s\t%s\t%s\t%s", s.Result, s.Domain, s.Selector, s.Reason)
	}
	e.line("\nrepairs")
	for _, d := range m.Defects {
		where, detail := "message", ""
		if d.PartID != "" {
			where = "part " + d.PartID
		}
		if d.Detail != "" {
			detail = " (" + d.Detail + ")"
		}
		e.line("  %s\t%s\t%s%s", d.Code, where, parser.Explain(d.Code), detail)
	}
	if len(m.Defects) == 0 {
		e.line("  none: the message is as the standards want it")
	}
	if reason, yes := m.Unparsable(); yes {
		e.line("\nunparsable: %s", reason)
	}
	e.line("")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, e.out.String()); err != nil {
		return err
	}
	return table.Flush()
}

// explainer collects lines whose cells are set apart by tabs.
type explainer struct {
	out   strings.Builder
	mail  parser.Mail
	names map[string]parser.Leaf
}

// line writes a line. What stands in a message must not steer the terminal, nor break the table.
func (e *explainer) line(format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = harmless(s)
		}
	}
	fmt.Fprintf(&e.out, format+"\n", args...)
}

// harmless takes out control characters and those that change the order of letters, and cuts what is too long for a line.
func harmless(s string) string {
	const longest = 160
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '\ufffd'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return s
}

func (e *explainer) envelope() {
	email := e.mail.Email
	if email.Subject != nil {
		e.line("  subject\t%s", *email.Subject)
	}
	for _, list := range []struct {
		name      string
		addresses []event.EmailAddress
	}{{"from", email.From}, {"to", email.To}, {"cc", email.Cc}} {
		for _, a := range list.addresses {
			name := ""
			if a.Name != nil {
				name = *a.Name + " "
			}
			e.line("  %s\t%s<%s>", list.name, name, a.Email)
		}
	}
	if email.SentAt != nil {
		e.line("  sent\t%s", email.SentAt.Format("2006-01-02 15:04:05 -0700"))
	}
	for _, id := range email.MessageID {
		e.line("  id\t%s", id)
	}
}

// part prints a part and those in it; an attached message and a container have leaves of their own.
func (e *explainer) part(p event.EmailBodyPart, depth int) {
	indent := strings.Repeat("  ", min(depth, 40))
	if p.PartID == nil {
		e.line("%s%s\t\t", indent, p.Type)
	} else {
		e.line("%s%s %s\t%d bytes\t%s", indent, *p.PartID, p.Type, p.Size, e.describe(*p.PartID))
		for _, l := range e.mail.Leaves() {
			if strings.HasPrefix(l.PartID, *p.PartID+".") {
				e.line("%s  %s %s\t%d bytes\t%s", indent, l.PartID, l.Type, l.Size, e.describe(l.PartID))
			}
		}
	}
	for _, sub := range p.SubParts {
		e.part(sub, depth+1)
	}
}

// describe says what becomes of a leaf.
func (e *explainer) describe(id string) string {
	l := e.names[id]
	var about []string
	for _, word := range []string{l.Encoding, l.Charset, l.Disposition} {
		if word != "" {
			about = append(about, word)
		}
	}
	if l.Name != "" {
		about = append(about, fmt.Sprintf("%q", l.Name))
	}
	in := func(list []event.EmailBodyPart) bool {
		return slices.ContainsFunc(list, func(p event.EmailBodyPart) bool { return p.PartID != nil && *p.PartID == id })
	}
	if in(e.mail.Email.TextBody) {
		about = append(about, "-> text")
	}
	if in(e.mail.Email.HTMLBody) && l.Type == "text/html" {
		about = append(about, "-> html")
	}
	for _, a := range e.mail.Attachments {
		if a.PartID == id {
			about = append(about, "-> attachment "+a.SafeName)
		}
	}
	return strings.Join(about, ", ")
}

// class prints what kind of message it is, and who vouches for it.
func (e *explainer) class() {
	c := e.mail.Class
	e.line("\nclass")
	if reflect.ValueOf(c).IsZero() {
		e.line("  mail from one to another")
	}
	for _, kind := range []struct {
		is   bool
		name string
	}{
		{c.AutoReply, "auto-reply"},
		{c.Bulk, "bulk"},
		{c.Signed != "", "signed (" + c.Signed + ")"},
		{c.Encrypted != "", "encrypted (" + c.Encrypted + ")"},
		{c.Placeholder, "a placeholder of the server, not the message itself"},
	} {
		if kind.is {
			e.line("  %s", kind.name)
		}
	}
	if c.List != nil {
		e.line("  list\t%s\t%s", c.List.ID, strings.Join(c.List.Unsubscribe, " "))
	}
	if c.Bounce != nil {
		for _, r := range c.Bounce.Recipients {
			e.line("  bounce\t%s %s\t%s\t%s", r.Action, r.Status, r.Recipient, r.Reason)
		}
		if c.Bounce.MessageID != "" {
			e.line("  bounce of\t%s", c.Bounce.MessageID)
		}
	}
	if c.Complaint != nil {
		e.line("  complaint\t%s\t%s\t%s", c.Complaint.Type, c.Complaint.Recipient, c.Complaint.MessageID)
	}
	if c.Calendar != nil {
		e.line("  calendar\t%s\t%s\t%s", c.Calendar.Method, c.Calendar.UID, c.Calendar.Summary)
	}
}
