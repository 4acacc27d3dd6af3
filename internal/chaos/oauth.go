package chaos

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mailflume/mailflume/internal/process"
)

// tokens is an OAuth token endpoint and the registry behind it. Like Microsoft's, it hands out a new refresh token with
// every exchange, and the old ones stay good. Every other access token lives shortly.
type tokens struct {
	mu        sync.Mutex
	refresh   map[string]string // refresh token -> user
	access    map[string]string // access token -> user
	exchanges int
}

// endpoint is a server whose address stays the same when it is stopped and started again.
type endpoint struct {
	addr    string
	handler http.Handler
	server  *http.Server
}

// listen starts an endpoint on a free port.
func listen(handler http.Handler) (*endpoint, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	e := &endpoint{addr: "127.0.0.1:" + port, handler: handler}
	return e, e.start()
}

func (e *endpoint) start() error {
	l, err := net.Listen("tcp", e.addr)
	if err != nil {
		return fmt.Errorf("listen for token requests: %w", err)
	}
	e.server = &http.Server{Handler: e.handler, ReadHeaderTimeout: 10 * time.Second}
	go e.server.Serve(l) // ends with ErrServerClosed
	return nil
}

// stop cuts the connections, those under way too.
func (e *endpoint) stop() error { return e.server.Close() }

// googlePath is where google's clients ask; all others are microsoft's.
const googlePath = "/google/token"

func newTokens() *tokens {
	return &tokens{refresh: map[string]string{}, access: map[string]string{}}
}

// grant makes a refresh token for a user.
func (t *tokens) grant(user string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := "refresh-" + rand.Text()
	t.refresh[token] = user
	return token
}

// lookup says whose an access token is.
func (t *tokens) lookup(token string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	user, ok := t.access[token]
	return user, ok
}

// count returns how many exchanges there were.
func (t *tokens) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exchanges
}

// ServeHTTP answers a refresh_token grant (RFC 6749, section 6).
func (t *tokens) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	time.Sleep(mrand.N(40 * time.Millisecond)) // so that some are killed while they wait
	t.mu.Lock()
	defer t.mu.Unlock()
	user, ok := t.refresh[q.PostFormValue("refresh_token")]
	if !ok || !strings.HasSuffix(q.URL.Path, "/token") || q.PostFormValue("grant_type") != "refresh_token" {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"}) // the client fails if it does
		return
	}
	t.exchanges++
	lifetime := 3599
	if mrand.N(2) == 0 {
		lifetime = 1 // the next process has to renew it
	}
	scope := "https://outlook.office.com/IMAP.AccessAsUser.All"
	if q.URL.Path == googlePath {
		scope = "https://mail.google.com/"
	}
	access, refresh := "access-"+rand.Text(), "refresh-"+rand.Text()
	t.access[access], t.refresh[refresh] = user, user
	json.NewEncoder(w).Encode(map[string]any{ // the client fails if it does
		"token_type": "Bearer", "expires_in": lifetime, "access_token": access, "refresh_token": refresh,
		"scope": scope,
	})
}
