package token

import "time"

// SetInterval makes a test's device ask more often than the endpoint allows.
func (d *Device) SetInterval(i time.Duration) { d.interval = i }

// Age makes a sign-in older.
func (c *Consent) Age(d time.Duration) { c.begun = c.begun.Add(-d) }
