package fetcher_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailflume/mailflume/fetcher"
	"github.com/mailflume/mailflume/internal/dovecot"
)

// TestDovecot reads a real server: every message once, byte for byte, over TLS with XOAUTH2.
func TestDovecot(t *testing.T) {
	d := dovecot.Start(t, dovecot.Options{})
	d.Allow("good", address)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.CertPEM)
	conf := fetcher.Config{
		Addr: d.TLSAddr, RootCAs: pool, User: address, Folders: []string{"INBOX", "Other"},
		Start: fetcher.Start{All: true}, MaxMessage: 3 << 20, Budget: fetcher.NewBudget(8 << 20),
	}
	var raw [][]byte
	for n := range 600 {
		raw = append(raw, message(n))
	}
	raw = append(raw,
		bytes.Repeat([]byte("x"), 2<<20),
		[]byte("Subject: no body\r\n\r\n"),
		fmt.Appendf(nil, "Subject: large\r\n\r\n%s", strings.Repeat("large ", 1<<20)),
		[]byte("Subject: odd\r\n\r\n\x80\xff ) {5}\r\n* BYE no\r\nA1 OK\r\n"),
	)
	deliver := func(folder string, raw ...[]byte) {
		if _, err := d.Append(t.Context(), address, folder, time.Time{}, raw...); err != nil {
			t.Fatal(err)
		}
	}
	deliver("INBOX", raw...)
	deliver("Other", message(1))

	var refused *fetcher.AuthError
	if _, err := fetcher.Open(t.Context(), conf, token(func() string { return "bad" })); !errors.As(err, &refused) || !refused.Stale {
		t.Fatalf("%T %v", err, err)
	}
	s, err := fetcher.Open(t.Context(), conf, token(func() string { return "good" }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	after := map[string]fetcher.Position{}
	got := map[string]map[uint32]dovecot.Digest{"INBOX": {}, "Other": {}}
	pass := func(kinds string) {
		t.Helper()
		count := map[fetcher.Kind]int{}
		for m, err := range s.Messages(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			count[m.Kind]++
			sum := sha256.Sum256(m.Raw)
			switch m.Kind {
			case fetcher.KindMail:
				got[m.Folder][m.UID] = dovecot.Digest{SHA256: hex.EncodeToString(sum[:]), Size: m.Size}
			case fetcher.KindTooLarge:
				if string(m.Raw) != "Subject: large\r\n\r\n" || m.InternalDate.IsZero() {
					t.Errorf("%+v", m)
				}
			}
			after[m.Folder] = m.Position
			m.Release()
		}
		if got := fmt.Sprint(count); got != kinds {
			t.Fatalf("kinds %s, want %s", got, kinds)
		}
	}
	pass("map[0:604 1:1 3:2]")
	server, err := d.FetchAll(t.Context(), address, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range server.Mails {
		if have, ok := got["INBOX"][uid]; ok && have != want || !ok && want.Size < 3<<20 {
			t.Errorf("UID %d: %v, want %v", uid, have, want)
		}
	}
	pass("map[]")

	waiting := make(chan error, 1)
	go func() { waiting <- s.Wait(t.Context()) }()
	time.Sleep(300 * time.Millisecond)
	deliver("INBOX", message(7))
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	pass("map[0:1]")

	if _, err := d.BumpUIDValidity(t.Context(), address, "Other"); err != nil {
		t.Fatal(err)
	}
	s.Close() // a session of Dovecot does not see the new one
	if s, err = fetcher.Open(t.Context(), conf, token(func() string { return "good" })); err != nil {
		t.Fatal(err)
	}
	pass("map[0:1 4:1]")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	go func() { waiting <- s.Wait(t.Context()) }()
	time.Sleep(300 * time.Millisecond)
	if err := d.Kick(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	var bye *fetcher.ByeError
	if err := <-waiting; !errors.As(err, &bye) {
		t.Fatalf("%T %v", err, err)
	}
	conf.Addr, conf.Security = d.Addr, fetcher.STARTTLS
	s.Close()
	if s, err = fetcher.Open(t.Context(), conf, token(func() string { return "good" })); err != nil {
		t.Fatal(err)
	}
	pass("map[]")
	conf.Auth = fetcher.OAUTHBEARER
	s.Close()
	if s, err = fetcher.Open(t.Context(), conf, token(func() string { return "good" })); err != nil {
		t.Fatal(err)
	}
	conf.Auth = fetcher.Password
	s.Close()
	if s, err = fetcher.Open(t.Context(), conf, token(func() string { return d.Password })); err != nil {
		t.Fatal(err)
	}
	pass("map[]")
}

// BenchmarkDovecot reads 5,000 messages of 5 KB from a real server.
func BenchmarkDovecot(b *testing.B) {
	d, err := dovecot.Run(b.Context(), dovecot.Options{})
	if err != nil {
		b.Skip(err)
	}
	defer d.Close()
	raw := make([][]byte, 5000)
	for n := range raw {
		raw[n] = fmt.Appendf(nil, "Subject: %d\r\n\r\n%s", n, strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz\r\n", 130))
	}
	if _, err := d.Append(b.Context(), address, "INBOX", time.Time{}, raw...); err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.CertPEM)
	for name, conf := range map[string]fetcher.Config{
		"plain": {Addr: d.Addr, Security: fetcher.Plain},
		"tls":   {Addr: d.TLSAddr, RootCAs: pool},
	} {
		b.Run(name, func(b *testing.B) {
			conf.User, conf.Auth, conf.Start, conf.Budget = address, fetcher.Password, fetcher.Start{All: true}, fetcher.NewBudget(64<<20)
			s, err := fetcher.Open(b.Context(), conf, token(func() string { return d.Password }))
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.SetBytes(int64(len(raw)) * int64(len(raw[0])))
			for b.Loop() {
				n := 0
				for m, err := range s.Messages(b.Context(), nil) {
					if err != nil {
						b.Fatal(err)
					}
					if m.Kind == fetcher.KindMail {
						n++
					}
					m.Release()
				}
				if n != len(raw) {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(len(raw)*b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
