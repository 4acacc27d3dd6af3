package parser

import (
	"slices"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// reportWindow is how much of a report is read: what it says stands at its start.
const reportWindow = 128 << 10

// maxBounced is how many recipients of one report are listed.
const maxBounced = 100

// reports are the parts of a message that say what became of another.
type reports struct {
	status   *part // message/delivery-status
	feedback *part // message/feedback-report
	original *part // the message that was sent, or its header
}

// findReports looks for the parts of a report. Those in an attached message are about something else.
func findReports(root *part) reports {
	var r reports
	root.leaves(func(p *part) {
		if p.within != "" {
			return
		}
		switch p.media.value {
		case "message/delivery-status", "message/global-delivery-status":
			r.status = firstPart(r.status, p)
		case "message/feedback-report":
			r.feedback = firstPart(r.feedback, p)
		case "message/rfc822", "message/global", "message/rfc822-headers", "message/global-headers", "text/rfc822-headers", "text/rfc822":
			r.original = firstPart(r.original, p)
		}
	})
	return r
}

func firstPart(a, b *part) *part {
	if a != nil {
		return a
	}
	return b
}

// blocks splits the body of a report into its groups of fields.
func (p *part) blocks() []header {
	if p == nil {
		return nil
	}
	return fieldGroups(p.start(), false)
}

// fieldGroups reads groups of fields, which stand apart by blank lines. It can stop behind those of recipients.
func fieldGroups(text []byte, ofRecipients bool) []header {
	var out []header
	for pos := 0; pos < len(text) && len(out) <= maxBounced; {
		line, next := lineAt(text, pos)
		if blank(line) {
			pos = next
			continue
		}
		h, end := scanHeader(text, pos)
		if end <= pos || ofRecipients && !slices.ContainsFunc(recipientFields[:], h.has) {
			return out
		}
		if len(h.fields) > 0 {
			out = h.recipients(out)
		}
		pos = end
	}
	return out
}

// recipients appends a group. One that holds the fields of several recipients, because the blank lines between them are
// missing, is split.
func (h header) recipients(groups []header) []header {
	var seen [len(recipientFields)]bool
	start := 0
	for i, f := range h.fields {
		which := slices.IndexFunc(recipientFields[:], func(name string) bool { return h.named(f, name) })
		if which < 0 {
			continue
		}
		if seen[which] {
			groups = append(groups, header{h.raw, h.fields[start:i], h.names, h.twice})
			start = i
			clear(seen[:])
		}
		seen[which] = true
	}
	return append(groups, header{h.raw, h.fields[start:], h.names, h.twice})
}

// recipientFields name the recipient in a report.
var recipientFields = [...]string{"Original-Recipient", "Final-Recipient"}

// groupsInText reads the groups of a report that stands in a text, because it lost its parts on the way.
func groupsInText(lines textLines) []header {
	if !strings.Contains(lines.text, "cipient:") {
		return nil
	}
	for i := range lines.count() {
		name, ok := strictName(lines.at(i))
		if ok && slices.ContainsFunc(recipientFields[:], func(known string) bool { return is(name, known) }) {
			return fieldGroups([]byte(lines.text[lines.spans[i].start:]), true)
		}
	}
	return nil
}

// start returns the decoded start of a part.
func (p *part) start() []byte {
	d := newDecoder(p.transfer, p.body)
	if d == nil {
		return p.body[:min(len(p.body), reportWindow)]
	}
	var text []byte
	for more := true; more && len(text) < reportWindow; {
		text, more = d.next(text)
	}
	return text
}

// scanHeader reads a header block that is not the one of a part of this message.
func scanHeader(text []byte, pos int) (header, int) {
	scan := headerScan{raw: text, pos: pos, part: true, limits: DefaultLimits()}
	return scan.scan()
}

// bounce reads a report of a message that was not delivered, or returns nil.
func bounce(root *part, r reports, m *event.Mail, text textLines) *event.Bounce {
	bounced := lower(root.media.str("report-type")) == "delivery-status" || looksBounced(root.header, m)
	told := false // the report says what happened, whatever it is
	groups := r.status.blocks()
	if r.status == nil {
		if !bounced {
			return nil
		}
		groups = groupsInText(text.upTo(reportWindow))
	}
	var recipients []event.BouncedRecipient
	for _, h := range groups {
		one, action, ok := bouncedRecipient(h)
		if !ok {
			continue
		}
		told = true
		if action != "delivered" && action != "relayed" && action != "expanded" {
			recipients = append(recipients, one)
		}
	}
	if len(recipients) == 0 {
		if told || !bounced {
			return nil
		}
		recipients = make([]event.BouncedRecipient, 1)
	}
	b := &event.Bounce{Recipients: recipients}
	completeBounce(b, root, r, m, text)
	return b
}

// bouncedRecipient reads the fields of one recipient (RFC 3464, section 2.3).
func bouncedRecipient(h header) (r event.BouncedRecipient, action string, ok bool) {
	field := func(name string) string {
		value, ok := h.first(name)
		if !ok {
			return ""
		}
		return printable(validText(value))
	}
	for _, name := range []string{"Original-Recipient", "Final-Recipient", "X-Actual-Recipient"} {
		// The original one is what the sender wrote; the final one can be behind an alias of the recipient's server.
		if value := reportedAddress(field(name)); value != "" {
			r.Recipient = value
			break
		}
	}
	action, _, _ = strings.Cut(lower(field("Action")), " ")
	status := findStatus(field("Status"))
	if r.Recipient == "" && action == "" && status == "" {
		return r, "", false
	}
	diagnostic := field("Diagnostic-Code")
	if _, text, typed := strings.Cut(diagnostic, ";"); typed {
		diagnostic = text
	}
	r.Reason = cutText(singleSpaced(diagnostic), maxReason)
	r.Status = preciseStatus(repliedStatus(r.Reason), preciseStatus(status, findStatus(r.Reason)))
	r.Action = action
	return r, action, true
}

// singleSpaced makes one space of white space.
func singleSpaced(s string) string {
	if s = strings.TrimSpace(s); plainRun(s) == len(s) {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// maxReason is the longest reason in bytes.
const maxReason = 1000

// reportedAddress takes the type off "rfc822; ann@example.org".
func reportedAddress(value string) string {
	if kind, address, ok := strings.Cut(value, ";"); ok && !strings.Contains(kind, "@") {
		value = address
	}
	value = strings.Trim(strings.TrimSpace(value), "<>")
	value, _, _ = strings.Cut(value, " ")
	if !strings.Contains(value, "@") {
		return ""
	}
	return strings.Trim(value, "<>;,\"'")
}

// completeBounce looks in the text and in the original message for what the report does not say in fields.
func completeBounce(b *event.Bounce, root *part, r reports, m *event.Mail, text textLines) {
	var notice textLines
	var original string
	if one := b.Recipients[0]; r.original == nil || len(b.Recipients) == 1 && (one.Recipient == "" || vague(one.Status) > 0 || one.Reason == "") {
		notice, original = splitNotice(text.upTo(reportWindow))
	}
	if one := &b.Recipients[0]; one.Recipient == "" && one.Status == "" {
		if several := noticeRecipients(notice); len(several) > 1 {
			b.Recipients = several
		}
	}
	if one := &b.Recipients[0]; notice.count() > 0 && len(b.Recipients) == 1 {
		fromText := readNotice(notice, root.header)
		one.Recipient = cmpOr(one.Recipient, fromText.Recipient)
		if repliedStatus(one.Reason) == "" {
			one.Status = preciseStatus(one.Status, fromText.Status)
		}
		one.Reason = cmpOr(one.Reason, fromText.Reason)
	}
	var sent header
	if r.original != nil {
		sent = r.original.sent()
	} else if original != "" {
		sent, _ = scanHeader([]byte(original), 0)
	}
	b.MessageID = sentID(sent, root.header)
	for i := range b.Recipients {
		one := &b.Recipients[i]
		if one.Recipient == "" {
			if to, _ := parseAddresses(lastOf(sent, "To"), words{}, 2); len(to) == 1 {
				one.Recipient = to[0].Email
			}
		}
		if one.Action == "" || one.Action != "delayed" && one.Action != "failed" {
			one.Action = "failed"
			if !strings.HasPrefix(one.Status, "5.") && strings.Contains(lower(subject(m)), "delay") {
				one.Action = "delayed"
			}
		}
	}
}

// sent returns the header of the message that a report returns.
func (p *part) sent() header {
	if p.root != nil {
		return p.root.header
	}
	h, _ := scanHeader(p.start(), 0)
	return h
}

func lastOf(h header, name string) []byte {
	value, _ := h.last(name)
	return value
}

// sentID returns the Message-ID of the message that was sent: its own, else the one that the report refers to.
func sentID(sent, report header) string {
	for _, try := range []struct {
		h    header
		name string
	}{{sent, "Message-ID"}, {report, "X-Original-Message-ID"}, {report, "In-Reply-To"}, {report, "References"}} {
		if ids, _ := messageIDs(lastOf(try.h, try.name)); len(ids) > 0 {
			return ids[len(ids)-1]
		}
	}
	return ""
}

// complaint reads a feedback report (RFC 5965), or returns nil.
//
// QUIRK(outlook): junk report. What Outlook.com reports of its users (JMRP) names the one who complains in a field of the message that it
// returns, and can have no part of fields. Since 2013 at the latest (CiviCRM issue CRM-12425).
func complaint(r reports) *event.Complaint {
	var feedback, sent header
	if blocks := r.feedback.blocks(); len(blocks) > 0 {
		feedback = blocks[0]
	}
	if r.original != nil && (len(feedback.fields) > 0 || r.original.root != nil) {
		sent = r.original.sent()
	}
	junk := reportedAddress(printable(validText(lastOf(sent, "X-HmXmrOriginalRecipient"))))
	if len(feedback.fields) == 0 && junk == "" {
		return nil
	}
	c := event.Complaint{Type: "abuse"}
	if len(feedback.fields) > 0 {
		c.Type = lower(printable(validText(lastOf(feedback, "Feedback-Type"))))
	}
	c.Recipient = cmpOr(reportedAddress(printable(validText(lastOf(feedback, "Original-Rcpt-To")))), junk)
	if r.original != nil {
		c.MessageID = sentID(sent, header{})
		if to, _ := parseAddresses(lastOf(sent, "To"), words{}, 2); c.Recipient == "" && len(to) == 1 {
			c.Recipient = to[0].Email
		}
	}
	return &c
}

// looksBounced says whether a message without a report is a bounce all the same: it comes from the mail system, or was
// sent with an empty return path, and its subject says so.
func looksBounced(h header, m *event.Mail) bool {
	if h.has("X-Failed-Recipients") {
		return true
	}
	daemon, null := fromDaemon(m.Email.From), nullSender(h)
	return daemon && null || (daemon || null) && bouncedSubject(subject(m))
}

func nullSender(h header) bool {
	value, ok := h.last("Return-Path")
	return ok && strings.Trim(string(value), "<> \t") == ""
}

// fromDaemon says whether a message comes from the mail system itself.
func fromDaemon(from []event.EmailAddress) bool {
	for _, a := range from {
		local, _, _ := strings.Cut(lower(a.Email), "@")
		switch local {
		case "mailer-daemon", "postmaster", "mail-daemon", "mail-daemons", "mailerdaemon", "mdaemon", "mmdf", "smtp", "delivery", "post_office":
			return true
		}
		if a.Name != nil {
			name := lower(*a.Name)
			for _, said := range []string{"mail delivery", "mailer-daemon", "mail administrator", "delivery subsystem", "postmaster", "mail system"} {
				if strings.Contains(name, said) {
					return true
				}
			}
		}
	}
	return false
}

// bouncedSubject says whether a subject is the one of a bounce.
func bouncedSubject(s string) bool {
	s = strings.ToLower(cutText(s, 200))
	for _, said := range []string{
		"undeliver", "delivery status notification", "delivery fail", "delivery notification", "delivery problem", "delivery error", "delivery report",
		"returned mail", "returned to sender", "mail delivery", "failure notice", "failed mail", "failed delivery", "non delivery", "nondeliverable",
		"could not be delivered", "delivery has failed", "unable to deliver", "not delivered", "mail error", "unzustellbar", "delivery delayed",
		"delayed mail", "warning: message", "could not send", "error sending", "rejected mail", "mail system error", "message status - undeliverable",
		"delivery incomplete", "dsn: failed", "unzustellbarkeitsbericht", "non remis", "no se puede entregar", "delivery to the following",
		"failure delivery", "errors from", "配信できません", "配信不能", "送信できません", "無法傳遞", "无法投递", "退信", "no entregado", "no entregable", "não entregue",
		"non distribué", "mancata consegna", "onbestelbaar", "недоставлен", "не доставлен", "niedostarcz", "nedoručiteln", "kunde inte levereras",
	} {
		if strings.Contains(s, said) {
			return true
		}
	}
	return false
}
