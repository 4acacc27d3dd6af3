package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/mailflume/mailflume/event"
)

// The demo's JSON lines are the events themselves: of both mailboxes, each once, and just as many as were asked for.
func TestDemoPrintsEventsAsJSON(t *testing.T) {
	code, out, errs := command(t.Context(), "demo", "--messages", "50", "--json")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, errs)
	}
	ids, mailboxes, lines := make(map[string]bool), make(map[string]int), 0
	for line := range strings.Lines(out) {
		lines++
		var e event.MessageEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %d: %v\n%s", lines, err, line)
		}
		if ids[e.ID] {
			t.Errorf("event %s is there twice", e.ID)
		}
		ids[e.ID] = true
		mailboxes[e.Data.Mailbox.ID]++
		if e.SpecVersion != "1.0" || e.Type != event.TypeReceived || e.Data.Email.BodyStructure == nil {
			t.Errorf("line %d is no event of a message: %.200s", lines, line)
		}
	}
	if lines != 50 || mailboxes["sales"] != 25 || mailboxes["support"] != 25 {
		t.Errorf("%d lines, of mailboxes %v", lines, mailboxes)
	}
}

// What a mail says cannot move the cursor, change the colours or turn the direction of the terminal that the demo prints to.
func TestDemoLinesAreSafeToPrint(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "a.eml", "From: =?utf-8?q?=1b[2J?= <a@example.test>\r\nSubject: =?utf-8?q?one=0atwo=1b[31m=c2=9b=e2=80=ae?=\r\n\r\nx\r\n")
	code, out, errs := command(t.Context(), "demo", "--mail", dir, "--pace", "1ms")
	if code != 0 || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d, %q, %s", code, out, errs)
	}
	if i := slices.IndexFunc([]rune(out[:len(out)-1]), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
		t.Errorf("%q has a character that does more than stand there", out)
	}
}
