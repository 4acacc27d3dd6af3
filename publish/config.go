package publish

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config says where the stream is and what it is to look like. The zero value runs the server built in, in the
// directory "data".
type Config struct {
	URL      string   // nats.url: one or several, comma separated; empty runs the server built in
	Auth     Auth     // who we are to an external server
	TLS      TLS      // nats.tls
	Embedded Embedded // nats.embedded: used if URL is empty
	Stream   Stream   // nats.stream
	Beside   bool     // URL leads to the built-in server of another process
	Monitor  string   // nats.monitor: the monitoring ports of an external server's machines, comma separated; empty: not known
	Bucket   string   // nats.bucket: the object store beside the stream; "mail" if empty
}

// Auth is at most one way to log in to NATS.
type Auth struct {
	CredsFile string // a .creds file: JWT and seed in one
	NKeyFile  string // a file with an nkey seed
	User      string
	Password  Secret
	Token     Secret
	JWT       Secret // with Seed: what a .creds file holds, as two values
	Seed      Secret
}

// TLS adds to what the URL scheme tls:// asks for.
type TLS struct {
	CAFile   string // instead of the system's authorities
	CertFile string // with KeyFile: our client certificate
	KeyFile  string
}

// Embedded configures the server built in.
type Embedded struct {
	Dir    string // where it keeps its files; "data" if empty
	Listen string // host:port for other programs; "127.0.0.1:4222" if empty, "none" for no listener
	Key    Secret // encrypts the files; once used it cannot be changed or left out
}

// Stream describes the stream. A zero limit means: the default when we create the stream, and whatever is there when
// we find it.
type Stream struct {
	Name     string        // "MAIL" if empty
	MaxAge   time.Duration // 30 days when created
	MaxBytes int64         // of all it holds; no limit when created
	Replicas int           // 0: 3 in a cluster, else 1
}

// The defaults.
const (
	defaultDir    = "data"
	defaultListen = "127.0.0.1:4222"
	defaultStream = "MAIL"
	defaultBucket = "mail"
	defaultMaxAge = 30 * 24 * time.Hour
	noListener    = "none"
)

func (c Config) withDefaults() Config {
	c.Embedded.Dir = cmp.Or(c.Embedded.Dir, defaultDir)
	c.Embedded.Listen = cmp.Or(c.Embedded.Listen, defaultListen)
	c.Stream.Name = cmp.Or(c.Stream.Name, defaultStream)
	c.Bucket = cmp.Or(c.Bucket, defaultBucket)
	return c
}

// nameRE is what names of streams and buckets may look like; both stand in subjects.
var nameRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Validate reports every mistake in c, or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !nameRE.MatchString(c.Stream.Name) {
		bad("nats.stream.name is %q: use 1 to 32 letters, digits, - and _", c.Stream.Name)
	}
	if !nameRE.MatchString(c.Bucket) {
		bad("nats.bucket is %q: use 1 to 32 letters, digits, - and _", c.Bucket)
	}
	if c.Stream.MaxAge < 0 || c.Stream.MaxBytes < 0 {
		bad("nats.stream.max_age and nats.stream.max_bytes cannot be negative: leave them out for no limit of your own")
	}
	if r := c.Stream.Replicas; r < 0 || r > 5 {
		bad("nats.stream.replicas is %d: use 1 to 5", r)
	}
	if c.URL == "" && c.Stream.Replicas > 1 {
		bad("nats.stream.replicas is %d, and the built-in server is one server: set nats.url to a cluster", c.Stream.Replicas)
	}
	for _, u := range c.servers() {
		if parsed, err := url.Parse(u); err != nil || (strings.Contains(u, "://") && parsed.Host == "") {
			bad("nats.url has %q, which is not a NATS URL: write nats://host:4222", withoutUser(u))
		}
	}
	return errors.Join(append(errs, c.Auth.validate(), c.TLS.validate())...)
}

func (a Auth) validate() error {
	var ways []string
	for _, w := range []struct {
		name string
		set  bool
	}{
		{"nats.creds", a.CredsFile != ""},
		{"nats.nkey", a.NKeyFile != ""},
		{"nats.user", a.User != "" || !a.Password.isZero()},
		{"nats.token", !a.Token.isZero()},
		{"nats.jwt", !a.JWT.isZero() || !a.Seed.isZero()},
	} {
		if w.set {
			ways = append(ways, w.name)
		}
	}
	switch {
	case len(ways) > 1:
		return fmt.Errorf("more than one way to log in to NATS is set, %s: keep one of them", strings.Join(ways, " and "))
	case a.JWT.isZero() != a.Seed.isZero():
		return errors.New("nats.jwt and nats.seed belong together: set both")
	}
	return nil
}

func (t TLS) validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("nats.tls.cert and nats.tls.key belong together: set both")
	}
	return nil
}

// servers lists the URLs to connect to.
func (c Config) servers() []string {
	var out []string
	for u := range strings.SplitSeq(c.URL, ",") {
		if u = strings.TrimSpace(u); u != "" {
			out = append(out, u)
		}
	}
	return out
}

// where is the server's address for people: no credentials.
func (c Config) where() string {
	if c.URL == "" {
		return "the built-in server in " + c.Embedded.Dir
	}
	var out []string
	for _, u := range c.servers() {
		out = append(out, withoutUser(u))
	}
	return strings.Join(out, ", ")
}

// withoutUser drops what stands before the @ of a URL: a password, or a token.
func withoutUser(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		scheme, rest = "", u
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	if scheme == "" {
		return rest
	}
	return scheme + "://" + rest
}

// Secret is a text that never shows itself in logs, errors or JSON. The text is behind a pointer because fmt cannot call the
// methods of a value in an unexported field: of a string it would print the text.
type Secret struct{ text *string }

// NewSecret returns a Secret that holds text; of an empty text the zero one.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

func (s Secret) isZero() bool { return s.text == nil }

func (s Secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

const redacted = "[redacted]"

// String hides the secret.
func (s Secret) String() string {
	if s.isZero() {
		return ""
	}
	return redacted
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Format hides the secret whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
