package web

import (
	"context"
	"net/http"
	"time"

	"github.com/mailflume/mailflume/mailbox"
)

// Door lets those in who have a link that the operator made (see token.Invitation).
type Door interface {
	// Invited returns the mailbox of a link, and until when it is good. The error says why it lets nobody in.
	Invited(ctx context.Context, link string) (id string, ends time.Time, err error)
}

// End is how a sign-in ended: for which mailbox, if that is known, and with which link it was begun, if with one.
type End struct{ ID, Link string }

// invited shows whoever was sent a link what it is for. To look at it does not use it up: programs that deliver messages do.
func (c *connecting) invited(w http.ResponseWriter, r *http.Request) {
	l, ends, ok := c.guest(w, r)
	if !ok {
		return
	}
	c.show(w, http.StatusOK, view{Home: "../", Guest: true, Login: &l, At: "./" + r.PathValue("link"), Ends: ends, Flash: c.flash(w, r), Now: time.Now()})
}

// accept sends whoever was sent a link to the provider.
func (c *connecting) accept(w http.ResponseWriter, r *http.Request) {
	l, ends, ok := c.guest(w, r)
	if !ok {
		return
	}
	link := r.PathValue("link")
	target, state, err := c.Desk.Begin(r.Context(), "", c.Public+l.Callback, link)
	if err != nil {
		c.show(w, http.StatusOK, view{Home: "../", Guest: true, Login: &l, At: "./" + link, Ends: ends, Flash: failed(err), Now: time.Now()})
		return
	}
	c.send(w, view{Home: "../", Guest: true, Login: &l}, target, state)
}

// guest returns what the link of a request is for, or says why it lets nobody in.
func (c *connecting) guest(w http.ResponseWriter, r *http.Request) (l Login, ends time.Time, ok bool) {
	id, ends, err := c.Door.Invited(r.Context(), r.PathValue("link"))
	if err != nil {
		status := http.StatusForbidden
		if mailbox.Classify(err).Class == mailbox.Passing {
			status = http.StatusServiceUnavailable
		} else {
			c.wrong(r)
		}
		c.show(w, status, view{Home: "../", Guest: true, Flash: failed(err)})
		return Login{}, ends, false
	}
	if l, ok = c.Desk.Login(r.Context(), id); !ok {
		c.show(w, http.StatusNotFound, view{Home: "../", Guest: true, Flash: noSuchMailbox("Tell whoever sent you the link.")})
	}
	return l, ends, ok
}
