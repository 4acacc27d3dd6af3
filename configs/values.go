package configs

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

var sizeText = regexp.MustCompile(`^(\d+) ?([A-Za-z]*)$`)

// ParseSize reads a size such as "64MiB", "10MB" or "1048576" (bytes).
func ParseSize(s string) (Size, error) {
	const fix = "write a whole number with a unit: 64MiB (1024s), 64MB (1000s), or plain bytes"
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		return 0, flawf(fix, "%s is not a size", quote(s))
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, flawf(fix, "%s is too large", quote(s))
	}
	if m[2] == "" {
		return Size(n), nil
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, m[2]) {
			if n > math.MaxInt64/u.bytes {
				return 0, flawf(fix, "%s is too large", quote(s))
			}
			return Size(n * u.bytes), nil
		}
	}
	return 0, flawf(fix, "%s has the unknown unit %s", quote(s), quote(m[2]))
}

// String returns the size with the largest unit that leaves a whole number, such as "64MiB".
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var durationPart = regexp.MustCompile(`^(\d+)(ms|s|m|h|d|w)`)

var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseDuration reads a duration such as "9m", "30d" or "1h30m". A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	const fix = "write numbers with units: 500ms, 15s, 9m, 12h, 30d or 1h30m"
	if _, err := strconv.Atoi(s); err == nil && s != "0" {
		return 0, flawf(fix, "%s has no unit", quote(s))
	}
	if s == "0" {
		return 0, nil
	}
	var total time.Duration
	rest := s
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, flawf(fix, "%s is not a duration", quote(s))
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		unit := durationUnits[m[2]]
		if err != nil || n > int64((math.MaxInt64-total)/unit) {
			return 0, flawf(fix, "%s is too long", quote(s))
		}
		total += time.Duration(n) * unit
		rest = rest[len(m[0]):]
	}
	if total == 0 && s == "" {
		return 0, flawf(fix, "%s is not a duration", quote(s))
	}
	return total, nil
}

// formatDuration writes whole days as days and leaves out units that are zero: "9m", not "9m0s".
func formatDuration(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Start says which mail of a folder is read that was there before the mailbox was first seen. The zero value is now.
type Start struct {
	All   bool      // everything
	Since time.Time // what arrived on that day (UTC) or later; zero: no such bound
}

// Now reports whether only mail that arrives from now on is read.
func (s Start) Now() bool { return !s.All && s.Since.IsZero() }

// ParseStart reads "now", "all" or a date, YYYY-MM-DD.
func ParseStart(s string) (Start, error) {
	const fix = "write now, all, or a date as YYYY-MM-DD"
	switch s {
	case "now":
		return Start{}, nil
	case "all":
		return Start{All: true}, nil
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil || day.Year() < 1970 {
		return Start{}, flawf(fix, "%s is not a start", quote(s))
	}
	return Start{Since: day}, nil
}

// String returns the start as the configuration file writes it.
func (s Start) String() string {
	switch {
	case s.All:
		return "all"
	case s.Since.IsZero():
		return "now"
	}
	return s.Since.Format(time.DateOnly)
}

// Date is a day, in UTC. The zero value is no day.
type Date struct{ time.Time }

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil || day.Year() < 2000 {
		return Date{}, flawf("write it as YYYY-MM-DD", "%s is not a date", quote(s))
	}
	return Date{day}, nil
}

// quote makes a value from the file safe to print on one line.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return fmt.Sprintf("%q", s)
}
