package sim

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
)

// challengePatience is how long the client may take to answer the challenge of a failed login.
const challengePatience = 30 * time.Second

func (s *session) capability(c *command) {
	s.say("* CAPABILITY " + s.capabilities())
	s.ok(c)
}

func (s *session) capabilities() string {
	if s.account == nil {
		return s.d.capsBefore
	}
	caps, quirks := s.d.capsAfter, s.account.quirk()
	if s.d.capsRev2 != "" && quirks.Rev2 {
		caps = s.d.capsRev2
	}
	return strings.Join(slices.DeleteFunc(strings.Fields(caps), func(c string) bool { return slices.Contains(quirks.Lacks, c) }), " ")
}

// lacks reports whether the account's server does not know a command, for lack of a capability.
func (s *session) lacks(c *command) bool {
	lacked := s.account.quirk().Lacks
	return c.verb == "MOVE" && slices.Contains(lacked, "MOVE") || c.verb == "EXPUNGE" && c.uid && slices.Contains(lacked, "UIDPLUS")
}

func (s *session) identify(c *command) {
	if s.account != nil && len(c.args) > 0 {
		var words []string
		for _, n := range c.args[0].list {
			words = append(words, n.text)
		}
		s.account.count(func(st *Stats) { st.IDs = append(st.IDs, strings.Join(words, " ")) })
	}
	s.say(fill(s.d.idVersion, "ip", hostOf(s.conn.RemoteAddr()), "id", s.id))
	s.ok(c)
}

func (s *session) noop(c *command) { s.ok(c) }

func (s *session) logout(c *command) {
	s.say(s.d.byeLogout)
	s.ok(c)
	s.loggedOut = true
	s.bye("")
}

// password refuses LOGIN and the mechanisms with a password.
func (s *session) password(c *command) {
	last := len(s.d.loginBad) - 1
	for _, line := range s.d.loginBad[:last] {
		s.say(line)
	}
	s.tag(c, s.d.loginBad[last])
	if s.d.loginCloses != "" {
		s.bye(s.d.loginCloses)
	}
}

// errCancelled is a client's "*" in place of a response.
var errCancelled = errors.New("sim: cancelled")

func (s *session) authenticate(c *command) {
	if len(c.args) == 0 {
		s.tag(c, s.d.badSyntax)
		return
	}
	mechanism := c.args[0].atom()
	if !slices.Contains(s.d.mechanisms, mechanism) {
		s.password(c)
		return
	}
	user, token, err := s.response(c, mechanism)
	switch {
	case errors.Is(err, errCancelled):
		s.tag(c, fill(s.d.cancelled, "id", s.id))
	case errors.Is(err, errSyntax):
		s.tag(c, fill(s.d.badSASL, "id", s.id))
	case err != nil:
		s.over = true
	default:
		s.login(c, user, token)
	}
}

// response takes the client's response, from the command or after a continuation.
func (s *session) response(c *command, mechanism string) (user, token string, err error) {
	var coded string
	if len(c.args) > 1 {
		coded = c.args[1].text
	} else {
		s.say("+ ")
		if coded, err = s.line(); err != nil {
			return "", "", err
		}
		if coded == "*" {
			return "", "", errCancelled
		}
	}
	plain, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", "", errSyntax
	}
	return bearer(string(plain), mechanism)
}

// bearer takes the user and the token out of a response of XOAUTH2 or OAUTHBEARER.
func bearer(plain, mechanism string) (user, token string, err error) {
	fields, closed := strings.CutSuffix(plain, "\x01\x01")
	if !closed {
		return "", "", errSyntax
	}
	for i, field := range strings.Split(fields, "\x01") {
		switch {
		case mechanism == "XOAUTH2" && strings.HasPrefix(field, "user="):
			user = field[len("user="):]
		case mechanism == "OAUTHBEARER" && i == 0 && strings.HasPrefix(field, "n,a=") && strings.HasSuffix(field, ","):
			user = strings.TrimSuffix(field[len("n,a="):], ",")
		case strings.HasPrefix(field, "auth=Bearer "):
			token = field[len("auth=Bearer "):]
		}
	}
	if user == "" || token == "" {
		return "", "", errSyntax
	}
	return user, token, nil
}

// login decides on a well-formed response.
func (s *session) login(c *command, user, token string) {
	a := s.w.account(s.d.provider, user)
	if a == nil {
		s.refuse(c, nil, s.d.invalid, true)
		return
	}
	a.mu.Lock()
	f := a.faults.take("AUTHENTICATE", s.w.now())
	a.mu.Unlock()
	if f != nil {
		s.fault = f
		if !s.before() {
			return
		}
		if f.Answer != "" {
			s.refuse(c, a, f.Answer, f.Challenge)
			return
		}
	}
	if q := a.quirk(); q.LoginDelay != 0 && !s.pause(&Fault{Delay: q.LoginDelay}) {
		s.over = true
		return
	}
	t, known := s.w.lookupAccess(token)
	connected := f == nil || !f.NotConnected
	switch {
	case !known || t.provider != s.d.provider || !t.live(s.w.now()) || !t.reads():
		s.refuse(c, a, s.d.invalid, true)
		return
	case !a.opens(t) && a.quirk().RefuseLate:
		connected = false
	case !a.opens(t):
		s.refuse(c, a, s.d.invalid, true)
		return
	}
	switch a.join(s) {
	case overBandwidth:
		s.refuse(c, a, GmailBandwidth, false)
		return
	case tooMany:
		if s.d.tooMany != "" {
			s.refuse(c, a, s.d.tooMany, true)
			return
		}
		connected = false
	}
	s.account, s.token = a, t
	if !connected && s.d.notConnected != "" {
		s.denials = 0
	}
	if s.d.volunteers {
		s.say("* CAPABILITY " + s.capabilities())
	}
	done := s.d.loginOK
	if f != nil && f.Done != "" {
		done = f.Done
	}
	s.tag(c, fill(done, "user", a.address))
}

// refuse answers a login with a refusal, after the challenge that the provider may send before it. a may be nil.
func (s *session) refuse(c *command, a *Account, text string, challenge bool) {
	var q Quirks
	if a != nil {
		q = a.quirk()
		a.count(func(st *Stats) { st.Refused++ })
	}
	if challenge && s.d.challenge != "" {
		json := s.d.challenge
		if q.DocChallenge {
			json, text = s.d.docJSON, s.d.docNo
		}
		s.say("+ " + base64.StdEncoding.EncodeToString([]byte(json)))
		patience := time.NewTimer(challengePatience)
		defer patience.Stop()
		line, err := s.wait(-1, nil, patience.C)
		if err != nil || line == nil {
			s.over = true
			return
		}
		if a != nil {
			a.count(func(st *Stats) { st.Challenged = append(st.Challenged, string(line)) })
		}
		switch {
		case string(line) == "*":
			text = s.d.cancelled
		case string(line) == "=" && q.EqualsIsInvalid:
			text = s.d.badSASL
		}
	}
	s.tag(c, fill(text, "id", s.id))
}
