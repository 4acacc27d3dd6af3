package token

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailflume/mailflume/internal/crash"
)

// Granted is what a sign-in gave. It is not stored before Save; until then its access token serves for one check whether
// it opens the mailbox. It shows no token.
type Granted struct {
	Account string // who consented, as far as the provider says it
	Scope   string // as granted

	names []string // all that the provider calls them
	sure  []string // see Claims
	known bool     // one of sure is who was expected
	got   answer
	at    time.Time
}

// Token returns the access token, so that a Granted can be tried out. A refused one has no successor.
func (g *Granted) Token(_ context.Context, rejected string) (string, error) {
	if rejected != "" {
		return "", &GrantError{Problem: Problem{
			Code: "login_refused", At: g.at, Sentence: "The mail server refuses the token that was just granted.",
			Hint: "The account that signed in may not open this mailbox over IMAP; see mailflume connect --help about shared mailboxes.",
		}}
	}
	return g.got.access.Reveal(), nil
}

// Known reports whether the provider vouches for it that the account is the one that had to sign in. Else only that the
// grant opens the mailbox can tell.
func (g *Granted) Known() bool { return g.known }

// Claims returns what the access token says of itself, if it can be read.
func (g *Granted) Claims() (Claims, bool) { return ReadClaims(g.got.access.Reveal()) }

// redeem exchanges something else than a stored refresh token, once.
func (m *Manager) redeem(ctx context.Context, a Account, params url.Values) (*Granted, error) {
	now := stamp(time.Now())
	secret, err := a.Client.secret()
	if err != nil {
		return nil, &ClientError{Client: a.Client.Name, Err: err, Problem: unreadable(a.Client, now)}
	}
	got, failed := post(ctx, m.http, a.Client, secret, params)
	switch {
	case failed != nil && params.Has("code") && failed.refusesCode():
		return nil, &ConsentError{Problem: Problem{
			Code: failed.name(), At: now, Detail: failed.text, TraceID: failed.traceID,
			Sentence: "The provider does not accept the code of this sign-in: it was used before, is some minutes old, or belongs to another sign-in.",
			Hint:     "Begin again: each link is good once. If it happens again, somebody else may have had the answer first.",
		}}
	case failed != nil:
		return nil, failed.explain(a, now)
	}
	crash.At("oauth.callback")
	return newGranted(got, now), nil
}

// refusesCode reports whether the provider refuses a code for being that one. Of other causes it has numbers of their own,
// and its words for a code are those for a refresh token.
func (f *failure) refusesCode() bool {
	if f.code != "invalid_grant" || f.status == http.StatusTooManyRequests || f.status >= 500 {
		return false
	}
	switch f.aadsts {
	case 0, 70008:
		return true
	case 70000:
		return !strings.Contains(f.text, "service abuse")
	}
	return false
}

// name is what the provider calls the failure.
func (f *failure) name() string {
	if f.aadsts != 0 {
		return "AADSTS" + strconv.Itoa(f.aadsts)
	}
	return f.code
}

func newGranted(got answer, now time.Time) *Granted {
	g := &Granted{got: got, at: now, Scope: got.scope}
	for _, t := range []Secret{got.idToken, got.access} {
		if c, ok := ReadClaims(t.Reveal()); ok {
			g.names, g.sure = append(g.names, c.names...), append(g.sure, c.sure...)
		}
	}
	if len(g.names) > 0 {
		g.Account = g.names[0]
	}
	return g
}

// explain turns a failure into the error for whoever is signing in.
func (f *failure) explain(a Account, now time.Time) error {
	v := classify(a, &grant{}, f, now)
	switch v.who {
	case operator:
		return &ClientError{Client: a.Client.Name, Problem: v.problem, Err: v.err}
	case nobody:
		return &UnavailableError{Problem: v.problem, Err: v.err, Wait: v.retry}
	}
	return &ConsentError{Problem: v.problem, Err: v.err}
}

// verify refuses what must not be stored: the grant of another account, one without access to mail, one that ends with
// its first access token.
func (g *Granted) verify(a Account, expect, nonce string) error {
	if c, ok := ReadClaims(g.got.idToken.Reveal()); ok {
		// Microsoft's ids are GUIDs, which may be written in capitals (RFC 9562, section 4).
		ours := func(id string) bool { return strings.EqualFold(id, a.Client.ID) }
		if c.nonce != "" && nonce != "" && c.nonce != nonce || len(c.whom) > 0 && !slices.ContainsFunc(c.whom, ours) {
			return refuse("wrong_id_token", "The provider's answer was made for another sign-in.", "Begin again.")
		}
	}
	same := func(name string) bool { return SameAccount(name, expect) }
	if len(g.names) > 0 && expect != "" && !slices.ContainsFunc(g.names, same) {
		return refuse("wrong_account", "Another account than that of the mailbox has signed in; nothing was stored.",
			"Sign in as the mailbox's own account: sign out first, or use a private window. For a shared mailbox, name the member who signs in: mailflume connect "+a.Mailbox+" --as ADDRESS")
	}
	g.known = slices.ContainsFunc(g.sure, same)
	if lacksScope(a.Client, g.Scope) {
		p := scopeMissing(a, g.got, g.at).problem
		return &ConsentError{Problem: p}
	}
	if g.got.refresh.IsZero() {
		return noRefreshToken(a)
	}
	return nil
}

func noRefreshToken(a Account) error {
	hint := "Check the scopes of client " + a.Client.Name + ", and whether its registration allows refresh tokens."
	switch {
	case slices.ContainsFunc(a.Client.Scopes, func(s string) bool { return strings.Contains(s, "mail.google.com") }):
		hint = "Remove the app's access at https://myaccount.google.com/permissions and sign in again: Google gives a refresh token only together with the consent."
	case !slices.Contains(a.Client.Scopes, "offline_access"):
		hint = "Add offline_access to the scopes of client " + a.Client.Name + "."
	}
	return refuse("no_refresh_token", "The provider gave no refresh token, so the grant would end within the hour.", hint)
}

// Redeem tries out a refresh token that was granted elsewhere: what comes of it can be checked, and saved.
func (m *Manager) Redeem(ctx context.Context, a Account, refresh, expect string) (*Granted, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if a.Client.mints() {
		return nil, refuse("no_consent_needed", "Client "+a.Client.Name+" reads mailboxes by itself; it needs no refresh token.", "Run mailflume check "+a.Mailbox+".")
	}
	got, err := m.redeem(ctx, a, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	if err != nil {
		return nil, err
	}
	if got.got.refresh.IsZero() {
		got.got.refresh = NewSecret(refresh)
	}
	return got, got.verify(a, expect, "")
}

// Save stores what was granted in place of whatever the mailbox had. A renewal that is under way elsewhere finds that its
// lock is gone, and goes on with this grant.
func (m *Manager) Save(ctx context.Context, a Account, got *Granted) error {
	return m.overwrite(ctx, a, func(_, next *grant) error {
		next.take(got.got.refresh, fingerprintOf(a.Mailbox, got.got.refresh), got.at)
		next.access, next.ObtainedAt, next.Expiry = got.got.access, got.at, got.at.Add(got.got.life)
		next.Scope, next.Client = got.Scope, a.Client.Name
		if got.got.refreshLife > 0 {
			next.RefreshEnds = got.at.Add(got.got.refreshLife)
		}
		return nil
	})
}

// overwrite writes a changed record whatever its state. What the configuration has for a refresh token counts as taken
// over then: it is older than what a person did just now. If the record is another by the time it is written, or change
// says errLost, it begins again with what is there then.
func (m *Manager) overwrite(ctx context.Context, a Account, change func(old, next *grant) error) error {
	for {
		old, err := m.read(ctx, a.Mailbox)
		var sealed *SealError
		switch {
		case errors.As(err, &sealed):
			return err // nothing is overwritten that the right key may yet open
		case err != nil:
			return err
		}
		next := old.next(stamp(time.Now()))
		if configured, err := configuredToken(a); err == nil && !configured.IsZero() {
			fp := fingerprintOf(a.Mailbox, configured)
			known := func(other string) bool { return other == fp }
			next.Imported = append(slices.DeleteFunc(next.Imported, known), fp) // the newest, since the oldest are forgotten
		}
		if err = change(old, next); err == nil {
			err = m.put(ctx, a.Mailbox, next)
			crash.At("grant.stored")
		}
		if !errors.Is(err, errLost) {
			return err
		}
		if err := pause(ctx, lostPause); err != nil {
			return err
		}
	}
}
