package sim_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mailflume/mailflume/internal/samples"
	"github.com/mailflume/mailflume/internal/sim"
)

// A refresh token becomes an access token, and that opens a mailbox.
func Example() {
	w := sim.New(sim.Options{})
	defer w.Close()
	anna := w.AddAccount(sim.Exchange, "anna@contoso.test")
	w.OAuth(sim.Exchange).AddClient(sim.Client{ID: "mailflume", Secret: "s3cret"})
	anna.Deliver("INBOX", samples.Get("invoice"), time.Time{})
	anna.Inject(sim.Throttled(92415 * time.Millisecond))

	conf := oauth2.Config{
		ClientID: "mailflume", ClientSecret: "s3cret", Scopes: []string{sim.ScopeOutlook, "offline_access"},
		Endpoint: oauth2.Endpoint{TokenURL: "https://login.microsoftonline.com/common/oauth2/v2.0/token"},
	}
	form := oauth2.SetAuthURLParam("scope", strings.Join(conf.Scopes, " "))
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, w.OAuth(sim.Exchange).HTTPClient())
	token, err := conf.Exchange(ctx, "", form, oauth2.SetAuthURLParam("grant_type", "refresh_token"),
		oauth2.SetAuthURLParam("refresh_token", anna.RefreshToken("mailflume")))
	if err != nil {
		fmt.Println(err)
		return
	}

	conn := w.IMAP(sim.Exchange).Pipe()
	defer conn.Close()
	r := bufio.NewReader(conn)
	r.ReadString('\n') // the greeting
	response := base64.StdEncoding.EncodeToString([]byte("user=" + anna.Address() + "\x01auth=Bearer " + token.AccessToken + "\x01\x01"))
	for _, command := range []string{"a AUTHENTICATE XOAUTH2 " + response, "b NAMESPACE", "c NOOP"} {
		fmt.Fprint(conn, command+"\r\n")
		line, _ := r.ReadString('\n')
		fmt.Println(strings.TrimSpace(line))
	}
	fmt.Println(anna.Stats().Logins, w.OAuth(sim.Exchange).Refreshes(anna.Address()).MaxConcurrent, w.Violations())
	// Output:
	// a OK AUTHENTICATE completed.
	// b BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds
	// c OK NOOP completed.
	// 1 1 []
}
