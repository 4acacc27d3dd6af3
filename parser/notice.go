package parser

import (
	"slices"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// splitNotice splits the text of a bounce into what the server says and the header of the message it returns, which is the
// first header block in the text.
func splitNotice(lines textLines) (notice textLines, original string) {
	const window, enough = 8, 3
	for i := range lines.count() {
		if !startsMessage(lines.trimmed(i)) {
			continue
		}
		found := 0
		for next := i; next < min(lines.count(), i+window); next++ {
			if name, ok := strictName(lines.trimmed(next)); ok && isMailField(name) {
				found++
			}
		}
		if found >= enough {
			block, _, _ := strings.Cut(lines.text[lines.spans[i].start:], "\n\n")
			return lines.slice(0, i), unindent(block)
		}
	}
	return lines, ""
}

// returnedFields are the fields that a returned message can start with.
var returnedFields = [...]string{
	"Received", "Return-Path", "Message-ID", "From", "Date", "Subject", "X-Apparently-To", "Delivered-To", "DKIM-Signature", "To", "MIME-Version",
}

// startsMessage says whether a line is one of returnedFields.
func startsMessage(line string) bool {
	name, ok := strictName(line)
	return ok && slices.ContainsFunc(returnedFields[:], func(known string) bool { return is(name, known) })
}

// unindent takes off the indent that the first line has.
func unindent(s string) string {
	indent := s[:len(s)-len(strings.TrimLeft(s, " \t"))]
	if indent == "" {
		return s
	}
	return strings.ReplaceAll(s[len(indent):], "\n"+indent, "\n")
}

// readNotice looks for recipient, status and reason in what a server writes for people.
func readNotice(lines textLines, h header) event.BouncedRecipient {
	var r event.BouncedRecipient
	if value, ok := h.last("X-Failed-Recipients"); ok {
		first, _, _ := strings.Cut(validText(value), ",")
		r.Recipient = reportedAddress(first)
	}
	alone, anywhere := "", ""
	for i := range lines.count() {
		line := lines.trimmed(i)
		if status := findStatus(line); status != "" && (r.Status == "" || preciseStatus(r.Status, status) != r.Status) {
			r.Status = status
			r.Reason = paragraph(lines, i)
		}
		address, whole := addressIn(line)
		if address == "" || isDaemon(address) {
			continue
		}
		if whole && alone == "" {
			alone = address
		}
		anywhere = cmpOr(anywhere, address)
	}
	r.Recipient = cmpOr(r.Recipient, cmpOr(alone, anywhere))
	for i := 0; r.Reason == "" && i < lines.count(); i++ {
		if hasReplyCode(lines.trimmed(i)) {
			r.Reason = paragraph(lines, i)
		}
	}
	return r
}

// startsRecipient says whether a line starts what a notice says of one recipient: the address alone, the address in angle
// brackets, or "ann@example.org: 550 no such user".
func startsRecipient(line string) (address string, ok bool) {
	address, whole := addressIn(line)
	return address, whole || address != "" && strings.HasPrefix(line, address+":") && (hasReplyCode(line) || findStatus(line) != "")
}

// noticeRecipients reads a notice that names several recipients, each at the start of a line with the reason behind it. It
// returns those for which there is one.
func noticeRecipients(lines textLines) []event.BouncedRecipient {
	var out []event.BouncedRecipient
	seen := make(map[string]bool)
	for i := 0; i < lines.count() && len(out) < maxBounced; {
		address, starts := startsRecipient(lines.trimmed(i))
		i++
		if !starts || isDaemon(address) {
			continue
		}
		start := i - 1
		for ; i < lines.count(); i++ {
			if _, next := startsRecipient(lines.trimmed(i)); next {
				break
			}
		}
		r := readNotice(lines.slice(start, i), header{})
		if r.Recipient = address; r.Reason != "" && !seen[address] {
			seen[address] = true
			out = append(out, r)
		}
	}
	return out
}

// paragraph returns the lines from i to the next empty one as one line.
func paragraph(lines textLines, i int) string {
	var out strings.Builder
	for ; i < lines.count() && lines.trimmed(i) != "" && out.Len() < maxReason; i++ {
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(strings.TrimSpace(cutText(lines.trimmed(i), maxReason)))
	}
	return cutText(printable(out.String()), maxReason)
}

// findStatus returns the first enhanced status code (RFC 3463) of class 2, 4 or 5 in a line; the address of a machine or
// the version of a program is none.
func findStatus(s string) string {
	for dot := 0; ; dot++ {
		next := strings.IndexByte(s[dot:], '.')
		if next < 0 {
			return ""
		}
		dot += next
		i := dot - 1
		if i < 0 || s[i] != '2' && s[i] != '4' && s[i] != '5' {
			continue
		}
		if i > 0 && (isDigit(s[i-1]) || s[i-1] == '.' || isLetter(s[i-1])) {
			continue
		}
		second := digits(s[i+2:])
		rest := s[i+2+second:]
		if second == 0 || second > 2 || rest == "" || rest[0] != '.' {
			continue
		}
		third := digits(rest[1:])
		end := i + 2 + second + 1 + third
		if third == 0 || third > 3 || end+1 < len(s) && s[end] == '.' && isDigit(s[end+1]) || end < len(s) && isLetter(s[end]) {
			continue
		}
		return s[i:end]
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digits returns how many digits stand at the start of s.
func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// repliedStatus returns the code behind the first reply code in a reason, "550 5.7.1 blocked": the answer of the server
// that refused, where a Status can be what the one before it made of the 550.
func repliedStatus(reason string) string {
	for i := range len(reason) {
		if c := reason[i]; c != '4' && c != '5' || !startsReply(reason, i) {
			continue
		}
		const most = len(" (#5.123.123)")
		rest := strings.TrimLeft(reason[i+3:min(len(reason), i+3+most)], " -#'\"(")
		if len(rest) == 0 || rest[0] != reason[i] {
			continue
		}
		if status := findStatus(rest); status != "" && strings.HasPrefix(rest, status) {
			return status
		}
	}
	return ""
}

// preciseStatus returns the one of two codes that says more: 5.1.1 says more than 5.0.0. Of equals the first wins.
func preciseStatus(a, b string) string {
	if a == "" || b != "" && vague(a) > vague(b) {
		return b
	}
	return a
}

// vague counts how much a code leaves open.
func vague(status string) int {
	switch {
	case status == "" || status[0] == '2':
		return 3
	case strings.HasSuffix(status, ".0.0"):
		return 2
	case strings.HasSuffix(status, ".0") || strings.Contains(status, ".0."):
		return 1
	}
	return 0
}

// hasReplyCode says whether a line holds an SMTP reply that refuses something: "550 no such user".
func hasReplyCode(line string) bool {
	for _, class := range []byte("45") {
		for i := 0; ; i++ {
			next := strings.IndexByte(line[i:], class)
			if next < 0 {
				break
			}
			if i += next; startsReply(line, i) {
				return true
			}
		}
	}
	return false
}

// startsReply says whether the "4" or "5" at a place starts a reply, as in "550 " or "550-".
func startsReply(line string, i int) bool {
	return i+3 < len(line) && (i == 0 || !isDigit(line[i-1]) && line[i-1] != '.') &&
		digits(line[i:]) == 3 && line[i+1] <= '5' && (line[i+3] == ' ' || line[i+3] == '-')
}

// addressIn returns the first address in a line; whole says that it stands alone in it or starts it in angle brackets.
func addressIn(line string) (address string, whole bool) {
	at := strings.IndexByte(line, '@')
	if at <= 0 || len(line) > maxReason {
		return "", false
	}
	start, end := at, at
	for start > 0 && !aroundAddress[line[start-1]] {
		start--
	}
	for end < len(line) && !aroundAddress[line[end]] {
		end++
	}
	address = strings.TrimRight(line[start:end], ".")
	local, domain, _ := strings.Cut(address, "@")
	if local == "" || !strings.Contains(domain, ".") {
		return "", false
	}
	alone := trimSet(line[:start], &aroundAddress) == "" && trimSet(line[end:], &aroundAddress) == ""
	return address, alone || line[0] == '<' && start == 1
}

// aroundAddress are the bytes that end an address.
var aroundAddress = bytesOf(" \t<>()[]{}\"',;:|=*")

func isDaemon(address string) bool {
	local, _, _ := strings.Cut(lower(address), "@")
	return local == "mailer-daemon" || local == "postmaster"
}
