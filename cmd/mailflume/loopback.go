package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/token"
)

// loopback waits for the browser to come back from a sign-in (RFC 8252).
type loopback struct {
	consent  *token.Consent
	redirect *url.URL

	granted *token.Granted
	err     error
	came    chan struct{} // the two above are set
	shown   chan struct{} // one slot: the page that says so was sent
}

// awaitBrowser serves l until the browser has brought an answer that is meant for the consent.
func awaitBrowser(ctx context.Context, l net.Listener, redirect string, consent *token.Consent) (*token.Granted, error) {
	u, err := url.Parse(redirect)
	if err != nil {
		return nil, err
	}
	if u.Path == "" {
		u.Path = "/"
	}
	b := &loopback{consent: consent, redirect: u, came: make(chan struct{}), shown: make(chan struct{}, 1)}
	serve := func(rw http.ResponseWriter, r *http.Request) { // no mux: the path may be anything that a URL can have
		switch {
		case r.URL.Path != u.Path && r.URL.Path != b.done():
			http.NotFound(rw, r)
		case r.Method != http.MethodGet:
			rw.Header().Set("Allow", http.MethodGet)
			http.Error(rw, "only GET", http.StatusMethodNotAllowed)
		case r.URL.Path == b.done():
			b.page(rw)
		default:
			b.callback(ctx, rw, r) // not the request's context: the browser may be gone by then
		}
	}
	server := &http.Server{Handler: b.guard(http.HandlerFunc(serve)), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 64 << 10}
	go server.Serve(l)                      //nolint:errcheck // it ends with Close
	defer server.Close()                    //nolint:errcheck // nothing is left to be said
	wait := time.NewTimer(11 * time.Minute) // the consent itself is good for ten
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-wait.C:
		return nil, errors.New("the browser did not come back within 10 minutes; begin again, or use --no-browser")
	case <-b.came:
	}
	select { // let the browser fetch the page that says how it went
	case <-b.shown:
	case <-time.After(2 * time.Second):
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	server.Shutdown(ending) //nolint:errcheck // Close follows; this lets the page end
	return b.granted, b.err
}

// guard refuses what no browser sends that comes back from a sign-in, such as a name that somebody had resolve to us.
func (b *loopback) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		_, port, _ := net.SplitHostPort(r.Host)
		if host, _, err := net.SplitHostPort(r.Host); err != nil || port != b.redirect.Port() || host != "127.0.0.1" && host != "localhost" {
			http.Error(rw, "this is not the host that you asked for", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// callback takes the answer, and sends the browser on, so that no code stays in its address bar.
func (b *loopback) callback(ctx context.Context, rw http.ResponseWriter, r *http.Request) {
	granted, err := b.consent.Finish(ctx, r.URL.Query())
	var refused *token.ConsentError
	if errors.As(err, &refused) && (refused.Code == "wrong_state" || refused.Code == "malformed_answer" || refused.Code == "state_used") {
		say(rw, http.StatusBadRequest, refused.Sentence, refused.Hint)
		return // it was not meant for us: go on waiting
	}
	b.granted, b.err = granted, err
	close(b.came)
	http.Redirect(rw, r, b.done(), http.StatusSeeOther)
}

// done is the path of the page that says how it went.
func (b *loopback) done() string {
	if b.redirect.Path == "/signed-in" {
		return "/done"
	}
	return "/signed-in"
}

func (b *loopback) page(rw http.ResponseWriter) {
	select {
	case <-b.came:
	default:
		say(rw, http.StatusNotFound, "Nobody has signed in yet.", "Use the link in the terminal.")
		return
	}
	if b.err != nil {
		v := mailbox.Classify(b.err)
		say(rw, http.StatusBadRequest, v.Sentence, v.Hint)
	} else {
		say(rw, http.StatusOK, "Signed in.", "You can close this window; the terminal says whether the mailbox can be read.")
	}
	if f, ok := rw.(http.Flusher); ok {
		f.Flush()
	}
	select {
	case b.shown <- struct{}{}:
	default:
	}
}

var sayPage = template.Must(template.New("").Parse(
	"<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Mailflume</title><h1>{{.Sentence}}</h1><p>{{.Hint}}</p></html>\n"))

func say(rw http.ResponseWriter, status int, sentence, hint string) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	if err := sayPage.Execute(rw, map[string]string{"Sentence": sentence, "Hint": hint}); err != nil {
		fmt.Fprintln(rw)
	}
}
