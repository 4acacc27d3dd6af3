package token

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// read takes from an error's body what x/oauth2 does not: Microsoft's numbers and trace ids, Google's subtype.
func (f *failure) read(body []byte) {
	var b struct {
		Code       any    `json:"error"`
		Text       string `json:"error_description"`
		Codes      []int  `json:"error_codes"`
		SubError   string `json:"suberror"`
		SubType    string `json:"error_subtype"`
		TraceID    string `json:"trace_id"`
		Correlated string `json:"correlation_id"`
	}
	if json.Unmarshal(body, &b) != nil {
		return
	}
	f.code, _ = b.Code.(string)
	f.text = b.Text
	f.subtype = or(b.SubType, b.SubError)
	if len(b.Codes) > 0 {
		f.aadsts = b.Codes[0]
	} else if m := aadstsPattern.FindStringSubmatch(b.Text); m != nil {
		f.aadsts = number(m[1])
	}
	if b.TraceID != "" {
		f.traceID = b.TraceID + " / " + b.Correlated
	}
}

var (
	aadstsPattern = regexp.MustCompile(`AADSTS(\d{4,9})`)
	tokenPattern  = regexp.MustCompile(`[A-Za-z0-9._~+/=-]{60,}`) // no word of a sentence
	tracePattern  = regexp.MustCompile(`(?s)\s*Trace ID:.*$`)
)

// clean makes what an endpoint says in its own words fit to be shown: as plain does, and without anything that may be a
// token or is a trace id (they are kept beside it), and short.
func clean(text string, hide []Secret) string {
	text = tokenPattern.ReplaceAllString(plain(text, hide), redacted)
	text = tracePattern.ReplaceAllString(text, "")
	const limit = 300
	if len(text) <= limit {
		return text
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// plain makes a value of an endpoint fit to be shown, such as an address or a client's id, which may be as long as a token:
// no secrets of ours, and one line without control characters.
func plain(text string, hide []Secret) string {
	for _, h := range hide {
		if h.IsZero() {
			continue
		}
		for _, form := range []string{h.Reveal(), url.QueryEscape(h.Reveal())} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}), " ")
}

const day = 24 * time.Hour

// verdict is what a failure means.
type verdict struct {
	who     who
	retry   time.Duration // see fact
	problem Problem
	err     error
	lost    bool // the endpoint may have granted something that we did not get
	refused bool // invalid_grant: the refresh token itself
	alone   bool // it is no reason to hold back the client's other mailboxes

	away     bool // the endpoint is not there, or not itself
	noAnswer bool // and nothing came from it at all
}

// classify says who must act on a failure. Throttling and failures of the endpoint itself come first, whatever their body
// says: they are never taken for bad credentials.
func classify(a Account, g *grant, f *failure, now time.Time) verdict {
	v := verdict{err: f.err, refused: f.code == "invalid_grant", problem: Problem{Code: f.name(), Detail: f.text, TraceID: f.traceID, At: now}}
	known, ok := lookUp(f)
	switch {
	case f.status == 429 || f.status >= 500:
		if !ok || known.who != nobody {
			known = fact{who: nobody, problem: "The token endpoint {host} is unavailable.", hint: "Nothing to do; it is tried again."}
		}
		v.problem.Code = or(v.problem.Code, "http_"+strconv.Itoa(f.status))
		v.lost = f.status >= 500
	case ok:
	case f.code != "":
		known = fact{who: operator, reach: ofMailbox, problem: "The token endpoint {host} refuses the request.", hint: "Check the endpoint, the scopes and the registration of client {client}."}
	default:
		known, v.problem.Code, v.lost = noAnswer(f)
	}
	v.who, v.retry = known.who, max(known.retry, 0)
	v.alone = known.reach == ofMailbox || known.reach == ofTenant && a.Client.manyTenants()
	v.noAnswer = f.status == 0
	v.away = v.who == nobody && (v.noAnswer || f.status >= 500) && f.retryAfter == 0
	if f.retryAfter > 0 && v.who == nobody {
		v.retry = f.retryAfter
	}
	if age := now.Sub(g.ImportedAt); known.says == "expired or revoked" && !g.ImportedAt.IsZero() && age > 6*day && age < 8*day {
		known.problem = "The refresh token of {mailbox} died after 7 days: the app's publishing status is Testing."
		known.hint = "Set the OAuth consent screen of client {client} to In production (or Internal). " + signInAgain
	}
	fill := filler(a, g, f)
	v.problem.Sentence, v.problem.Hint = fill(known.problem), fill(known.hint)
	return v
}

// noAnswer is for what is not an answer of a token endpoint at all: it came from the network, a proxy or a captive portal.
func noAnswer(f *failure) (known fact, code string, lost bool) {
	const reach = "Allow {address} in the egress proxy, or set HTTPS_PROXY or the CA bundle. This is not a credential problem."
	switch {
	case f.status == 0 && f.unsent:
		return fact{who: nobody, problem: "Cannot reach the token endpoint {host}.", hint: reach}, "unreachable", false
	case f.status == 0:
		return fact{who: nobody, problem: "The token endpoint {host} did not answer.", hint: reach}, "no_answer", true
	case f.html:
		return fact{who: nobody, problem: "A web page came where the token endpoint {host} should answer.", hint: "Check the token endpoint of client {client}, and whether a proxy answers in its place."}, "not_json", f.status < 300
	default:
		return fact{who: nobody, problem: "The token endpoint {host} gave an answer that makes no sense.", hint: "Check the token endpoint of client {client}, and whether a proxy answers in its place."}, "garbage", f.status < 300
	}
}

func lookUp(f *failure) (fact, bool) {
	said := strings.ToLower(f.text + "\n" + f.subtype)
	for _, table := range [][]fact{microsoftFacts, googleFacts, standardFacts} {
		for _, k := range table {
			if (k.aadsts != 0 || k.code != "") &&
				(k.aadsts == 0 || k.aadsts == f.aadsts) &&
				(k.code == "" || k.code == f.code) &&
				strings.Contains(said, strings.ToLower(k.says)) {
				return k, true
			}
		}
	}
	return fact{}, false
}

// filler returns a function that fills in the placeholders of a fact's texts.
func filler(a Account, g *grant, f *failure) func(string) string {
	host, tenant := a.Client.TokenURL, a.Client.tenant()
	address := host
	if u, err := url.Parse(a.Client.TokenURL); err == nil && u.Host != "" {
		host, address = u.Host, u.Host
		switch {
		case u.Port() != "":
		case u.Scheme == "http":
			address += ":80"
		default:
			address += ":443"
		}
	}
	skew := ""
	if f != nil && f.skew.Abs() > time.Minute {
		direction := "ahead"
		if f.skew < 0 {
			direction = "behind"
		}
		skew = fmt.Sprintf(" (%v %s of the endpoint's)", f.skew.Abs().Round(time.Second), direction)
	}
	issued := "an unknown date"
	if g != nil && !g.RefreshAt.IsZero() {
		issued = g.RefreshAt.Format(time.DateOnly)
	}
	return strings.NewReplacer("{mailbox}", a.Mailbox, "{client}", a.Client.Name,
		"{client_id}", a.Client.ID, "{host}", host, "{address}", address, "{tenant}", tenant, "{skew}", skew, "{issued}", issued).Replace
}

// lacksScope tells what is missing if the provider granted none of the scopes that the client asks for. Users can untick
// a scope (Google), and a scope of another service pushes ours out (Microsoft).
func lacksScope(c Client, granted string) bool {
	if granted == "" {
		return false // RFC 6749, section 5.1: as asked
	}
	have := map[string]bool{}
	for _, s := range strings.Fields(strings.ReplaceAll(granted, ",", " ")) {
		have[scopeName(s)] = true
	}
	asked := 0
	for _, s := range c.Scopes {
		switch s {
		case "offline_access", "openid", "email", "profile":
			continue
		}
		if strings.HasSuffix(s, "/.default") || have[scopeName(s)] {
			return false
		}
		asked++
	}
	return asked > 0
}

// scopeName drops the host of a scope of Microsoft's, which answers with another spelling of it than it was asked with.
func scopeName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "/"))
	if i := strings.LastIndex(s, "/imap."); i >= 0 {
		return s[i+1:]
	}
	return s
}
