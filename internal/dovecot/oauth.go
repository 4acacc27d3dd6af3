package dovecot

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// registry knows which token is whose. It is the introspection endpoint (RFC 7662) that Dovecot asks at every login.
type registry struct {
	lookup func(token string) (user string, ok bool)

	mu    sync.Mutex
	users map[string]string // by token
}

// Allow makes token good for the mailbox of user, from the next login on.
func (s *Server) Allow(token, user string) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	s.tokens.users[token] = user
}

// Revoke undoes Allow. As with a real provider, sessions that are logged in go on; see Kick.
func (s *Server) Revoke(token string) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	delete(s.tokens.users, token)
}

func (r *registry) user(token string) (string, bool) {
	r.mu.Lock()
	user, ok := r.users[token]
	r.mu.Unlock()
	if !ok && r.lookup != nil {
		return r.lookup(token)
	}
	return user, ok
}

// ServeHTTP answers an introspection request.
func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var answer struct {
		Active   bool   `json:"active"`
		Username string `json:"username,omitempty"`
	}
	if user, ok := r.user(q.PostFormValue("token")); ok {
		answer.Active, answer.Username = true, strings.ToLower(user) // as auth_username_format does
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // the login fails if it does
}
