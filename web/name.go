package web

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// known refuses a reader at this machine who asks under a name that we do not know. Anybody can have a name resolve to a
// loopback address, and then a page of theirs that is open in a browser here could read what is below that name (DNS
// rebinding). An address is no such name.
func (s Sources) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local(r) && !s.ownName(r.Host) {
			http.Error(w, "This page was asked for under a name that it does not know.\n"+
				"Open it as localhost, or set http.public_url to the address that browsers use.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownName reports whether a Host header can be nobody else's.
func (s Sources) ownName(host string) bool {
	name := strings.ToLower(host)
	if n, _, err := net.SplitHostPort(name); err == nil {
		name = n
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if own, err := os.Hostname(); err == nil && strings.EqualFold(name, own) {
		return true
	}
	public, err := url.Parse(s.Connect.Public)
	return err == nil && strings.EqualFold(name, public.Hostname())
}
