package token

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// row is one row of a provider's error table: what it answers, and who must act. A row of several codes has one cause.
type row struct {
	name    string
	answers []string // bodies
	status  int
	want    who
	says    []string // in the sentence or in the fix
}

func google(code, description string, more ...string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":%q%s}`, code, description, strings.Join(more, ""))
}

func aadsts(codes ...int) (bodies []string) {
	for _, n := range codes {
		// The class follows from the number alone, whatever "error" says.
		bodies = append(bodies, fmt.Sprintf(`{"error":"invalid_grant","error_description":"AADSTS%d: text.","error_codes":[%d]}`, n, n))
	}
	return bodies
}

var googleRows = []row{
	{"revoked or expired", []string{google("invalid_grant", "Token has been expired or revoked.")}, 400, owner, []string{"revoked the refresh token", "mailflume connect alice"}},
	{"foreign or malformed", []string{google("invalid_grant", "Bad Request")}, 400, owner, []string{"does not know this refresh token", "client id client-1"}},
	{"account deleted", []string{google("invalid_grant", "Account has been deleted")}, 400, owner, []string{"has been deleted", "Remove mailbox alice"}},
	{"session control", []string{
		google("invalid_grant", "reauth related error (invalid_rapt)", `,"error_subtype":"invalid_rapt"`),
		google("invalid_grant", "reauth", `,"error_subtype":"rapt_required"`),
	}, 400, owner, []string{"session control", "Trusted"}},
	{"signature of the key", []string{google("invalid_grant", "Invalid JWT Signature.")}, 400, operator, []string{"signature", "Create a new key"}},
	{"clock", []string{google("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.")}, 400, nobody, []string{"clock", "NTP"}},
	{"audience", []string{google("invalid_grant", "Invalid JWT: Failed audience check.")}, 400, operator, []string{"audience", "https://oauth2.googleapis.com/token"}},
	{"service account gone", []string{google("invalid_grant", "Invalid grant: account not found")}, 400, operator, []string{"does not exist", "key file"}},
	{"no such user", []string{google("invalid_grant", "Invalid email or User ID")}, 400, owner, []string{"not an account of the domain", "address of mailbox alice"}},
	{"no such client", []string{google("invalid_client", "The OAuth client was not found.")}, 401, operator, []string{"does not know the client id", "Credentials"}},
	{"wrong secret", []string{google("invalid_client", "Unauthorized")}, 401, operator, []string{"client secret", "Copy the secret"}},
	{"not delegated", []string{google("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.")}, 401, operator, []string{"not authorised for this scope", "Domain-wide delegation"}},
	{"another client's token", []string{google("unauthorized_client", "Unauthorized")}, 401, owner, []string{"another OAuth client", "client-1"}},
	{"client deleted", []string{google("deleted_client", "The OAuth client was deleted.")}, 401, operator, []string{"client was deleted", "Create a new client"}},
	{"scope", []string{google("invalid_scope", "")}, 400, operator, []string{"refuses the scopes", "https://mail.google.com/"}},
	{"redirect URI", []string{google("redirect_uri_mismatch", "")}, 400, operator, []string{"redirect URI", "Register exactly"}},
	{"not a test user, or declined", []string{google("access_denied", "The developer hasn't given you access to this app.")}, 403, owner, []string{"tested", "Test users"}},
	{"outside the organisation", []string{google("org_internal", "")}, 403, operator, []string{"Internal", "External"}},
	{"administrator's policy", []string{google("admin_policy_enforced", "")}, 400, owner, []string{"restricts access", "API controls"}},
	{"missing parameter", []string{google("invalid_request", "Missing required parameter: refresh_token")}, 400, operator, []string{"fault in our request", "endpoints"}},
	{"revocation of a dead token", []string{google("invalid_token", "Token expired or revoked")}, 400, owner, []string{"expired or was revoked"}},
	{"device code: wait", []string{google("authorization_pending", "")}, 428, nobody, []string{"has entered the device code yet"}},
	{"device code: slower", []string{google("slow_down", "")}, 400, nobody, []string{"too often"}},
	{"device code: too late", []string{google("expired_token", "")}, 400, owner, []string{"in time", "--device"}},
	{"throttled", []string{google("rate_limit", ""), `oops`}, 429, nobody, []string{"unavailable"}},
}

var microsoftRows = []row{
	{"secret expired", aadsts(7000222), 401, operator, []string{"secret has expired", "https://aka.ms/NewClientSecret"}},
	{"secret's id", aadsts(7000215), 401, operator, []string{"secret is wrong", "Value"}},
	{"secret missing", aadsts(7000218), 401, operator, []string{"confidential", "public client flows"}},
	{"secret of a public client", aadsts(700025), 400, operator, []string{"public", "Remove the secret"}},
	{"certificate unknown", aadsts(700027), 401, operator, []string{"certificate is not accepted", "Upload the certificate"}},
	{"app not found", aadsts(700016), 400, operator, []string{"not known in this tenant", "tenant-1"}},
	{"app disabled", aadsts(7000112), 400, operator, []string{"disabled", "enterprise application"}},
	{"resource unknown", aadsts(700011, 500011), 400, operator, []string{"mail service", "Exchange Online"}},
	{"permission missing", aadsts(650052, 650056, 650057), 400, operator, []string{"permission", "IMAP.AccessAsUser.All"}},
	{"tenant not found", aadsts(90002), 400, operator, []string{"tenant does not exist", "GUID"}},
	{"another cloud", aadsts(90038, 900382), 400, operator, []string{"another cloud", "gcc-high"}},
	{"redirect URI", aadsts(50011), 400, operator, []string{"redirect URI", "Mobile and desktop"}},
	{"one tenant only", aadsts(50194), 400, operator, []string{"one tenant only", "GUID"}},
	{"personal only", aadsts(9002331), 400, operator, []string{"personal accounts only", "consumers"}},
	{"work only", aadsts(9002332), 400, operator, []string{"work and school", "organizations"}},
	{"no such grant on common", aadsts(9001023), 400, operator, []string{"/common or /consumers", "GUID"}},
	{"scope", aadsts(70011, 28002, 28003), 400, operator, []string{"scope", "offline_access"}},
	{"parameter missing", aadsts(900144), 400, operator, []string{"lacks a parameter", "scopes"}},
	{"resource parameter", aadsts(901002), 400, operator, []string{"resource", "v2.0"}},
	{"PKCE", aadsts(501481), 400, owner, []string{"another program", "again"}},
	{"code used", aadsts(54005), 400, owner, []string{"used before", "again"}},
	{"code of another tenant", aadsts(700005), 400, owner, []string{"another tenant", "tenant-1"}},
	{"no consent", aadsts(65001), 400, owner, []string{"Nobody has consented", "adminconsent?client_id=client-1"}},
	{"declined", aadsts(65004), 400, owner, []string{"declined", "mailflume connect alice"}},
	{"admin consent", aadsts(90094, 90095), 400, owner, []string{"administrator must consent", "adminconsent"}},
	{"not assigned", aadsts(50105), 400, owner, []string{"not assigned", "assign alice"}},
	{"expired", aadsts(70008), 400, owner, []string{"refresh token has expired.", "mailflume connect alice"}},
	{"90 days", aadsts(700082), 400, owner, []string{"90 days", "were not saved"}},
	{"24 hours", aadsts(700084), 400, owner, []string{"24 hours", "Single-page application"}},
	{"sign-in frequency", aadsts(70043), 400, owner, []string{"sign-in frequency", "exempt"}},
	{"password changed", aadsts(50173), 400, owner, []string{"password of alice was changed", "mailflume connect alice"}},
	{"grant malformed", aadsts(70000), 400, owner, []string{"not valid for this client", "client-1"}},
	{"second factor", aadsts(50076, 50079, 50074, 50072, 50078), 400, owner, []string{"second factor", "mailflume connect alice"}},
	{"conditional access", aadsts(53003, 53000, 530032), 400, owner, []string{"polic", "every hour"}},
	{"security defaults", aadsts(530035), 400, owner, []string{"security defaults"}},
	{"user disabled", aadsts(50057), 400, owner, []string{"is disabled", "administrator"}},
	{"account locked", aadsts(50053), 400, owner, []string{"locked", "Unlock"}},
	{"password expired", aadsts(50055), 400, owner, []string{"password of alice has expired", "Change"}},
	{"user not in the tenant", aadsts(50034, 50020, 500208), 400, owner, []string{"account alice", "tenant-1"}},
	{"loop", aadsts(50196), 400, nobody, []string{"same refresh too often", "Another program"}},
	{"assertion invalid", aadsts(50012, 50013), 400, operator, []string{"assertion is not valid", "certificate"}},
	{"assertion's times", aadsts(500133), 400, nobody, []string{"times are off", "NTP"}},
	{"throttled", aadsts(90055), 429, nobody, []string{"throttles"}},
	{"passing failures", aadsts(90033, 90024, 50033, 90006, 50087), 400, nobody, []string{"sign-in service", "tried again"}},
	{"device code: wait", aadsts(70016), 400, nobody, []string{"entered the device code yet"}},
	{"device code: unknown", aadsts(70018), 400, owner, []string{"not known", "--device"}},
	{"device code: too late", aadsts(70019), 400, owner, []string{"in time", "--device"}},
}

// Every row of the two tables has its own sentence and fix, in the class that the table gives it.
func TestEveryRow(t *testing.T) {
	for provider, rows := range map[string][]row{"google": googleRows, "microsoft": microsoftRows} {
		said := map[string]string{}
		for _, r := range rows {
			t.Run(provider+"/"+r.name, func(t *testing.T) {
				for _, body := range r.answers {
					v := answered(t, r.status, body)
					if v.who != r.want {
						t.Errorf("%s: %d, want %d", body, v.who, r.want)
					}
					p := v.problem
					for _, s := range r.says {
						if !strings.Contains(p.Sentence+" "+p.Hint, s) {
							t.Errorf("%s: no %q in %q, %q", body, s, p.Sentence, p.Hint)
						}
					}
					if p.Hint == "" || strings.ContainsAny(p.Sentence+p.Hint, "{}") {
						t.Errorf("%s: %+v", body, p)
					}
					key := p.Sentence
					if other := said[key]; other != "" && other != r.name {
						t.Errorf("says the same as %s: %s", other, key)
					}
					said[key] = r.name
				}
			})
		}
	}
}

func answered(t *testing.T, status int, body string) verdict {
	t.Helper()
	base := newHTTPClient(roundTripper(func(*http.Request) (*http.Response, error) { return reply(status, body), nil }))
	a := account("alice", "rt-canary-0")
	_, failed := post(t.Context(), base, a.Client, NewSecret("secret-canary"), map[string][]string{"grant_type": {"refresh_token"}})
	if failed == nil {
		t.Fatal("it was granted")
	}
	return classify(a, &grant{}, failed, time.Now())
}

// The guides have the same tables beside the steps.
func TestGuidesHaveEveryAnswer(t *testing.T) {
	guide := func(file string) string {
		text, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	microsoft := guide("microsoft.md")
	for _, k := range microsoftFacts {
		if k.aadsts < 70016 || k.aadsts > 70019 { // waiting for a device code needs no table
			if k.aadsts != 501481 && k.aadsts != 54005 && k.aadsts != 700005 && !regexp.MustCompile(fmt.Sprintf(`\b(AADSTS)?%d\b`, k.aadsts)).MatchString(microsoft) {
				t.Errorf("docs/microsoft.md lacks %d", k.aadsts)
			}
		}
	}
	google := strings.ToLower(guide("google.md"))
	for _, k := range googleFacts {
		switch k.code {
		case "invalid_scope": // only with scopes set by hand
		default:
			if !strings.Contains(google, k.code) {
				t.Errorf("docs/google.md lacks %s", k.code)
			}
		}
	}
}

// What is known of an end is said in time, with what to do.
func TestForecast(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	a := account("alice", "rt")
	a.Client.Idle = 90 * day
	fresh := Status{Mailbox: "alice", State: Idle, RefreshAt: now.Add(-time.Hour), RenewedAt: now.Add(-time.Hour)}
	tests := []struct {
		name   string
		change func(a *Account, s *Status)
		code   string
		says   string
	}{
		{"nothing", func(*Account, *Status) {}, "", ""},
		{"secret far away", func(a *Account, _ *Status) { a.Client.SecretEnds = now.Add(31 * day) }, "", ""},
		{"secret soon", func(a *Account, _ *Status) { a.Client.SecretEnds = now.Add(29 * day) }, "secret_expires", "2026-12-21"},
		{"secret gone", func(a *Account, _ *Status) { a.Client.SecretEnds = now.Add(-day) }, "secret_expires", "has expired"},
		{"testing app", func(_ *Account, s *Status) { s.RefreshEnds, s.RefreshAt = now.Add(day), now.Add(-6*day) }, "refresh_token_ends", "In production"},
		{"time-limited access", func(_ *Account, s *Status) { s.RefreshEnds, s.RefreshAt = now.Add(day), now.Add(-89*day) }, "refresh_token_ends", "mailflume connect alice"},
		{"end far away", func(_ *Account, s *Status) { s.RefreshEnds = now.Add(5 * day) }, "", ""},
		{"90 days, not renewed", func(_ *Account, s *Status) { s.RefreshAt, s.RenewedAt = now.Add(-76*day), now.Add(-76*day) }, "refresh_token_ages", "after 90"},
		{"90 days, renewed without a new one", func(a *Account, s *Status) { a.Client.Rotates, s.RefreshAt = true, now.Add(-76*day) }, "refresh_token_ages", "76 days"},
		{"40 days without a new one", func(a *Account, s *Status) { a.Client.Rotates, s.RefreshAt = true, now.Add(-40*day) }, "refresh_token_kept", "offline_access"},
		{"180 days, in use", func(a *Account, s *Status) { a.Client.Idle, s.RefreshAt = 180*day, now.Add(-400*day) }, "", ""},
		{"180 days, unused", func(a *Account, s *Status) {
			a.Client.Idle, s.RefreshAt, s.RenewedAt = 180*day, now.Add(-400*day), now.Add(-151*day)
		}, "refresh_token_ages", "151 days"},
		{"app", func(a *Account, s *Status) { a.Client.App, s.RefreshAt = true, now.Add(-400*day) }, "", ""},
		{"dead anyway", func(_ *Account, s *Status) { s.State, s.RefreshAt = NeedsPerson, now.Add(-400*day) }, "", ""},
	}
	for _, tt := range tests {
		a, s := a, fresh
		tt.change(&a, &s)
		got := a.Forecast(s, now)
		if tt.code == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Code != tt.code || !strings.Contains(got[0].Sentence+got[0].Hint, tt.says) || got[0].Hint == "" {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
