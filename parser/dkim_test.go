package parser

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

const dinner = `From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
`

// RFC 6376, appendix A.2.
const signedDinner = `DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
` + dinner

// RFC 8463, appendix A.3.
const signedTwice = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
` + dinner

const rsaKey = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v" +
	"/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"

// records are the TXT records of a test. A name that is not there does not exist.
type records map[string]string

func (r records) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if text, ok := r[name]; ok {
		return []string{text}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

type brokenResolver struct{}

func (brokenResolver) LookupTXT(context.Context, string) ([]string, error) {
	return nil, errors.New("connection refused")
}

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

// results are those of each signature, in the words of RFC 8601.
func results(t *testing.T, raw []byte, r TXTResolver) string {
	t.Helper()
	var out []string
	for _, d := range VerifyDKIM(t.Context(), raw, r) {
		if (d.Result == "pass") != (d.Reason == "") {
			t.Errorf("%+v", d)
		}
		out = append(out, strings.TrimSuffix(d.Selector+"@"+d.Domain, "@")+" "+d.Result)
	}
	return strings.TrimSpace(strings.Join(out, ", "))
}

func TestVerifyDKIM(t *testing.T) {
	dns := records{
		"brisbane._domainkey.example.com":          rsaKey,
		"test._domainkey.football.example.com":     "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
		"brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
	}
	for name, c := range map[string]struct {
		raw  string
		dns  TXTResolver
		want string
	}{
		"RFC 6376":         {signedDinner, dns, "brisbane@example.com pass"},
		"RFC 8463":         {signedTwice, dns, "brisbane@football.example.com pass, test@football.example.com pass"},
		"another body":     {signedDinner + "PS\n", dns, "brisbane@example.com fail"},
		"another subject":  {strings.Replace(signedDinner, "dinner", "supper", 1), dns, "brisbane@example.com fail"},
		"no key":           {signedDinner, records{}, "brisbane@example.com permerror"},
		"key withdrawn":    {signedDinner, records{"brisbane._domainkey.example.com": "v=DKIM1; p="}, "brisbane@example.com permerror"},
		"key is something": {signedDinner, records{"brisbane._domainkey.example.com": "x"}, "brisbane@example.com permerror"},
		"no answer":        {signedDinner, brokenResolver{}, "brisbane@example.com temperror"},
		"no signature":     {dinner, dns, "none"},
		"no tags":          {"DKIM-Signature: hello\n" + dinner, dns, "permerror"},
		"no end":           {"DKIM-Signature: v=1; d=a.org; s=b", dns, "b@a.org permerror"},
		"nothing":          {"", dns, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := results(t, crlf(c.raw), c.dns); got != strings.TrimSpace(c.want) {
				t.Errorf("%s, want %s: %+v", got, c.want, VerifyDKIM(t.Context(), crlf(c.raw), c.dns))
			}
		})
	}
}

// A lookup ends with its context, and that says nothing about the signature.
func TestVerifyDKIMCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := VerifyDKIM(ctx, crlf(signedDinner), records{}); len(got) != 1 || got[0].Result != "temperror" {
		t.Errorf("%+v", got)
	}
}

// No more signatures are checked than the limit, and no header that would take long.
func TestVerifyDKIMLimits(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var signed strings.Builder
	if err := dkim.Sign(&signed, strings.NewReader(string(crlf(dinner))), &dkim.SignOptions{Domain: "a.org", Selector: "s", Signer: key}); err != nil {
		t.Fatal(err)
	}
	public := base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	dns := records{"s._domainkey.a.org": "k=ed25519; p=" + public}
	if got := results(t, []byte(signed.String()), dns); got != "s@a.org pass" {
		t.Fatal(got)
	}
	header := signed.String()[:signed.Len()-len(crlf(dinner))]
	got := VerifyDKIM(t.Context(), []byte(strings.Repeat(header, 20)+string(crlf(dinner))), dns)
	if len(got) != maxSignatures {
		t.Errorf("%d signatures were checked", len(got))
	}
	start := time.Now()
	for _, long := range []string{"X: a" + strings.Repeat("\r\n a", 1<<20), strings.Repeat("X: y\r\n", 1<<18) + "Z: z", "X: " + strings.Repeat("a", 1<<20)} {
		if got := results(t, []byte(header+long+"\r\n"+string(crlf(dinner))), dns); got != "s@a.org permerror" {
			t.Errorf("%.20q: %s", long, got)
		}
	}
	if took := time.Since(start); took > 30*time.Second { // minutes, if the library got to read them
		t.Errorf("it took %v", took)
	}
}
