package parser

import (
	"strings"

	"github.com/mailflume/mailflume/event"
)

// calendarWindow is how much of an iCalendar part is read, maxAttendees how many of those who are invited are listed.
const (
	calendarWindow = 256 << 10
	maxAttendees   = 500
)

// invitation reads the first iCalendar part of a message, or returns nil.
func invitation(root *part) *event.Calendar {
	var found *event.Calendar
	root.leaves(func(p *part) {
		if found != nil || p.within != "" {
			return
		}
		switch p.media.value {
		case "text/calendar", "application/ics":
		case "application/octet-stream":
			if name, _ := p.fileName(words{}); !strings.HasSuffix(lower(name), ".ics") {
				return
			}
		default:
			return
		}
		text := p.start()
		c := readCalendar(decodeText(text[:min(len(text), calendarWindow)], p.charset, "").value)
		c.Method = cmpOr(c.Method, strings.ToUpper(printable(validText([]byte(p.media.str("method"))))))
		found = &c
	})
	return found
}

// readCalendar reads the method and the first event, task or free-busy answer of a calendar (RFC 5545).
func readCalendar(text string) event.Calendar {
	var c event.Calendar
	depth, inside, done := 0, 0, false
	duration := ""
	eachContentLine(text, func(line contentLine) bool {
		switch line.name {
		case "BEGIN":
			depth++
			if kind := strings.ToUpper(line.value); inside == 0 && (kind == "VEVENT" || kind == "VTODO" || kind == "VFREEBUSY") {
				inside = depth
			}
			return true
		case "END":
			done = inside > 0 && depth <= inside
			depth--
			return !done
		case "METHOD":
			if inside == 0 {
				c.Method = strings.ToUpper(line.text())
			}
			return true
		}
		if depth == inside && inside > 0 { // not in an alarm
			if line.name == "DURATION" {
				duration = line.value
			}
			line.fill(&c)
		}
		return true
	})
	if c.End == nil && c.Start != nil && duration != "" {
		c.End = addDuration(*c.Start, duration)
	}
	return c
}

// contentLine is one unfolded line of a calendar: NAME;PARAM=value:value.
type contentLine struct {
	name   string // upper case
	params []string
	value  string
}

// eachContentLine unfolds a calendar and calls visit for each line, until visit says no.
func eachContentLine(text string, visit func(contentLine) bool) {
	const longest = 16 << 10
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		line = strings.TrimSuffix(line, "\r")
		if rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
			var out strings.Builder
			out.WriteString(line)
			for rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
				line, rest, _ = strings.Cut(rest, "\n")
				if out.Len() < longest {
					out.WriteString(strings.TrimSuffix(line[1:], "\r"))
				}
			}
			line = out.String()
		}
		text = rest
		if l, ok := parseContentLine(line); ok && !visit(l) {
			return
		}
	}
}

// parseContentLine splits a line at the semicolons and the colon that are not quoted.
func parseContentLine(line string) (l contentLine, ok bool) {
	start, quoted := 0, false
	var pieces []string
	for i := range len(line) {
		switch c := line[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';' || c == ':':
			pieces = append(pieces, line[start:i])
			start = i + 1
		}
		if !quoted && line[i] == ':' {
			return contentLine{name: strings.ToUpper(strings.TrimSpace(pieces[0])), params: pieces[1:], value: strings.TrimSpace(line[start:])}, true
		}
	}
	return l, false
}

func (l contentLine) param(name string) string {
	for _, p := range l.params {
		if key, value, _ := strings.Cut(p, "="); strings.EqualFold(key, name) {
			return printable(strings.Trim(value, `"`))
		}
	}
	return ""
}

var unescapeText = strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`)

func (l contentLine) text() string { return printable(unescapeText.Replace(l.value)) }

// fill writes what a line of an event says.
func (l contentLine) fill(c *event.Calendar) {
	switch l.name {
	case "UID":
		c.UID = l.text()
	case "SEQUENCE":
		c.Sequence, _ = atoi(l.value)
	case "SUMMARY":
		c.Summary = l.text()
	case "DTSTART":
		c.Start = l.time()
	case "DTEND", "DUE":
		c.End = l.time()
	case "RECURRENCE-ID":
		c.RecurrenceID = l.time()
	case "ORGANIZER":
		c.Organizer = new(l.attendee())
	case "ATTENDEE":
		if len(c.Attendees) < maxAttendees {
			c.Attendees = append(c.Attendees, l.attendee())
		}
	}
}

func (l contentLine) attendee() event.Attendee {
	address := printable(l.value)
	if len(address) > 7 && strings.EqualFold(address[:7], "mailto:") {
		address = address[7:]
	}
	name := l.param("CN")
	if !strings.Contains(address, "@") { // Outlook writes "invalid:nomail" if the name is all it knows
		if email := cmpOr(l.param("EMAIL"), strings.Trim(name, "'")); strings.Contains(email, "@") {
			address = email
		}
	}
	return event.Attendee{Email: address, Name: name, Status: strings.ToUpper(l.param("PARTSTAT"))}
}

// time turns 20260302T100000Z into 2026-03-02T10:00:00Z, and 20260302 into 2026-03-02.
func (l contentLine) time() *event.CalendarTime {
	v := strings.TrimSpace(l.value)
	if digits(v) != 8 {
		return nil
	}
	out := v[:4] + "-" + v[4:6] + "-" + v[6:8]
	if len(v) == 8 {
		return &event.CalendarTime{Time: out}
	}
	clock, utc := strings.CutSuffix(v[9:], "Z")
	if digits(clock) != 6 || len(clock) != 6 {
		return nil
	}
	out += "T" + clock[:2] + ":" + clock[2:4] + ":" + clock[4:6]
	if utc {
		return &event.CalendarTime{Time: out + "Z"}
	}
	return &event.CalendarTime{Time: out, TimeZone: l.param("TZID")}
}
