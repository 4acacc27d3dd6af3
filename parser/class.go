package parser

import (
	"strings"

	"github.com/mailflume/mailflume/event"
)

// classify says what kind of message it is, from its header and its parts.
func classify(root *part, e event.Email) event.Class {
	h := root.header
	get := func(name string) string {
		value, _ := h.last(name)
		word, _, _ := strings.Cut(validText(value), ";")
		return lower(strings.TrimSpace(stripCommentString(word)))
	}
	var c event.Class
	// RFC 3834, and what older programs write.
	submitted := get("Auto-Submitted")
	precedence := get("Precedence")
	c.AutoReply = strings.HasPrefix(submitted, "auto-replied") || precedence == "auto_reply" || h.has("X-Autoreply") || h.has("X-Autorespond") ||
		h.has("X-Auto-Reply-From")
	c.List = listID(h)
	c.Bulk = precedence == "bulk" || precedence == "list" || precedence == "junk" || c.List != "" || h.has("List-Unsubscribe")
	root.leaves(func(p *part) {
		if p.within != "" {
			return
		}
		switch p.media.value {
		case "text/calendar", "application/ics":
			c.Calendar = true
		case "message/delivery-status", "message/global-delivery-status":
			c.Bounce = true
		}
	})
	report := lower(root.media.str("report-type"))
	c.Bounce = c.Bounce || root.media.value == "multipart/report" && report == "delivery-status" || h.has("X-Failed-Recipients") ||
		emptyReturnPath(h) && fromDaemon(e.From)
	return c
}

// listID returns the identifier in a List-Id field (RFC 2919).
func listID(h header) string {
	value, ok := h.last("List-Id")
	if !ok {
		return ""
	}
	text := validText(value)
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		text, _, _ = strings.Cut(text[open+1:], ">")
	}
	return printable(text)
}

func emptyReturnPath(h header) bool {
	value, ok := h.last("Return-Path")
	return ok && strings.Trim(string(value), "<> \t") == ""
}

// fromDaemon says whether a message comes from the mail system itself.
func fromDaemon(from []event.EmailAddress) bool {
	for _, a := range from {
		local, _, _ := strings.Cut(lower(a.Email), "@")
		if local == "mailer-daemon" || local == "postmaster" || local == "mail-daemon" {
			return true
		}
	}
	return false
}

func stripCommentString(s string) string { return string(stripComment([]byte(s))) }
