package fetcher

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAllowance: what is read counts for a day, by the hour, and its text brings it back.
func TestAllowance(t *testing.T) {
	start := time.Unix(1e9, 0).Truncate(time.Hour)
	a := NewAllowance(1000)
	for i := range 10 {
		a.spend(100, start.Add(time.Duration(i)*time.Hour))
	}
	now := start.Add(9*time.Hour + 59*time.Minute)
	if a.Used(now) != 1000 || !a.Resumes(now).Equal(start.Add(24*time.Hour)) {
		t.Errorf("%d used, resumes at %v", a.Used(now), a.Resumes(now))
	}
	b := NewAllowance(500)
	b.spend(50, start)
	b.Report(a.String()+",x,9:9:9,99999999999999:5,-1:1", now)
	b.Report(a.String(), now) // once more changes nothing
	if b.Used(now) != 1000 || !b.Resumes(now).Equal(start.Add(29*time.Hour)) {
		t.Errorf("%d used, resumes at %v", b.Used(now), b.Resumes(now))
	}
	if later := start.Add(40 * time.Hour); a.Used(later) != 0 || !a.Resumes(later).IsZero() {
		t.Errorf("a day later %d are used", a.Used(later))
	}
	for i := range 1000 {
		a.spend(1, start.Add(time.Duration(i)*time.Hour))
	}
	if n := len(a.hours); n > hoursOfDay {
		t.Errorf("%d hours are kept", n)
	}
	var none *Allowance
	none.spend(1, now)
	none.Report("1:1", now)
	if NewAllowance(0) != nil || none.Used(now) != 0 || !none.Resumes(now).IsZero() || none.String() != "" {
		t.Error("no allowance is a bound")
	}
}

// TestBackfillPauses: the backfill reads no more in a day than it may, new mail comes at once all the while, and in the end
// everything has come.
func TestBackfillPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const old, perDay = 300, 1 << 20
		f := newFake(t)
		for uid := range uint32(old) {
			f.add(uid + 1)
			f.mails[uid].raw = "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 910) // 16 KiB
		}
		c := f.config()
		c.Allowance = NewAllowance(perDay)
		s := mustOpen(t, c)
		defer s.Close()
		start, after := time.Now(), map[string]Position{}
		byDay, total, next := map[int]int64{}, 0, uint32(old)
		var arrived time.Time
		for total < old {
			r := readAll(t.Context(), s, after)
			if r.err != nil {
				t.Fatal(r.err)
			}
			after = r.after
			for _, m := range r.all {
				switch {
				case m.Kind != KindMail:
				case m.Backfill:
					total++
					byDay[int(time.Since(start)/(24*time.Hour))] += m.Size
				case time.Since(arrived) > 10*time.Second:
					t.Errorf("UID %d came after %v", m.UID, time.Since(arrived))
				}
			}
			if resumes := c.Allowance.Resumes(time.Now()); total < old && resumes.IsZero() {
				t.Fatalf("it stopped at %d of %d messages and %d bytes", total, old, c.Allowance.Used(time.Now()))
			}
			if next < old+50 {
				time.AfterFunc(time.Minute, func() { next++; arrived = time.Now(); f.deliver(next) })
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if time.Since(start) > 30*24*time.Hour {
				t.Fatalf("%d of %d after a month", total, old)
			}
		}
		if len(byDay) < 5 || len(byDay) > 6 {
			t.Errorf("it took %d days: %v", len(byDay), byDay)
		}
		for day, n := range byDay {
			if n > perDay+(17<<10) {
				t.Errorf("%d bytes on day %d", n, day)
			}
		}
	})
}
