package publish

import (
	"fmt"
	"strings"
)

// The roots of our subjects.
const (
	mailRoot    = "mail"
	mailboxRoot = "mailbox"
)

// chainFilter is the only place where the filter of a mailbox's chain is written. The server compares filters as text:
// two spellings of one filter would let two writers win.
func chainFilter(mailbox string) string { return mailRoot + "." + mailbox + ".>" }

// folderFilter covers the messages of one folder.
func folderFilter(mailbox, folder string) string {
	return mailRoot + "." + mailbox + "." + folder + ".>"
}

// mailSubject is where a message goes.
func mailSubject(mailbox, folder, route string) string {
	return mailRoot + "." + mailbox + "." + folder + "." + route
}

// folderOf returns folder and route of a mail subject.
func folderOf(subject string) (folder, route string) {
	parts := strings.SplitN(subject, ".", 4)
	if len(parts) != 4 {
		return "", ""
	}
	return parts[2], parts[3]
}

// checkTokens refuses anything that is not one subject token of [A-Za-z0-9_-]; args are pairs of a name and a token.
func checkTokens(args ...string) error {
	for i := 0; i+1 < len(args); i += 2 {
		if !isToken(args[i+1]) {
			return fmt.Errorf("%w: %s %q is not a token: use event.Token", ErrInvalid, args[i], args[i+1])
		}
	}
	return nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}
