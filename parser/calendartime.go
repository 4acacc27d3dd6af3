package parser

import (
	"strings"
	"time"

	"github.com/mailflume/mailflume/event"
)

// addDuration returns the end of something that starts at a time and lasts as long as an RFC 5545 duration says ("PT1H",
// "P1D"), or nil if that is none. In a zone with summer time an hour can be missing; calendars count in the same way.
func addDuration(start event.CalendarTime, duration string) *event.CalendarTime {
	d, ok := strings.CutPrefix(strings.ToUpper(duration), "P")
	if !ok {
		return nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05", time.DateOnly} {
		t, err := time.Parse(layout, start.Time)
		if err != nil {
			continue
		}
		days, seconds, ok := readDuration(d)
		t = t.AddDate(0, 0, days).Add(time.Duration(seconds) * time.Second)
		if !ok || t.Year() > 9999 {
			return nil
		}
		return &event.CalendarTime{Time: t.Format(layout), TimeZone: start.TimeZone}
	}
	return nil
}

// readDuration reads "1DT2H30M".
func readDuration(d string) (days, seconds int, ok bool) {
	for d != "" {
		if d[0] == 'T' {
			d = d[1:]
			continue
		}
		n := digits(d)
		value, number := atoi(d[:n])
		const most = 100_000
		if !number || n == len(d) || value > most {
			return 0, 0, false
		}
		switch d[n] {
		case 'W':
			days += 7 * value
		case 'D':
			days += value
		case 'H':
			seconds += 3600 * value
		case 'M':
			seconds += 60 * value
		case 'S':
			seconds += value
		default:
			return 0, 0, false
		}
		d = d[n+1:]
	}
	return days, seconds, true
}
