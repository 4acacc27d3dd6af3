package parser

import (
	"slices"
	"strings"
	"time"
)

// namedZones are offsets in minutes. Letters of one sign and what nobody knows count as UTC (RFC 5322, section 4.3).
var namedZones = map[string]int{
	"ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0, "west": 60, "bst": 60, "cet": 60, "met": 60, "mez": 60, "cest": 120,
	"mest": 120, "mesz": 120, "eet": 120, "eest": 180, "sast": 120, "msk": 180, "msd": 240, "ist": 330, "sgt": 480,
	"hkt": 480, "jst": 540, "kst": 540, "aest": 600, "aedt": 660, "acst": 570, "awst": 480, "nzst": 720, "nzdt": 780,
	"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420,
	"akst": -540, "akdt": -480, "hst": -600, "ast": -240, "adt": -180, "nst": -210, "ndt": -150, "brt": -180, "brst": -120, "art": -180,
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// foreignMonths are how names of months start that start otherwise than in English: German, French, Spanish, Italian,
// Portuguese, Dutch, the Scandinavian languages, Russian.
var foreignMonths = [12][]string{
	{"ene", "gen", "янв"},
	{"fév", "fev", "фев"},
	{"mär", "mrt", "maa", "мар"},
	{"abr", "avr", "апр"},
	{"mai", "mag", "mei", "maj", "мая", "май"},
	{"juin", "giu", "июн"},
	{"juil", "lug", "июл"},
	{"ago", "aoû", "aou", "авг"},
	{"set", "сен"},
	{"okt", "ott", "out", "окт"},
	{"noy", "ноя"},
	{"dez", "déc", "dic", "des", "дек"},
}

// dateScan collects the pieces of a date in whatever order they stand.
type dateScan struct {
	day, month, year     int
	hour, minute, second int
	zone                 int // minutes
	hasDay, hasMonth     bool
	hasYear, hasTime     bool
	hasZone              bool
	early                bool // the month stands before the day, where some languages have a weekday "mar"
	odd                  bool // not the form of RFC 5322
}

// parseDate reads a Date field: RFC 5322, its obsolete forms, asctime, ISO 8601 and what programs make of them. odd says
// that it is not what RFC 5322 asks for.
func parseDate(value string) (t time.Time, odd, ok bool) {
	if t, ok := properDate(value); ok {
		return t, false, true
	}
	var s dateScan
	const longest = 200
	if len(value) > longest {
		value = value[:longest]
	}
	tokens := strings.FieldsFunc(closeColons(dropComments(value)), func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == ';' })
	for _, token := range tokens {
		s.token(lower(token))
	}
	if !s.valid() {
		return time.Time{}, true, false
	}
	zone := time.UTC
	if s.zone != 0 {
		zone = time.FixedZone("", s.zone*60)
	}
	t = time.Date(s.year, time.Month(s.month), s.day, s.hour, s.minute, s.second, 0, zone)
	return t, s.odd || !s.hasZone, t.Year() > 0 && t.UTC().Year() > 0 && t.Year() < 10000 && t.UTC().Year() < 10000
}

// properDate reads the form that nearly all mail has: "Mon, 2 Mar 2026 10:00:00 +0100".
func properDate(value string) (time.Time, bool) {
	if comment := strings.Index(value, " ("); comment > 0 {
		value = value[:comment]
	}
	if _, after, ok := strings.Cut(value, ", "); ok && len(value)-len(after) == 5 {
		value = after
	}
	if len(value) == 25 {
		value = "0" + value
	}
	const form = "02 Jan 2006 15:04:05 -0700"
	if len(value) != len(form) || value[2] != ' ' || value[6] != ' ' || value[11] != ' ' || value[14] != ':' || value[17] != ':' || value[20] != ' ' {
		return time.Time{}, false
	}
	numbers := [...]string{value[0:2], value[7:11], value[12:14], value[15:17], value[18:20], value[22:24], value[24:26]}
	var n [len(numbers)]int
	for i, s := range numbers {
		var ok bool
		if n[i], ok = atoi(s); !ok {
			return time.Time{}, false
		}
	}
	month := 1 + slices.IndexFunc(months, func(month string) bool { return is(value[3:6], month) })
	zone := 60 * (60*n[5] + n[6])
	switch {
	case value[21] == '-':
		zone = -zone
	case value[21] != '+':
		return time.Time{}, false
	}
	if month == 0 || n[1] < 1000 || n[0] < 1 || n[0] > daysIn(month, n[1]) || n[2] > 23 || n[3] > 59 || n[4] > 59 || n[5] > 14 || n[6] > 59 {
		return time.Time{}, false
	}
	location := time.UTC
	if zone != 0 {
		location = time.FixedZone("", zone)
	}
	return time.Date(n[1], time.Month(month), n[0], n[2], n[3], n[4], 0, location), true
}

func (s *dateScan) valid() bool {
	if !s.hasDay || !s.hasMonth || !s.hasYear || s.month < 1 || s.month > 12 || s.day < 1 || s.day > daysIn(s.month, s.year) {
		return false
	}
	if s.hour > 23 || s.minute > 59 || s.second > 60 {
		s.odd = true
		return s.hour == 24 && s.minute == 0
	}
	return true
}

// daysIn returns how many days a month has: the 31st of one that has 30 is no day, and not the 1st of the next.
func daysIn(month, year int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func (s *dateScan) token(token string) {
	c := token[0]
	switch {
	case s.hasTime && (c == '+' || c == '-'):
		s.offset(token)
	case isClock(token):
		s.clock(token)
	case c >= '0' && c <= '9':
		s.number(token)
	default:
		s.word(token)
	}
}

// isClock says whether a token is the time of a day, and not a date with one behind a "T".
func isClock(token string) bool {
	colon := strings.IndexByte(token, ':')
	return colon > 0 && isDigit(token[0]) && strings.IndexByte(token[:colon], 't') < 0
}

// number reads a token of digits: a day, a year, or a whole date as 2026-03-02, 02-Mar-2026, 2.3.2026 or 3/2/2026.
func (s *dateScan) number(token string) {
	if date, clock, found := strings.Cut(token, "t"); found && strings.Contains(clock, ":") && !strings.Contains(date, ":") { // ISO 8601
		s.odd = true
		s.number(date)
		s.clock(clock)
		return
	}
	if s.hasDay && s.hasMonth && s.hasYear && !s.hasTime && strings.Count(token, ".") > 0 { // 10.00.00
		s.odd = true
		s.clock(strings.ReplaceAll(token, ".", ":"))
		return
	}
	if parts := strings.FieldsFunc(token, func(r rune) bool { return r == '-' || r == '/' || r == '.' }); len(parts) == 3 {
		s.odd = true
		s.wholeDate(parts, strings.Contains(token, "/"))
		return
	}
	digits := strings.TrimRight(token, "abcdefghijklmnopqrstuvwxyz.")
	s.odd = s.odd || digits != token
	n, ok := atoi(digits)
	switch {
	case !ok:
		s.odd = true
	case !s.hasDay && len(digits) <= 2:
		s.day, s.hasDay = n, true
	case !s.hasYear && s.hasDay || !s.hasYear && len(digits) == 4:
		s.setYear(n, len(digits))
	case s.hasTime && !s.hasZone && len(digits) == 4: // a zone without its sign
		s.odd = true
		s.offset("+" + digits)
	default:
		s.odd = true
	}
}

func (s *dateScan) wholeDate(parts []string, american bool) {
	first, _ := atoi(parts[0])
	second, numeric := atoi(parts[1])
	third, _ := atoi(parts[2])
	switch {
	case !numeric: // 02-Mar-2026
		s.word(parts[1])
		s.day, s.hasDay = first, true
		s.setYear(third, len(parts[2]))
		return
	case len(parts[0]) == 4: // 2026-03-02
		s.setYear(first, 4)
		s.month, s.day = second, third
	case american && second > 12 || american && first <= 12:
		s.setYear(third, len(parts[2]))
		s.month, s.day = first, second
	default:
		s.setYear(third, len(parts[2]))
		s.month, s.day = second, first
	}
	s.hasMonth, s.hasDay = true, true
}

func (s *dateScan) setYear(n, digits int) {
	switch { // RFC 5322, section 4.3
	case digits <= 2 && n < 50:
		n, s.odd = n+2000, true
	case digits <= 3:
		n, s.odd = n+1900, true
	}
	s.year, s.hasYear = n, true
}

// clock reads 10:00, 10:00:00, 10.00.00, 10:00:00.123, 10:00:00+0100, 10:00:00pm.
func (s *dateScan) clock(token string) {
	end := strings.IndexFunc(token, func(r rune) bool { return (r < '0' || r > '9') && r != ':' && r != '.' })
	rest := ""
	if end >= 0 {
		token, rest = token[:end], token[end:]
	}
	if fields := strings.Split(token, ":"); len(fields) >= 2 {
		seconds := "0"
		if len(fields) > 2 {
			seconds, _, _ = strings.Cut(fields[2], ".")
		}
		s.hour, _ = atoi(fields[0])
		s.minute, _ = atoi(fields[1])
		s.second, _ = atoi(seconds)
		s.hasTime = true
	}
	if rest != "" {
		s.odd = true
		s.token(rest)
	}
}

// offset reads +0100, +01:00, -5, +01.
func (s *dateScan) offset(token string) {
	if s.hasZone && s.zone != 0 {
		return
	}
	sign := 1
	if token[0] == '-' {
		sign = -1
	}
	digits := strings.TrimRight(strings.TrimLeft(token, "+-"), "abcdefghijklmnopqrstuvwxyz\"'.)")
	if strings.Contains(digits, ":") {
		s.odd = true
		digits = strings.ReplaceAll(digits, ":", "")
	}
	n, ok := atoi(digits)
	switch {
	case !ok || len(digits) > 4:
		s.odd = true
		return
	case len(digits) <= 2:
		s.odd = true
		n *= 100
	}
	minutes := n/100*60 + n%100
	if minutes > 24*60-1 {
		s.odd = true
		return
	}
	s.zone, s.hasZone = sign*minutes, true
}

// word reads a token of letters: the name of a month, a weekday or a zone, am or pm.
func (s *dateScan) word(token string) {
	token = strings.Trim(token, "\"'.()")
	if len(token) >= 3 && (!s.hasMonth || s.early && !s.hasTime) {
		if month := monthOf(token); month > 0 {
			s.month, s.hasMonth = month, true
			s.early = !s.hasDay
			s.odd = s.odd || len(token) > 3
			return
		}
	}
	switch token = strings.ReplaceAll(token, ".", ""); {
	case token == "pm" && s.hour < 12:
		s.hour += 12
		s.odd = true
	case token == "am" && s.hour == 12:
		s.hour = 0
		s.odd = true
	case s.hasTime && !s.hasZone:
		if i := strings.IndexAny(token, "+-"); i > 0 { // GMT+0100
			s.odd = true
			s.offset(token[i:])
			return
		}
		if minutes, known := namedZones[token]; known {
			s.zone, s.hasZone = minutes, true
		}
		s.odd = s.odd || token != "gmt"
	}
}

// monthOf returns the month of which a word is the name or its short form, in English or another language; 0 if none.
func monthOf(word string) int {
	for i, month := range months {
		if strings.HasPrefix(word, month) {
			return i + 1
		}
	}
	for i, names := range foreignMonths {
		for _, name := range names {
			if strings.HasPrefix(word, name) {
				return i + 1
			}
		}
	}
	return 0
}

// closeColons takes the white space around colons out, which the obsolete form allows (RFC 5322, appendix A.6.3).
func closeColons(s string) string {
	pieces := strings.Split(s, ":")
	for i := range pieces {
		if i > 0 {
			pieces[i] = strings.TrimLeft(pieces[i], " \t")
		}
		if i < len(pieces)-1 {
			pieces[i] = strings.TrimRight(pieces[i], " \t")
		}
	}
	return strings.Join(pieces, ":")
}

func dropComments(s string) string {
	if i := strings.IndexByte(s, '('); i >= 0 {
		before, after := s[:i], s[i:]
		if j := strings.IndexByte(after, ')'); j >= 0 {
			return before + " " + dropComments(after[j+1:])
		}
		return before
	}
	return s
}

func atoi(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i > 8 {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, len(s) > 0
}
