package web

import (
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// Desk lets the owners of mailboxes sign in. Its errors say themselves what to do about them (see mailbox.Classify).
type Desk interface {
	// Login says how a mailbox logs in, and how its grant stands; ok is false if there is no mailbox of that id.
	Login(ctx context.Context, id string) (l Login, ok bool)

	// Begin begins a sign-in whose answer is to come to redirect: where the browser goes, and the state that comes back. With
	// a link the mailbox is the link's.
	Begin(ctx context.Context, id, redirect, link string) (target string, state token.Secret, err error)

	// Finish exchanges the answer that came to redirect, checks it and keeps the grant. An answer that does not come from
	// here, this machine, must be to a sign-in that was begun with a link.
	Finish(ctx context.Context, redirect string, answer url.Values, here bool) (End, error)
}

// Doctor goes the way to a mailbox step by step.
type Doctor interface {
	Examine(ctx context.Context, id string) Examination
}

// Connect is what connecting mailboxes from the page takes.
type Connect struct {
	Desk   Desk
	Doctor Doctor
	Door   Door                  // may be nil: then there are no links
	Keys   func() *token.Keyring // seal what a browser keeps for us

	// Public is the URL under which browsers reach the page. The provider sends them back there, so it never comes from
	// what a request says. Empty: Listen makes it http://localhost and the port, and nobody comes through a proxy.
	Public string
	direct bool
}

// Login is how a mailbox logs in.
type Login struct {
	Name     string
	Provider string // of the mailbox: gmail, outlook or imap
	Client   string // the OAuth client; empty if there is none of ours
	Callback string // the path that the provider sends browsers back to: one for each provider
	Why      string // nobody can sign in for this mailbox here, and why; empty if somebody can
	Grant    token.Status
	Problem  string // why nobody knows how the grant stands
}

// Examination is what a Doctor found.
type Examination struct {
	OK             bool
	Sentence, Hint string // what is wrong and what to do
	Steps          []Step
}

// Step is one step of the way to a mailbox.
type Step struct {
	Name, Detail string
	OK           bool
}

// connecting serves the pages of single mailboxes.
type connecting struct {
	Connect
	sources Sources
	public  *url.URL
	tests   chan struct{} // slots
	guesses guesses
}

const (
	testsAtOnce = 4
	testWithin  = 100 * time.Second // of the request; the way to a mailbox has its own limit below that
	flashLife   = time.Minute
	signInLife  = 10 * time.Minute
)

// routes adds the pages of single mailboxes.
func (s Sources) routes(mux *http.ServeMux) {
	if s.Connect.Desk == nil {
		return
	}
	c := &connecting{Connect: s.Connect, sources: s, tests: make(chan struct{}, testsAtOnce)}
	c.Public = strings.TrimSuffix(c.Public, "/")
	var err error
	if c.public, err = url.Parse(c.Public); err != nil {
		return // the configuration was checked for it
	}
	c.public.Host = withoutDefaultPort(c.public.Scheme, c.public.Host)
	mux.HandleFunc("GET /mailboxes/{id}", c.mailbox)
	mux.Handle("GET /oauth/{provider}/callback", c.named(c.patient(c.callback)))
	mux.Handle("GET /oauth/other/{client}/callback", c.named(c.patient(c.callback)))
	mux.HandleFunc("GET /oauth/answer", c.answer)
	own := http.NewCrossOriginProtection() // nobody else's page may act here in the name of its reader
	if c.Door != nil {
		mux.Handle("GET /link/{link}", c.named(c.patient(c.invited)))
		mux.Handle("POST /link/{link}", own.Handler(c.named(c.patient(c.accept))))
	}
	mux.Handle("POST /mailboxes/{id}/connect", own.Handler(c.ours(c.begin)))
	mux.Handle("POST /mailboxes/{id}/test", own.Handler(c.ours(c.test)))
}

// local reports whether a request comes from this machine. The page has no login: whoever can open a connection from here
// is taken for the operator.
func local(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// here reports whether the reader may act: whoever sits at this machine, or comes through the proxy on it that the
// configuration knows of.
func (c *connecting) here(r *http.Request) bool { return local(r) && !(c.direct && proxied(r)) }

// proxied reports whether a request says that it came through a proxy.
func proxied(r *http.Request) bool {
	return slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}, func(name string) bool {
		return r.Header.Get(name) != ""
	})
}

// ours refuses requests from elsewhere, and those that named refuses.
func (c *connecting) ours(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !local(r):
			c.refuse(w, http.StatusForbidden, "Mailboxes are connected and tested from the machine that mailflume runs on only, since the page has no login.",
				"Open the page there, or use mailflume connect (its --link lets a mailbox's owner sign in from anywhere) and mailflume check.")
		case !c.here(r):
			c.refuse(w, http.StatusForbidden, "This came through a proxy that the configuration does not know, so anybody could have sent it.",
				"Set http.public_url to the address that browsers use, and have the proxy ask for a login.")
		default:
			c.named(next).ServeHTTP(w, r)
		}
	})
}

// named refuses requests under another name than the page's own: a name that somebody had resolve to us is no proof of who
// asks.
func (c *connecting) named(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.isNamed(r) {
			next(w, r)
			return
		}
		hint := "Open " + c.Public + "/ instead. If a proxy leads here, it must pass on the name that it was asked for (the header Host)."
		if c.direct {
			hint = "Open " + c.Public + "/ instead. If the page is reached under another address, set http.public_url to it."
		}
		c.refuse(w, http.StatusMisdirectedRequest, "This page was asked for under another name than its own.", hint)
	})
}

// isNamed reports whether the page was asked for under its own name.
func (c *connecting) isNamed(r *http.Request) bool {
	return strings.EqualFold(withoutDefaultPort(c.public.Scheme, r.Host), c.public.Host)
}

// withoutDefaultPort drops the port that browsers leave out, and some proxies add.
func withoutDefaultPort(scheme, host string) string {
	return strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
}

// refuse answers with a page that belongs to no mailbox.
func (c *connecting) refuse(w http.ResponseWriter, status int, sentence, hint string) {
	c.show(w, status, view{Home: c.Public + "/", Flash: &flash{Sentence: sentence, Hint: hint}})
}

// sentOn marks the address of a reader who was sent on to the page's own name.
const sentOn = "sent-on"

func (c *connecting) mailbox(w http.ResponseWriter, r *http.Request) {
	if local(r) && !c.isNamed(r) {
		if r.URL.Query().Has(sentOn) { // and it came back under that name: a proxy gives it another
			c.named(nil).ServeHTTP(w, r)
			return
		}
		// The same machine under another name: cookies would not come back.
		http.Redirect(w, r, c.Public+"/mailboxes/"+url.PathEscape(r.PathValue("id"))+"?"+sentOn, http.StatusSeeOther)
		return
	}
	l, ok := c.Desk.Login(r.Context(), r.PathValue("id"))
	if !ok {
		c.show(w, http.StatusNotFound, view{Home: "../", Flash: noSuchMailbox("See the list.")})
		return
	}
	v := c.about(r.PathValue("id"), l)
	v.Home, v.At, v.Here, v.Flash = "../", "./"+v.At, c.here(r), c.flash(w, r)
	c.show(w, http.StatusOK, v)
}

// about is what the page of a mailbox says of it.
func (c *connecting) about(id string, l Login) view {
	v := view{At: url.PathEscape(id), Login: &l, Now: time.Now()}
	for _, s := range c.sources.Mailboxes() {
		if s.Mailbox.ID == id {
			v.State, v.Where = &s, c.sources.where(s)
		}
	}
	return v
}

// below is about for an address below that of the mailbox's page.
func (c *connecting) below(id string, l Login) view {
	v := c.about(id, l)
	v.Home, v.At, v.Here = "../../", "../"+v.At, true
	return v
}

// begin sends the browser to the provider. It does so by a page, not by a redirect: a policy for forms covers every
// redirect that follows one, and the provider's own are not ours to know.
func (c *connecting) begin(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	l, ok := c.Desk.Login(r.Context(), id)
	if !ok {
		c.show(w, http.StatusNotFound, view{Home: "../../", Flash: noSuchMailbox("See the list.")})
		return
	}
	target, state, err := c.Desk.Begin(r.Context(), id, c.Public+l.Callback, "")
	if err != nil {
		v := c.below(id, l)
		v.Flash = failed(err)
		c.show(w, http.StatusOK, v)
		return
	}
	c.send(w, view{Home: "../../", Login: &l}, target, state)
}

// send shows the page v, which leads to the provider, and gives the browser what it has to bring back.
func (c *connecting) send(w http.ResponseWriter, v view, target string, state token.Secret) {
	c.keep(w, stateCookie(state.Reveal()), state.Reveal(), "/oauth/", signInLife)
	w.Header().Set("Refresh", "0;url="+target)
	v.Target = target
	c.show(w, http.StatusOK, v)
}

// callback takes the answer of a provider, and sends the browser on, so that no code stays in its address bar. Whatever
// is wrong with the answer, it is said on the page that follows.
func (c *connecting) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // a HEAD would use the answer up
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	answer := r.URL.Query()
	end, err := End{}, c.foreign(r, answer)
	if err == nil {
		c.drop(w, stateCookie(answer.Get("state")), "/oauth/")
		long(w)
		// The browser may be gone by the time, and what was granted must not be lost.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), testWithin)
		defer cancel()
		end, err = c.Desk.Finish(ctx, c.Public+r.URL.EscapedPath(), answer, c.here(r))
	}
	var refused *token.ConsentError
	if errors.As(err, &refused) && end.ID == "" { // it belongs to no sign-in that we know of
		c.wrong(r)
	}
	f := &flash{OK: true, Sentence: "Connected.", Hint: "The account is the mailbox's own, access to mail was granted, the mail server lets us in, and the grant is sealed and stored."}
	if err != nil {
		f = failed(err)
	}
	f.Guest = end.Link != ""
	path := "/oauth/answer"
	switch {
	case f.Guest && !f.OK:
		path = "/link/" + end.Link // to try again
	case !f.Guest && end.ID != "":
		path = "/mailboxes/" + url.PathEscape(end.ID)
	}
	if text, err := json.Marshal(f); err == nil {
		c.keep(w, flashCookie, c.Keys().Seal(flashCookie, string(text)), path, flashLife)
	}
	http.Redirect(w, r, c.Public+path, http.StatusSeeOther)
}

// foreign refuses an answer that was not meant for a sign-in that this browser began.
func (c *connecting) foreign(r *http.Request, answer url.Values) error {
	states := answer["state"]
	if len(states) != 1 || states[0] == "" {
		return &token.ConsentError{Problem: token.Problem{
			Code: "malformed_answer", Sentence: "The answer does not say which sign-in it belongs to, or says it twice.", Hint: "Begin again, with the button of the mailbox.",
		}}
	}
	cookie, err := r.Cookie(stateCookie(states[0]))
	if err != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(states[0])) != 1 {
		return &token.ConsentError{Problem: token.Problem{
			Code:     "wrong_state",
			Sentence: "This browser has no such sign-in under way: it was finished before, was begun in another browser or more than ten minutes ago, or somebody sent you a link of theirs.",
			Hint:     "Begin again, with the button of the mailbox. If you did not begin a sign-in, close this page: nothing was changed.",
		}}
	}
	return nil
}

// answer shows how a sign-in ended that belongs to no mailbox.
func (c *connecting) answer(w http.ResponseWriter, r *http.Request) {
	f := c.flash(w, r)
	if f == nil {
		f = &flash{Sentence: "Nobody has signed in just now.", Hint: "Begin with the button of a mailbox."}
	}
	c.show(w, http.StatusOK, view{Home: "../", Flash: f, Guest: f.Guest})
}

// test goes the way to the mailbox and shows each step.
func (c *connecting) test(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	select {
	case c.tests <- struct{}{}:
		defer func() { <-c.tests }()
	default:
		c.refuse(w, http.StatusTooManyRequests, "Other mailboxes are being tested at the moment.", "Try again in a minute.")
		return
	}
	if _, ok := c.Desk.Login(r.Context(), id); !ok {
		c.show(w, http.StatusNotFound, view{Home: "../../", Flash: noSuchMailbox("See the list.")})
		return
	}
	long(w)
	found := c.Doctor.Examine(r.Context(), id)
	l, _ := c.Desk.Login(r.Context(), id) // the way there may have renewed the grant
	v := c.below(id, l)
	v.Found = &found
	c.show(w, http.StatusOK, v)
}

// long gives an answer more time than others have. A writer that cannot has no limit.
func long(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(testWithin + 10*time.Second))
}

// view is what the page of a mailbox shows.
type view struct {
	Home   string // the way to the first page
	At     string // the way to the mailbox's page, or to the link's
	Here   bool   // the reader may act
	Guest  bool   // the reader came with a link, and has no business on the other pages
	Login  *Login
	State  *mailbox.Status
	Where  string // which replica reads it, if this one does not
	Flash  *flash
	Found  *Examination
	Target string    // at the provider
	Ends   time.Time // of the link
	Now    time.Time
}

//go:embed connect.html
var connectHTML embed.FS

var connectTemplate = sync.OnceValue(func() *template.Template { // as pageTemplate
	return template.Must(template.New("connect.html").Funcs(template.FuncMap{
		"span": span, "words": words, "left": left, "lag": lag, "sum": sum, "account": account, "grant": grantWords,
	}).ParseFS(connectHTML, "connect.html"))
})

func (c *connecting) show(w http.ResponseWriter, status int, v view) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.Replace(policy, "form-action 'none'", "form-action 'self'", 1))
	w.WriteHeader(status)
	_ = connectTemplate().Execute(w, v) // the header is out already; the connection says the rest
}
