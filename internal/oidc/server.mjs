// The provider of the test: it signs in alice@example.com, consents to whatever is asked for, rotates every refresh token and
// revokes the grant when an old one is used again. It prints its issuer when it is ready.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const redirect = 'http://127.0.0.1/';

async function interact(provider, req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  if (prompt.name === 'login') {
    const accountId = params.login_hint || 'alice@example.com';
    return provider.interactionFinished(req, res, { login: { accountId } }, { mergeWithLastSubmission: false });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  return provider.interactionFinished(req, res, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

const server = createServer((req, res) => {
  if (!req.url.startsWith('/interaction/')) {
    return handle(req, res);
  }
  return interact(provider, req, res).catch((err) => {
    res.statusCode = 500;
    res.end(String(err));
  });
});

let provider;
let handle;
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'mailflume',
      client_secret: 'the-client-secret',
      application_type: 'native', // any port of 127.0.0.1 may be redirected to
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [redirect],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['of the test'] },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: id, email_verified: true }) }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    pkce: { methods: ['S256'], required: () => true },
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access', 'email', 'mail'],
    ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 600 },
  });
  handle = provider.callback();
  console.log(issuer);
});
