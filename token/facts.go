package token

import "time"

// who must act on an answer of a token endpoint.
type who int

const (
	unknown  who = iota
	owner        // the mailbox's owner: GrantError
	operator     // whoever runs the OAuth client: ClientError
	nobody       // time: UnavailableError
)

// reach says which mailboxes an answer concerns that the operator must act on.
type reach int

const (
	ofClient  reach = iota // all of the client
	ofTenant               // those of one tenant: if the client serves many, nobody else's
	ofMailbox              // this one, or its domain
)

// fact is what we know about one answer. A fact fits if everything that it names is in the answer; the first fact that
// fits counts, so the narrow ones stand before the wide ones.
type fact struct {
	aadsts  int    // Microsoft's number
	code    string // the field "error"
	says    string // part of the field "error_description" or of "error_subtype", any case
	who     who
	reach   reach         // of what the operator must mend: which mailboxes it concerns
	retry   time.Duration // GrantError: the same refresh token may work again later; 0: it never will. UnavailableError: the least wait
	problem string
	hint    string // {mailbox}, {client}, {client_id}, {host}, {tenant}, {skew}, {issued}
}

const (
	adminRetry = time.Hour // how often to look whether an administrator has fixed it

	signInAgain = "Sign in again, on the status page or with mailflume connect {mailbox}. (Or put a new refresh token where the configuration of the mailbox points.) It is picked up without a restart."
	askAdmin    = "Ask the administrator of {mailbox}'s organisation. It is tried again every hour; no new sign-in is needed unless they say so."
)

// googleFacts are the answers of Google (developers.google.com/identity/protocols/oauth2, and what its users report).
var googleFacts = []fact{
	{code: "invalid_grant", says: "reasonable timeframe", who: nobody, retry: time.Minute, problem: "Google refuses our assertion because its times are off: the clock of this host is wrong{skew}.", hint: "Fix NTP on this host."},
	{code: "invalid_grant", says: "Invalid JWT Signature", who: operator, problem: "Google refuses the signature of the service account: its key was deleted or is another one's.", hint: "Create a new key for the service account and point the configuration of client {client} to it."},
	{code: "invalid_grant", says: "Failed audience check", who: operator, problem: "Google refuses the audience of our assertion.", hint: "Set the token endpoint of client {client} to https://oauth2.googleapis.com/token."},
	{code: "invalid_grant", says: "account not found", who: operator, problem: "The service account does not exist.", hint: "Check the key file of client {client}: its service account was deleted."},
	{code: "invalid_grant", says: "Invalid email or User ID", who: owner, retry: adminRetry, problem: "{mailbox} is not an account of the domain that the service account may act for.", hint: "Check the address of mailbox {mailbox}."},
	{code: "invalid_grant", says: "Account has been deleted", who: owner, problem: "The Google account {mailbox} has been deleted.", hint: "Remove mailbox {mailbox} from the configuration, or connect another account."},
	{code: "invalid_grant", says: "rapt", who: owner, retry: adminRetry, problem: "The Workspace's session control asks {mailbox} to sign in again.", hint: "Ask the Workspace administrator to mark this client as Trusted (exempt from reauthentication), else this comes back. " + signInAgain},
	{code: "invalid_grant", says: "expired or revoked", who: owner, problem: "Google has revoked the refresh token of {mailbox}, or it expired.", hint: signInAgain + " If it recurs, check that no other system mints tokens with this client id (100 an account), and that the password does not change."},
	{code: "invalid_grant", says: "Bad Request", who: owner, problem: "Google does not know this refresh token for this client.", hint: "Check that the refresh token was issued to client id {client_id}. " + signInAgain},
	{code: "invalid_client", says: "OAuth client was not found", who: operator, problem: "Google does not know the client id.", hint: "Compare the id of client {client} with the Cloud console, APIs & Services, Credentials."},
	{code: "invalid_client", says: "Unauthorized", who: operator, problem: "Google refuses the client secret.", hint: "Copy the secret of client {client} from the Cloud console again."},
	{code: "unauthorized_client", says: "not authorized for any of the scopes", who: operator, reach: ofMailbox, problem: "The service account is not authorised for this scope in the domain.", hint: "Admin console, Security, API controls, Domain-wide delegation: client id {client_id}, scope https://mail.google.com/ (exactly)."},
	{code: "unauthorized_client", says: "Unauthorized", who: owner, problem: "The refresh token belongs to another OAuth client.", hint: "Check that the refresh token was issued to client id {client_id}. " + signInAgain},
	{code: "deleted_client", who: operator, problem: "The OAuth client was deleted.", hint: "Create a new client, configure it as client {client}, and sign in again for each of its mailboxes (Google deletes clients unused for 6 months)."},
	{code: "admin_policy_enforced", who: owner, retry: adminRetry, problem: "The Workspace administrator restricts access to mail for this app.", hint: "Ask the Workspace administrator to trust client id {client_id} under Security, API controls."},
	{code: "org_internal", who: operator, reach: ofMailbox, problem: "The app is Internal and {mailbox} is not in its organisation.", hint: "Set the user type of the consent screen of client {client} to External."},
	{code: "invalid_scope", who: operator, problem: "The provider refuses the scopes.", hint: "Check the scopes of client {client}; for Gmail it is https://mail.google.com/ with the slash at its end, for Outlook https://outlook.office.com/IMAP.AccessAsUser.All offline_access."},
	{code: "redirect_uri_mismatch", who: operator, problem: "The redirect URI is not registered for the client.", hint: "Register exactly our redirect URI for client {client}."},
}

// microsoftFacts are the answers of Microsoft (learn.microsoft.com/entra/identity-platform/reference-error-codes).
var microsoftFacts = []fact{
	{aadsts: 7000222, who: operator, problem: "The client secret has expired.", hint: "Create a new secret for client {client} under App registrations, Certificates & secrets, or use a certificate: https://aka.ms/NewClientSecret"},
	{aadsts: 7000215, who: operator, problem: "The client secret is wrong.", hint: "You probably pasted the secret's ID. Use the Value, which is shown once when it is created."},
	{aadsts: 7000218, who: operator, problem: "The app is registered as confidential and no secret was sent.", hint: "Configure the secret of client {client}, or set \"Allow public client flows\" in its registration."},
	{aadsts: 700025, who: operator, problem: "The app is registered as public, and a secret was sent.", hint: "Remove the secret from client {client}."},
	{aadsts: 700027, who: operator, problem: "The signature of the client's certificate is not accepted.", hint: "Upload the certificate to the app registration of client {client}, and check the clock of this host{skew}."},
	{aadsts: 700016, who: operator, reach: ofTenant, problem: "The app is not known in this tenant.", hint: "Check the client id {client_id} and the tenant {tenant} of client {client}."},
	{aadsts: 7000112, who: operator, reach: ofTenant, problem: "The app is disabled in its tenant.", hint: "Ask the administrator to enable the enterprise application {client_id}."},
	{aadsts: 700011, who: operator, reach: ofTenant, problem: "The tenant does not know the mail service that the scope names.", hint: "Check the scopes of client {client}, and that the tenant has Exchange Online."},
	{aadsts: 500011, who: operator, reach: ofTenant, problem: "The tenant does not know the mail service that the scope names.", hint: "Check the scopes of client {client}, and that the tenant has Exchange Online."},
	{aadsts: 650052, who: operator, reach: ofTenant, problem: "The app has no permission for this service.", hint: "Add IMAP.AccessAsUser.All to the API permissions of client {client}."},
	{aadsts: 650056, who: operator, reach: ofTenant, problem: "The permission is missing in the app registration.", hint: "Add IMAP.AccessAsUser.All to the API permissions of client {client}."},
	{aadsts: 650057, who: operator, reach: ofTenant, problem: "The permission is missing in the app registration.", hint: "Add IMAP.AccessAsUser.All to the API permissions of client {client}."},
	{aadsts: 90002, who: operator, problem: "The tenant does not exist in this cloud.", hint: "Set the tenant of client {client} to the tenant's GUID, organizations or consumers, and check its cloud."},
	{aadsts: 90038, who: operator, problem: "The tenant lives in another cloud.", hint: "Set the cloud of client {client}: gcc-high, dod or china."},
	{aadsts: 900382, who: operator, problem: "The tenant lives in another cloud.", hint: "Set the cloud of client {client}: gcc-high, dod or china."},
	{aadsts: 50011, who: operator, problem: "The redirect URI is not registered.", hint: "Register exactly our redirect URI for client {client} (platform: Mobile and desktop, or Web)."},
	{aadsts: 50194, who: operator, problem: "The app is registered for one tenant only, and /common was asked.", hint: "Set the tenant of client {client} to the tenant's GUID."},
	{aadsts: 9002331, who: operator, problem: "The app is for personal accounts only.", hint: "Set the tenant of client {client} to consumers."},
	{aadsts: 9002332, who: operator, problem: "The app is for work and school accounts only.", hint: "Set the tenant of client {client} to organizations or the tenant's GUID."},
	{aadsts: 9001023, who: operator, problem: "This way to a token does not work on /common or /consumers.", hint: "Set the tenant of client {client} to the tenant's GUID."},
	{aadsts: 70011, who: operator, problem: "The scope is not valid.", hint: "Set the scopes of client {client} to https://outlook.office.com/IMAP.AccessAsUser.All offline_access."},
	{aadsts: 28002, who: operator, problem: "The scope is not valid.", hint: "Set the scopes of client {client} to https://outlook.office.com/IMAP.AccessAsUser.All offline_access."},
	{aadsts: 28003, who: operator, problem: "The scope is empty.", hint: "Set the scopes of client {client} to https://outlook.office.com/IMAP.AccessAsUser.All offline_access."},
	{aadsts: 900144, who: operator, problem: "The request lacks a parameter, often the scope.", hint: "Set the scopes of client {client} to https://outlook.office.com/IMAP.AccessAsUser.All offline_access."},
	{aadsts: 901002, who: operator, problem: "The endpoint does not take the parameter resource.", hint: "Use the v2.0 token endpoint for client {client}, and scopes."},
	{aadsts: 65001, who: owner, retry: adminRetry, problem: "Nobody has consented that this app reads the mail of {mailbox}.", hint: "Consent by signing in again, or as administrator: https://{host}/{tenant}/adminconsent?client_id={client_id}"},
	{aadsts: 65004, who: owner, problem: "Whoever signed in for {mailbox} declined to consent.", hint: signInAgain},
	{aadsts: 90094, who: owner, retry: adminRetry, problem: "An administrator must consent to this app.", hint: "Admin consent: https://{host}/{tenant}/adminconsent?client_id={client_id}"},
	{aadsts: 90095, who: owner, retry: adminRetry, problem: "An administrator must consent to this app.", hint: "Admin consent: https://{host}/{tenant}/adminconsent?client_id={client_id}"},
	{aadsts: 50105, who: owner, retry: adminRetry, problem: "{mailbox} is not assigned to the application.", hint: "Ask the administrator to assign {mailbox} to the enterprise application {client_id}."},
	{aadsts: 70008, who: owner, problem: "The refresh token has expired.", hint: signInAgain},
	{aadsts: 700082, who: owner, problem: "The refresh token was not used for 90 days and has expired; the stored one is of {issued}.", hint: signInAgain + " If the program ran all the time, the renewed tokens were not saved: check that the store of grants keeps what is written."},
	{aadsts: 700084, who: owner, problem: "The refresh token has expired after 24 hours, as those of a single-page application do.", hint: "Move the redirect URI of client {client} from Single-page application to Web or Mobile and desktop. " + signInAgain},
	{aadsts: 70043, who: owner, problem: "A Conditional Access policy on sign-in frequency has ended the sign-in of {mailbox}.", hint: signInAgain + " Ask the administrator to exempt this app, else this comes back."},
	{aadsts: 50173, who: owner, problem: "The password of {mailbox} was changed, or an administrator revoked the sign-ins.", hint: signInAgain},
	{aadsts: 70000, says: "service abuse", who: owner, retry: adminRetry, problem: "Microsoft has blocked the account {mailbox}.", hint: "Sign in at https://account.live.com and unlock it."},
	{aadsts: 70000, who: owner, problem: "The refresh token is not valid for this client.", hint: "Check that it was issued to client id {client_id}. " + signInAgain},
	{aadsts: 50076, who: owner, problem: "{mailbox} must prove a second factor.", hint: signInAgain},
	{aadsts: 50079, who: owner, problem: "{mailbox} must enrol for a second factor.", hint: signInAgain},
	{aadsts: 50074, who: owner, problem: "{mailbox} must prove a second factor.", hint: signInAgain},
	{aadsts: 50072, who: owner, problem: "{mailbox} must enrol for a second factor.", hint: signInAgain},
	{aadsts: 50078, who: owner, problem: "The second factor of {mailbox} has expired.", hint: signInAgain},
	{aadsts: 53003, who: owner, retry: adminRetry, problem: "A Conditional Access policy blocks this sign-in.", hint: "Exclude the app {client_id} or this network from the policy. " + askAdmin},
	{aadsts: 53000, who: owner, retry: adminRetry, problem: "A Conditional Access policy wants a compliant device.", hint: "Exclude the app {client_id} from the policy. " + askAdmin},
	{aadsts: 530032, who: owner, retry: adminRetry, problem: "A security policy of the organisation blocks this sign-in.", hint: askAdmin},
	{aadsts: 530035, who: owner, retry: adminRetry, problem: "The organisation's security defaults block this sign-in.", hint: askAdmin},
	{aadsts: 50057, who: owner, retry: adminRetry, problem: "The account {mailbox} is disabled.", hint: askAdmin},
	{aadsts: 50053, who: owner, retry: adminRetry, problem: "The account {mailbox} is locked, or signs in from an address that Microsoft distrusts.", hint: "Unlock the account. It is tried again every hour."},
	{aadsts: 50055, who: owner, problem: "The password of {mailbox} has expired.", hint: "Change the password. " + signInAgain},
	{aadsts: 50034, who: owner, retry: adminRetry, problem: "The account {mailbox} does not exist in this tenant.", hint: "Check the address of mailbox {mailbox} and the tenant {tenant} of client {client}."},
	{aadsts: 50020, who: owner, retry: adminRetry, problem: "The account {mailbox} is of another tenant.", hint: "Check the tenant {tenant} of client {client}."},
	{aadsts: 500208, who: owner, retry: adminRetry, problem: "The account {mailbox} is of a kind that this app does not admit.", hint: "Check the tenant {tenant} and the account types of client {client}."},
	{aadsts: 501481, who: owner, problem: "The sign-in was finished by another program than began it.", hint: "Begin the sign-in again, and finish it with the same mailflume connect."},
	{aadsts: 54005, who: owner, problem: "The code of this sign-in was used before.", hint: "Begin the sign-in again: mailflume connect {mailbox}."},
	{aadsts: 700005, who: owner, problem: "The code of this sign-in belongs to another tenant.", hint: "Check the tenant {tenant} of client {client}, and begin the sign-in again."},
	{aadsts: 70016, who: nobody, problem: "Nobody has entered the device code yet.", hint: "Enter the code on the page that was shown."},
	{aadsts: 70018, who: owner, problem: "The device code is not known.", hint: "Begin again: mailflume connect {mailbox} --device"},
	{aadsts: 70019, who: owner, problem: "Nobody entered the device code in time.", hint: "Begin again: mailflume connect {mailbox} --device"},
	{aadsts: 50196, who: nobody, retry: 15 * time.Minute, problem: "Microsoft has seen the same refresh too often.", hint: "Another program refreshes the same token, or the store of grants or a clock is wrong."},
	{aadsts: 50012, who: operator, problem: "The client's assertion is not valid.", hint: "Check the certificate of client {client} and the clock of this host{skew}."},
	{aadsts: 50013, who: operator, problem: "The client's assertion is not valid.", hint: "Check the certificate of client {client} and the clock of this host{skew}."},
	{aadsts: 500133, who: nobody, retry: time.Minute, problem: "Microsoft refuses our assertion because its times are off: the clock of this host is wrong{skew}.", hint: "Fix NTP on this host."},
	{aadsts: 90055, who: nobody, problem: "Microsoft throttles the tenant.", hint: "Nothing to do; it is tried again."},
	{aadsts: 90033, who: nobody, problem: "Microsoft's sign-in service has a passing failure.", hint: "Nothing to do; it is tried again."},
	{aadsts: 90024, who: nobody, problem: "Microsoft's sign-in service is busy.", hint: "Nothing to do; it is tried again."},
	{aadsts: 50033, who: nobody, problem: "Microsoft's sign-in service has a passing failure.", hint: "Nothing to do; it is tried again."},
	{aadsts: 90006, who: nobody, problem: "Microsoft's sign-in service has a passing failure.", hint: "Nothing to do; it is tried again."},
	{aadsts: 50087, who: nobody, problem: "Microsoft's sign-in service has a passing failure.", hint: "Nothing to do; it is tried again."},
}

// standardFacts are the answers of RFC 6749 and OpenID Connect, whoever gives them. An error that is not among them is
// taken for the operator's, and to concern this mailbox alone.
var standardFacts = []fact{
	{code: "invalid_grant", who: owner, problem: "The provider does not accept the refresh token of {mailbox} any more.", hint: signInAgain},
	{code: "interaction_required", who: owner, retry: adminRetry, problem: "The provider wants {mailbox} to sign in.", hint: signInAgain},
	{code: "login_required", who: owner, problem: "The provider wants {mailbox} to sign in.", hint: signInAgain},
	{code: "consent_required", who: owner, retry: adminRetry, problem: "Consent to read the mail of {mailbox} is missing.", hint: signInAgain},
	{code: "access_denied", who: owner, retry: adminRetry, problem: "Access to the mail of {mailbox} was denied: whoever signed in declined, or the app is still being tested (Google) and this account is not on its list.", hint: "Sign in again and allow it: mailflume connect {mailbox}. If Google's page said that the app is being tested, add the account under Audience, Test users, or publish the app."},
	{code: "authorization_declined", who: owner, problem: "The sign-in was declined on the other device.", hint: "Begin again: mailflume connect {mailbox} --device"},
	{code: "bad_verification_code", who: owner, problem: "The device code is not known.", hint: "Begin again: mailflume connect {mailbox} --device"},
	{code: "expired_token", who: owner, problem: "Nobody entered the device code in time.", hint: "Begin again: mailflume connect {mailbox} --device"},
	{code: "authorization_pending", who: nobody, problem: "Nobody has entered the device code yet.", hint: "Enter the code on the page that was shown."},
	{code: "invalid_token", who: owner, problem: "The token has expired or was revoked.", hint: signInAgain},
	{code: "invalid_request", who: operator, reach: ofMailbox, problem: "The provider finds a fault in our request.", hint: "Check the endpoints and the scopes of client {client}; if they are as documented, it is a mistake of mailflume: report it."},
	{code: "unsupported_grant_type", who: operator, problem: "The token endpoint does not know this way to a token.", hint: "Check the token endpoint of client {client}, and its grant (user or app)."},
	{code: "invalid_client", who: operator, problem: "The provider refuses the client id or its secret.", hint: "Check the id and the secret of client {client}."},
	{code: "unauthorized_client", who: operator, problem: "The client may not get a token in this way.", hint: "Check the registration of client {client}."},
	{code: "temporarily_unavailable", who: nobody, problem: "The token endpoint is unavailable for the moment.", hint: "Nothing to do; it is tried again."},
	{code: "server_error", who: nobody, problem: "The token endpoint has a failure of its own.", hint: "Nothing to do; it is tried again."},
	{code: "slow_down", who: nobody, problem: "The token endpoint is asked too often.", hint: "Nothing to do; it is tried again."},
}
