package sim

import (
	"fmt"
	"net/http"
)

// aadsts are Microsoft's numbered errors: status, error, text, suberror. The numbers, errors and the texts of 7000222,
// 7000215, 700082, 900144, 90002 and 65001 are as our provider reference has them. The other texts, and the HTTP status of
// all but 7000222 and 7000215, are not in it and are written from memory: match on the number, never on these.
var aadsts = map[int]OAuthError{
	7000222: {401, "invalid_client", "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", "", 0, false},
	7000215: {401, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'.", "", 0, false},
	7000218: {401, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", "", 0, false},
	700025:  {401, "invalid_client", "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.", "", 0, false},
	700027:  {401, "invalid_client", "Client assertion failed signature validation.", "", 0, false},
	700016:  {400, "unauthorized_client", "Application with identifier '{app}' was not found in the directory '{tenant}'.", "", 0, false},
	7000112: {400, "unauthorized_client", "Application '{app}' is disabled.", "", 0, false},
	500011:  {400, "invalid_resource", "The resource principal was not found in the tenant.", "", 0, false},
	90002:   {400, "invalid_request", "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", "", 0, false},
	50011:   {400, "invalid_request", "The redirect URI specified in the request does not match the redirect URIs configured for the application.", "", 0, false},
	50194:   {400, "invalid_request", "Application '{app}' is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or configure the application to be multi-tenant.", "", 0, false},
	9002331: {400, "invalid_request", "Application '{app}' is configured for use by Microsoft Account users only. Please use the /consumers endpoint to serve this request.", "", 0, false},
	9002332: {400, "invalid_request", "Application '{app}' is configured for use by Azure Active Directory users only. Please do not use the /consumers endpoint to serve this request.", "", 0, false},
	9001023: {400, "invalid_request", "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.", "", 0, false},
	70011:   {400, "invalid_scope", "The provided value for the input parameter 'scope' is not valid.", "", 0, false},
	70003:   {400, "unsupported_grant_type", "The app requested an unsupported grant type.", "", 0, false},
	900144:  {400, "invalid_request", "The request body must contain the following parameter: 'scope'.", "", 0, false},
	501481:  {400, "invalid_grant", "The Code_Verifier does not match the code_challenge supplied in the authorization request.", "", 0, false},
	54005:   {400, "invalid_grant", "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.", "", 0, false},
	65001:   {400, "invalid_grant", "The user or administrator has not consented to use the application with ID '{app}' named '{app}'. Send an interactive authorization request for this user and resource.", "consent_required", 0, false},
	65004:   {400, "access_denied", "User declined to consent to access the app.", "", 0, false},
	70008:   {400, "invalid_grant", "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.", "", 0, false},
	700082:  {400, "invalid_grant", "The refresh token has expired due to inactivity. The token was issued on {issued} and was inactive for 90.00:00:00.", "", 0, false},
	700084:  {400, "invalid_grant", "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime of 1.00:00:00, which can not be extended. It is now expired and a new sign in request must be sent by the SPA to the sign in page. The token was issued on {issued}.", "", 0, false},
	70043:   {400, "invalid_grant", "The refresh token has expired or is invalid due to sign-in frequency checks by conditional access.", "bad_token", 0, false},
	50173:   {400, "invalid_grant", "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. The grant was issued on '{issued}' and the TokensValidFrom date (before which tokens are not valid) for this user is '{now}'.", "bad_token", 0, false},
	70000:   {400, "invalid_grant", "The provided grant is invalid or malformed.", "", 0, false},
	50076:   {400, "interaction_required", "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'.", "basic_action", 0, false},
	50079:   {400, "interaction_required", "Due to a configuration change made by your administrator, or because you moved to a new location, you must enroll in multi-factor authentication to access '00000002-0000-0ff1-ce00-000000000000'.", "basic_action", 0, false},
	53003:   {400, "interaction_required", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.", "message_only", 0, false},
	50057:   {400, "invalid_grant", "The user account is disabled.", "", 0, false},
	50053:   {400, "invalid_grant", "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.", "", 0, false},
	50055:   {400, "invalid_grant", "The password is expired.", "", 0, false},
	50034:   {400, "invalid_grant", "The user account does not exist in the directory.", "", 0, false},
	50196:   {400, "invalid_grant", "The server terminated an operation because it encountered a loop while processing a request.", "", 0, false},
	500133:  {400, "invalid_grant", "Assertion is not within its valid time range.", "", 0, false},
	90055:   {http.StatusTooManyRequests, "temporarily_unavailable", "The server has terminated the request because the tenant is being throttled.", "", 0, false},
	90033:   {503, "temporarily_unavailable", "A transient error has occurred. Please try again.", "", 0, false},
	50033:   {503, "server_error", "A retryable error occurred.", "", 0, false},
	70016:   {400, "authorization_pending", "OAuth 2.0 device flow error. Authorization is pending. Continue polling.", "", 0, false},
	70018:   {400, "bad_verification_code", "Invalid verification code due to user typing in wrong user code for device code flow.", "", 0, false},
	70019:   {400, "expired_token", "Verification code expired.", "", 0, false},
}

// MicrosoftError returns an error of Microsoft's token endpoint by its AADSTS number. An unknown number is a mistake in
// the test, and panics.
func MicrosoftError(code int) OAuthError {
	e, ok := aadsts[code]
	if !ok {
		panic(fmt.Sprintf("sim: no text for AADSTS%d", code))
	}
	e.AADSTS = code
	return e
}

// about fills in what the text leaves open.
func (e OAuthError) about(pairs ...string) OAuthError {
	e.Description = fill(e.Description, pairs...)
	return e
}
