package configs

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind is what a scalar may be: how its text is read, and what the schema says of it.
type kind struct {
	read   func(s string, at place) (any, error)
	schema map[string]any
	secret bool // errors must not repeat the value
}

type schemaOf = map[string]any

// plain makes a kind whose values remain texts.
func plain(check func(s string) error, schema schemaOf) *kind {
	if schema["type"] == nil && schema["enum"] == nil {
		schema["type"] = "string"
	}
	return &kind{schema: schema, read: func(s string, _ place) (any, error) { return s, check(s) }}
}

// oneOf makes a kind of a few words.
func oneOf(words ...string) *kind {
	return plain(func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		fix := "use " + orList(words)
		if near, ok := closest(s, words); ok {
			fix = "did you mean " + near + "? " + fix
		}
		return flawf(fix, "%s is not one of its values", quote(s))
	}, schemaOf{"enum": words})
}

// integers makes a kind of whole numbers in a range.
func integers(least, most int) *kind {
	fix := "write a whole number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)
	return &kind{
		schema: schemaOf{"type": "integer", "minimum": least, "maximum": most},
		read: func(s string, _ place) (any, error) {
			n, err := strconv.Atoi(s)
			if err != nil {
				return nil, flawf(fix, "%s is not a number", quote(s))
			}
			if n < least || n > most {
				return nil, flawf(fix, "%d is out of range", n)
			}
			return n, nil
		},
	}
}

// boolean is true or false.
var boolean = &kind{
	schema: schemaOf{"type": "boolean"},
	read: func(s string, _ place) (any, error) {
		if s != "true" && s != "false" {
			return nil, flawf("write true or false", "%s is neither true nor false", quote(s))
		}
		return s == "true", nil
	},
}

// keyword is a flag of one's own: an atom of IMAP, of the characters that no server stumbles over.
var keyword = plain(func(s string) error {
	if !keywordText.MatchString(s) {
		return flawf("write one word of letters, digits and $ _ . -", "%s cannot be a keyword", quote(s))
	}
	return nil
}, schemaOf{"pattern": keywordText.String()})

var keywordText = regexp.MustCompile(`^[A-Za-z0-9$_.-]{1,100}$`)

// labelKind is a label of Gmail, which takes up to 225 characters.
var labelKind = plain(func(s string) error {
	if n := utf8.RuneCountInString(s); n == 0 || n > 225 || !printable(s) || strings.HasPrefix(s, `\`) {
		return flawf("write its name as Gmail shows it, with / between a label and the one below it", "%s cannot be a label", quote(s))
	}
	return nil
}, schemaOf{"minLength": 1, "maxLength": 225})

// replicasKind is how many copies a cluster keeps.
var replicasKind = &kind{
	schema: schemaOf{"enum": []int{1, 3, 5}},
	read: func(s string, at place) (any, error) {
		switch n, err := integers(1, 5).read(s, at); {
		case err != nil:
			return nil, err
		case n == 2 || n == 4:
			return nil, flawf("write 1, 3 or 5", "an even number of copies tolerates no more failures than one less")
		default:
			return n, nil
		}
	},
}

// durations makes a kind of durations in a range.
func durations(least, most time.Duration) *kind {
	return &kind{
		schema: schemaOf{"type": "string", "pattern": `^(0|([0-9]+(ms|s|m|h|d|w))+)$`},
		read: func(s string, _ place) (any, error) {
			d, err := ParseDuration(s)
			if err != nil {
				return nil, err
			}
			if d < least || d > most {
				return nil, flawf("write a duration from "+formatDuration(least)+" to "+formatDuration(most),
					"%s is out of range", quote(s))
			}
			return d, nil
		},
	}
}

// natsNames makes a kind of names of things in NATS.
func natsNames(what string) *kind {
	const pattern = `^[A-Za-z0-9_-]{1,32}$`
	legal := regexp.MustCompile(pattern)
	return plain(func(s string) error {
		if legal.MatchString(s) {
			return nil
		}
		return flawf("use letters, digits, _ and -, at most 32", "%s cannot name %s", quote(s), what)
	}, schemaOf{"pattern": pattern})
}

var (
	text     = plain(checkText, schemaOf{"minLength": 1})
	name     = plain(checkName, schemaOf{"minLength": 1, "maxLength": 100})
	address  = plain(checkAddress, schemaOf{"pattern": `^[^@\s]+@[^@\s]+$`})
	host     = plain(checkHost, schemaOf{"minLength": 1})
	listen   = plain(checkListen, schemaOf{"pattern": `^none$|:[0-9]+$`})
	endpoint = plain(checkEndpoint, schemaOf{"pattern": `^https?://`})
	pageURL  = plain(checkPage, schemaOf{"pattern": `^https?://[^?#]+$`})
	natsURLs = plain(checkNATS, schemaOf{"pattern": `^(nats|tls|ws|wss)://`})
	monitors = plain(checkMonitors, schemaOf{"pattern": `^https?://`})
	folder   = plain(checkFolder, schemaOf{"minLength": 1})
	tenant   = plain(checkTenant, schemaOf{"pattern": `^[A-Za-z0-9.-]+$`})

	size = &kind{
		schema: schemaOf{"type": []string{"string", "integer"}, "pattern": `^[0-9]+ ?([KkMmGgTt][Ii]?)?[Bb]?$`, "minimum": 0},
		read:   func(s string, _ place) (any, error) { return ParseSize(s) },
	}
	ref = &kind{
		schema: schemaOf{"type": "string", "pattern": `^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$`},
		read:   func(s string, at place) (any, error) { return parseRef(s, at) },
		secret: true,
	}
	fileRef = &kind{ // of what NATS reads itself
		schema: schemaOf{"type": "string", "pattern": `^file:.+$`},
		read: func(s string, at place) (any, error) {
			r, err := parseRef(s, at)
			if err == nil && r.file == "" {
				err = flawf("write file:PATH", "must be a file")
			}
			return r, err
		},
		secret: true,
	}
	path = &kind{
		schema: schemaOf{"type": "string", "minLength": 1},
		read:   func(s string, at place) (any, error) { return at.resolve(s), checkText(s) },
	}
	date = &kind{
		schema: schemaOf{"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`},
		read:   func(s string, _ place) (any, error) { return ParseDate(s) },
	}
	start = &kind{
		schema: schemaOf{"type": "string", "pattern": `^(now|all|[0-9]{4}-[0-9]{2}-[0-9]{2})$`},
		read:   func(s string, _ place) (any, error) { return ParseStart(s) },
	}
)

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func checkText(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return flawf("give it a value or remove the line", "is empty")
	case !printable(s):
		return flawf("remove them", "has control characters or is not UTF-8")
	}
	return nil
}

func checkName(s string) error {
	switch {
	case checkText(s) != nil:
		return checkText(s)
	case len(s) > 100:
		return flawf("choose a shorter one", "is longer than 100 bytes")
	case strings.TrimSpace(s) != s:
		return flawf("remove them", "begins or ends with spaces")
	}
	return nil
}

func checkAddress(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") || !printable(s) ||
		strings.ContainsAny(s, " \t<>,;") || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") {
		return flawf("write the bare address, such as sales@example.com", "%s is not a mail address", quote(s))
	}
	return nil
}

func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if len(s) <= 253 && isHostName(s) {
		return nil
	}
	return flawf("write a host name or IP address without scheme and port, such as imap.example.com", "%s is not a host", quote(s))
}

// isHostName reports whether s is made of labels: letters and digits of any script, _, and within them -.
func isHostName(s string) bool {
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(r rune) bool {
	return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
}

func checkListen(s string) error {
	if s == "none" {
		return nil
	}
	h, p, err := net.SplitHostPort(s)
	if err != nil || h != "" && checkHost(h) != nil {
		return flawf("write host:port, such as 127.0.0.1:8080, or none", "%s is not an address to listen on", quote(s))
	}
	if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 65535 {
		return flawf("write a port from 0 (any free one) to 65535", "%s has no valid port", quote(s))
	}
	return nil
}

// checkEndpoint accepts https, and http on this machine.
func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return flawf("write it in full, such as https://oauth.example.com/token", "is not an https URL")
	case u.User != nil:
		return flawf("remove them", "has a user or password in the URL")
	case checkHost(u.Hostname()) != nil || !portOK(u.Port()):
		return flawf("correct it", "has a host or port that cannot be")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return flawf("use https; http is for this machine only", "would send secrets in clear text to %s", u.Hostname())
	}
	return nil
}

// checkPage accepts an endpoint to which paths can be added.
func checkPage(s string) error {
	if err := checkEndpoint(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, "?#") {
		return flawf("remove it and what follows: paths are added to the URL", "has a ? or #")
	}
	return nil
}

func checkNATS(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return flawf("write nats://host:4222 (or tls://, ws://, wss://), several with commas between them", "is not the URL of a NATS server")
		case u.User != nil:
			return flawf("set nats.user and nats.password: file:PATH or env:NAME instead", "has a user or password in the URL")
		case checkHost(u.Hostname()) != nil || !portOK(u.Port()):
			return flawf("correct it", "has a host or port that cannot be")
		}
	}
	return nil
}

func checkMonitors(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || checkHost(u.Hostname()) != nil || !portOK(u.Port()) || u.User != nil {
			return flawf("write http://host:8222, several with commas between them", "is not the address of a monitoring port")
		}
	}
	return nil
}

func portOK(p string) bool {
	n, err := strconv.Atoi(p)
	return p == "" || err == nil && n >= 1 && n <= 65535
}

// specialUses are the special uses of folders (RFC 6154, RFC 8457).
var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}

func checkFolder(s string) error {
	if err := checkText(s); err != nil {
		return err
	}
	if s = strings.TrimPrefix(s, "!"); s == "" {
		return flawf("write what is not to be read after it: '!Projects/Old'", "an exclamation mark alone means nothing")
	}
	if !strings.HasPrefix(s, `\`) || slices.Contains(specialUses, s) {
		return nil
	}
	fix := "use " + orList(specialUses) + ", or the folder's name"
	if strings.EqualFold(s, `\Inbox`) {
		fix = "write INBOX"
	} else if near, ok := closest(s[1:], specialUses); ok {
		fix = "did you mean " + near + "? " + fix
	}
	return flawf(fix, "%s is not a special use", s)
}

var tenantText = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func checkTenant(s string) error {
	if tenantText.MatchString(s) {
		return nil
	}
	return flawf("write the tenant's id or domain, or common, organizations or consumers", "%s is not a tenant", quote(s))
}

// loopback reports whether a host is this machine.
func loopback(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.IsLoopback()
	}
	h = strings.TrimSuffix(strings.ToLower(h), ".")
	return h == "localhost" || strings.HasSuffix(h, ".localhost")
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// asFlaw turns any error of a kind into a flaw.
func asFlaw(err error) *flaw {
	var f *flaw
	if errors.As(err, &f) {
		return f
	}
	return &flaw{what: err.Error()}
}
