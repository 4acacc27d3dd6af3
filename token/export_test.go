package token

import "time"

// SetInterval makes a test's device ask more often than the endpoint allows.
func (d *Device) SetInterval(i time.Duration) { d.interval = i }
