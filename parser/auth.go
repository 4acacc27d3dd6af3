package parser

import (
	"slices"
	"strings"

	"github.com/mailflume/mailflume/event"
)

// authentication reads the topmost Authentication-Results field (RFC 8601) that one of the trusted names wrote. Fields
// below it may have come with the message; nobody vouches for those.
func authentication(h header, trusted []string) *event.Auth {
	if len(trusted) == 0 {
		return nil
	}
	first := true
	for _, f := range h.fields {
		if !h.named(f, "Authentication-Results") {
			continue
		}
		id, results := authResults(validText(unfold(h.value(f))))
		if id == "" && !first {
			continue // who wrote it cannot be told, and the mailbox's server writes on top
		}
		first = false
		if slices.ContainsFunc(trusted, func(name string) bool { return strings.EqualFold(name, id) }) {
			return &event.Auth{AuthServID: id, SPF: results["spf"], DKIM: results["dkim"], DMARC: results["dmarc"]}
		}
	}
	return nil
}

// authResults splits "authserv-id 1; method=result (comment) ptype.property=value; ...". Of several results of one method
// pass wins: one signature that holds is enough.
func authResults(value string) (id string, results map[string]string) {
	results = make(map[string]string)
	for i, piece := range strings.Split(withoutComments(value), ";") {
		fields := strings.Fields(piece)
		if len(fields) == 0 {
			continue
		}
		if i == 0 && !strings.Contains(fields[0], "=") {
			id = strings.Trim(fields[0], `"`)
			continue
		}
		method, result, ok := strings.Cut(strings.Join(fields, " "), "=")
		if !ok {
			continue
		}
		method, _, _ = strings.Cut(lower(strings.TrimSpace(method)), "/") // a version may stand behind it
		result, _, _ = strings.Cut(strings.TrimSpace(result), " ")
		if result = lower(result); isToken8(result) && results[method] != "pass" {
			results[method] = result
		}
	}
	return id, results
}

// withoutComments takes comments, which nest, and quoted strings' special characters out of the way.
func withoutComments(s string) string {
	var out strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (quoted || depth > 0):
			i++
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted && (c == ';' || c == '='):
			c = ' '
		case c == '(' && !quoted:
			depth++
			continue
		case c == ')' && !quoted && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			out.WriteByte(c)
		}
	}
	return out.String()
}
