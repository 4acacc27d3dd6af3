package token_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailflume/mailflume/token"
)

func ring(t *testing.T, lines ...string) *token.Keyring {
	t.Helper()
	keys, err := token.NewKeyring(func() (string, error) { return strings.Join(lines, "\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// An invitation says to any replica, and to one whose key was changed meanwhile, whom it is for; nobody else can read it.
func TestInvitation(t *testing.T) {
	old, fresh := token.NewKey(), token.NewKey()
	made, text := ring(t, old).Invite("sales/box", "sales@example.com", time.Hour)
	for _, keys := range []*token.Keyring{ring(t, old), ring(t, fresh, old)} {
		got, err := keys.Invitation(text)
		if err != nil || got != made || got.Mailbox != "sales/box" || got.Expect != "sales@example.com" {
			t.Errorf("%+v, %v; want %+v", got, err, made)
		}
	}
	open, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || strings.Contains(string(open), "sales") || strings.Contains(text, "sales") {
		t.Errorf("%q, %v", open, err)
	}
	if _, other := ring(t, old).Invite("sales/box", "sales@example.com", time.Hour); other == text {
		t.Error("two are the same")
	}
	if i, _ := ring(t, old).Invite("x", "", 1000*time.Hour); time.Until(i.Ends) > token.MaxInvitation {
		t.Errorf("it is good until %v", i.Ends)
	}
}

func TestInvitationRefused(t *testing.T) {
	key := token.NewKey()
	keys := ring(t, key)
	_, text := keys.Invite("sales", "sales@example.com", time.Hour)
	for name, forged := range map[string]string{
		"nothing": "", "nonsense": "nonsense", "cut off": text[:len(text)-4], "longer": text + "AAAA", "no base64": text[:10] + "%" + text[11:],
		"another seal": base64.RawURLEncoding.EncodeToString([]byte(keys.Seal("mailflume-answer", `{"mailbox":"sales","ends":"2999-01-01T00:00:00Z","number":"1"}`))),
		"plain":        base64.RawURLEncoding.EncodeToString([]byte(`{"mailbox":"sales","ends":"2999-01-01T00:00:00Z","number":"1"}`)),
	} {
		if _, err := keys.Invitation(forged); err == nil {
			t.Errorf("%s: let in", name)
		} else {
			wants(t, err, "unknown_link", "--link")
		}
	}
	for i := range text { // one character is another
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		if _, err := keys.Invitation(text[:i] + string(c) + text[i+1:]); err == nil {
			t.Fatalf("changed at %d, and let in", i)
		}
	}
	_, err := ring(t, token.NewKey()).Invitation(text)
	wants(t, err, "unknown_link", "")
	synctest.Test(t, func(t *testing.T) {
		_, text := keys.Invite("sales", "", time.Hour)
		time.Sleep(59 * time.Minute)
		if _, err := keys.Invitation(text); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		_, err := keys.Invitation(text)
		wants(t, err, "link_expired", "another")
		if i, err := keys.Invited(text); err != nil || i.Mailbox != "sales" { // a sign-in that was begun in time goes on
			t.Error(err)
		}
	})
}

// Of all who come with one invitation, on any replica, one may go on; what came to nothing may be tried again.
func TestInvitationIsSpentOnce(t *testing.T) {
	keys, s := ring(t, token.NewKey()), &shelf{values: map[string][]byte{}}
	i, _ := keys.Invite("sales", "", time.Hour)
	other, _ := keys.Invite("sales", "", time.Hour)
	for range 2 {
		var wg sync.WaitGroup
		var went atomic.Int32
		for range 10 {
			wg.Go(func() {
				if err := i.Spend(t.Context(), s); err == nil {
					went.Add(1)
				} else {
					wants(t, err, "link_used", "already")
				}
			})
		}
		wg.Wait()
		if n := went.Load(); n != 1 {
			t.Errorf("%d went on", n)
		}
		for invitation, want := range map[token.Invitation]bool{i: true, other: false} {
			if spent, err := invitation.Spent(t.Context(), s); err != nil || spent != want {
				t.Errorf("spent: %v, %v", spent, err)
			}
		}
		if err := i.GiveBack(t.Context(), s); err != nil {
			t.Error(err)
		}
		if err := i.GiveBack(t.Context(), s); err != nil { // somebody has done it
			t.Error(err)
		}
	}
	s.err = errors.New("no leader")
	_, err := i.Spent(t.Context(), s)
	wants(t, err, "store_unavailable", "")
	wants(t, i.Spend(t.Context(), s), "store_unavailable", "")
}
