package fetcher

import (
	"slices"
	"strings"
)

// namespace is where folders of one kind begin (RFC 2342): a prefix, decoded as names are.
type namespace struct{ prefix, delimiter string }

// namespaces says which folders are the mailbox's own, which those of other users, and which are shared.
type namespaces struct{ personal, others, shared []namespace }

// parseNamespaces reads what follows "* NAMESPACE": three times NIL or a list of prefixes with delimiters, whose extensions
// are passed over. What it does not understand leaves the zero value, as if the server had not said anything.
func parseNamespaces(text string) namespaces {
	var groups [3][]namespace
	depth, group := 0, 0
	var words []string // of the list at depth 2
	for len(text) > 0 && group < len(groups) {
		switch c := text[0]; {
		case c == '(':
			if depth++; depth == 2 {
				words = nil
			}
			text = text[1:]
		case c == ')':
			if depth == 2 && len(words) >= 2 {
				groups[group] = append(groups[group], namespace{fromUTF7(words[0]), words[1]})
			}
			if depth--; depth == 0 {
				group++
			}
			text = text[1:]
		case c == '"':
			word, rest, ok := cutQuoted(text)
			if !ok {
				return namespaces{}
			}
			words, text = append(words, word), rest
		case depth == 0 && len(text) >= 3 && strings.EqualFold(text[:3], "NIL"):
			group, text = group+1, text[3:]
		case depth == 2 && len(text) >= 3 && strings.EqualFold(text[:3], "NIL"):
			words, text = append(words, ""), text[3:]
		case c == ' ' || depth > 2:
			text = text[1:]
		default:
			return namespaces{}
		}
		if depth < 0 {
			return namespaces{}
		}
	}
	return namespaces{groups[0], groups[1], groups[2]}
}

// cutQuoted splits a text that begins with a quoted string after it.
func cutQuoted(text string) (s, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// foreign returns the prefix of other users' or shared folders that a name begins with, "" if it is the mailbox's own.
func (n namespaces) foreign(name string) string {
	for _, ns := range slices.Concat(n.others, n.shared) {
		if ns.prefix != "" && strings.HasPrefix(name, ns.prefix) {
			return ns.prefix
		}
	}
	return ""
}

// forms returns the ways to write a folder's name in the configuration, with / between its parts whatever the server's
// delimiter is: as it is, and without the prefix of the mailbox's own folders.
func (n namespaces) forms(name, delimiter string) []string {
	plain := func(s string) string {
		if delimiter == "" || delimiter == "/" {
			return s
		}
		return strings.ReplaceAll(s, delimiter, "/")
	}
	all := []string{name, plain(name)}
	for _, ns := range n.personal {
		if rest, ok := strings.CutPrefix(name, ns.prefix); ok && ns.prefix != "" && rest != "" {
			all = append(all, plain(rest))
		}
	}
	return all
}
