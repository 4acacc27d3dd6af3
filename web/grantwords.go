package web

import (
	"time"

	"github.com/mailflume/mailflume/token"
)

// badge is how a grant stands, in words and in the colour of a mailbox's state.
type badge struct{ Class, Words string }

// grantWords says how a login's grant stands.
func grantWords(l Login, now time.Time) badge {
	s := l.Grant
	switch {
	case l.Problem != "":
		return badge{"waiting", "not known"}
	case s.State == token.NeedsPerson:
		return badge{"parked", "reconnect needed"}
	case s.State == token.Absent && l.Why != "":
		return badge{"elsewhere", "none needed"}
	case s.State == token.Absent:
		return badge{"parked", "not connected"}
	case s.State == token.Refreshing:
		return badge{"reading", "being renewed"}
	case s.Broken() && s.Expiry.After(now):
		return badge{"waiting", "token valid, but it cannot be renewed"}
	case s.Broken():
		return badge{"parked", "cannot be renewed"}
	case s.Expiry.After(now):
		return badge{"watching", "token valid"}
	case s.Problem != nil:
		return badge{"waiting", "cannot be renewed at the moment, tried again by itself"}
	default:
		return badge{"waiting", "token expired, renewed at the next login"}
	}
}

// left says for how long something is still good.
func left(t, now time.Time) string { return Short(t.Sub(now)) }

// account says what is connected to a mailbox of that provider.
func account(provider string) string {
	switch provider {
	case "gmail":
		return "your Gmail account"
	case "outlook":
		return "your Outlook account"
	default:
		return "your account"
	}
}
