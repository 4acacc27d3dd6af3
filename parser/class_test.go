package parser

import (
	"reflect"
	"testing"

	"github.com/mailflume/mailflume/event"
)

func TestClassOfParts(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want event.Class
	}{
		"list": {
			"List-Id: Ann's list <l.example.org>\nList-Unsubscribe: <mailto:u@example.org>,\n <https://example.org/u?a=1>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\n",
			event.Class{Bulk: true, List: &event.List{
				ID: "l.example.org", Unsubscribe: []string{"mailto:u@example.org", "https://example.org/u?a=1"}, OneClick: true,
			}},
		},
		"report": {
			"From: MAILER-DAEMON@a.org\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nsorry\n" +
				"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a.org\n\n" +
				"Original-Recipient: rfc822;ann@b.org\nFinal-Recipient: rfc822; ann.lee@c.org\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.1.1\n unknown\n\n" +
				"Final-Recipient: rfc822; bob@b.org\nAction: delayed\nStatus: 4.4.1 (no answer)\n" +
				"--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@a.org>\n\nhello\n--b--\n",
			event.Class{Bounce: &event.Bounce{MessageID: "1@a.org", Recipients: []event.BouncedRecipient{
				{Recipient: "ann@b.org", Status: "5.1.1", Action: "failed", Reason: "550 5.1.1 unknown"},
				{Recipient: "bob@b.org", Status: "4.4.1", Action: "delayed"},
			}}},
		},
		"delivered": {
			"From: postmaster@a.org\nSubject: Delivery Status Notification\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" +
				"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a.org\n\nFinal-Recipient: rfc822; ann@b.org\nAction: delivered\nStatus: 2.0.0\n--b--\n",
			event.Class{},
		},
		"words": {
			"Return-Path: <>\nFrom: MAILER-DAEMON@a.org\nSubject: failure notice\n\nHi. This is the program at a.org, version 5.5.2653.\n\n" +
				"<ann@b.org>:\n192.0.2.5 does not like recipient.\nRemote host said: 550 #5.1.1 no such user\n\n--- Below this line is a copy.\n\n" +
				"Return-Path: <bob@a.org>\nReceived: from x\nFrom: bob@a.org\nMessage-ID: <2@a.org>\n\nhello\n",
			event.Class{Bounce: &event.Bounce{MessageID: "2@a.org", Recipients: []event.BouncedRecipient{
				{Recipient: "ann@b.org", Status: "5.1.1", Action: "failed", Reason: "Remote host said: 550 #5.1.1 no such user"},
			}}},
		},
		"words for two": {
			"Return-Path: <>\nFrom: MAILER-DAEMON@a.org\nSubject: failure notice\n\nHi.\n\n<ann@b.org>:\nno such user (#5.1.1)\n\n" +
				"<bob@b.org>:\nRemote host said: 452 4.2.2 full\n",
			event.Class{Bounce: &event.Bounce{Recipients: []event.BouncedRecipient{
				{Recipient: "ann@b.org", Status: "5.1.1", Action: "failed", Reason: "no such user (#5.1.1)"},
				{Recipient: "bob@b.org", Status: "4.2.2", Action: "failed", Reason: "Remote host said: 452 4.2.2 full"},
			}}},
		},
		"a person's postmaster": {"Return-Path: <ann@b.org>\nFrom: postmaster@b.org\nSubject: your question\n\nhello\n", event.Class{}},
		"complaint": {
			"From: a@b.org\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n" +
				"--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: x\n--b\nContent-Type: message/rfc822\n\nTo: ann@b.org\nMessage-ID: <3@a.org>\n\n--b--\n",
			event.Class{Complaint: &event.Complaint{Type: "abuse", Recipient: "ann@b.org", MessageID: "3@a.org"}},
		},
		"signed":        {"Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\n\n--b\n\nx\n--b--\n", event.Class{Signed: "smime"}},
		"opaque signed": {"Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nx", event.Class{Signed: "smime"}},
		"enveloped":     {"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx", event.Class{Encrypted: "smime"}},
		"encrypted":     {"Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n--b\n\nx\n--b--\n", event.Class{Encrypted: "pgp"}},
		"inline":        {"Subject: s\n\n-----BEGIN PGP MESSAGE-----\n\nx", event.Class{Encrypted: "pgp"}},
		"placeholder": {
			"From: \"Microsoft Exchange Server\"\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 17\n\nx",
			event.Class{Placeholder: true},
		},
		"no placeholder": {
			"Received: from x\nFrom: \"Microsoft Exchange Server\" <a@b.org>\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 17\n\nx",
			event.Class{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := check(t, []byte(c.raw)).Class; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, c.want))
			}
		})
	}
}

func TestCalendar(t *testing.T) {
	const head = "From: a@b.org\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\n"
	for name, c := range map[string]struct {
		ics  string
		want event.Calendar
	}{
		"meeting": {
			"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nDTSTART:16010101T000000\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:1@b\r\n" +
				"SUMMARY:Plan\\, and\r\n  do\r\nSEQUENCE:2\r\nDTSTART;TZID=\"Europe/Berlin\":20260302T100000\r\nDTEND:20260302T100000Z\r\n" +
				"ORGANIZER;CN=\"Lee: Ann\":MAILTO:ann@b.org\r\nATTENDEE;PARTSTAT=accepted;CN=Bob:mailto:bob@b.org\r\n" +
				"BEGIN:VALARM\r\nSUMMARY:no\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:2@b\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
			event.Calendar{
				Method: "REQUEST", UID: "1@b", Sequence: 2, Summary: "Plan, and do",
				Start:     &event.CalendarTime{Time: "2026-03-02T10:00:00", TimeZone: "Europe/Berlin"},
				End:       &event.CalendarTime{Time: "2026-03-02T10:00:00Z"},
				Organizer: &event.Attendee{Email: "ann@b.org", Name: "Lee: Ann"},
				Attendees: []event.Attendee{{Email: "bob@b.org", Name: "Bob", Status: "ACCEPTED"}},
			},
		},
		"whole days": {
			"BEGIN:VEVENT\nUID:3\nDTSTART;VALUE=DATE:20260302\nDURATION:P1D\n",
			event.Calendar{Method: "REQUEST", UID: "3", Start: &event.CalendarTime{Time: "2026-03-02"}, End: &event.CalendarTime{Time: "2026-03-03"}},
		},
		"duration": {
			"BEGIN:VEVENT\nDTSTART:20260302T233000Z\nDURATION:PT1H30M\nRECURRENCE-ID:20260302T090000Z\nDTEND:soon\n",
			event.Calendar{
				Method: "REQUEST", Start: &event.CalendarTime{Time: "2026-03-02T23:30:00Z"}, End: &event.CalendarTime{Time: "2026-03-03T01:00:00Z"},
				RecurrenceID: &event.CalendarTime{Time: "2026-03-02T09:00:00Z"},
			},
		},
		"nothing": {"no calendar", event.Calendar{Method: "REQUEST"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := check(t, []byte(head+c.ics)).Class.Calendar
			if got == nil || !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, c.want))
			}
		})
	}
}
