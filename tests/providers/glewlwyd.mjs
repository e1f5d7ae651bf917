// Sets up a new Glewlwyd at the URL in `GLEWLWYD` as a provider, and drives its users.
//
// Its access tokens have no `sid`, its ID tokens do. It sends log-out notices to the URL in `BACKCHANNEL`.
import { answer } from './lines.mjs';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeJwt, exportJWK, generateKeyPair } from 'jose';
import { Browser, basic, form } from './browser.mjs';

const server = process.env.GLEWLWYD;
const issuer = `${server}/api/oidc`;
const redirect = 'http://127.0.0.1:9/signed-in';
const [client, secret] = ['web', 'web-secret-web-secret-web'];

async function call(browser, method, path, value) {
  const headers = { 'content-type': 'application/json' };
  const response = await browser.fetch(`${server}/api${path}`, { method, headers, body: JSON.stringify(value) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
}

const logIn = (browser, username) => call(browser, 'POST', '/auth/', { username, password: 'password' });

async function setUp() {
  const admin = new Browser();
  // It has just been started.
  for (let attempt = 0; ; attempt += 1) {
    try {
      await logIn(admin, 'admin');
      break;
    } catch (error) {
      if (attempt === 200) throw error;
      await sleep(50);
    }
  }
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const keys = [{ ...(await exportJWK(privateKey)), kid: 'glewlwyd-1', alg: 'RS256' }];
  await call(admin, 'POST', '/scope', { name: 'chat', display_name: 'chat', password_required: false });
  await call(admin, 'POST', '/user', { username: 'alice', password: 'password', scope: ['openid', 'chat'], enabled: true });
  await call(admin, 'POST', '/mod/plugin/', {
    module: 'oidc',
    name: 'oidc',
    display_name: 'oidc',
    enabled: true,
    parameters: {
      iss: issuer,
      'jwt-type': 'rsa',
      'jwt-key-size': '256',
      'jwks-private': JSON.stringify({ keys }),
      'jwks-show': true,
      'code-duration': 600,
      'refresh-token-duration': 3600,
      'access-token-duration': 600,
      'allow-non-oidc': false,
      'auth-type-client-enabled': true,
      'auth-type-code-enabled': true,
      'auth-type-token-enabled': false,
      'auth-type-implicit-enabled': false,
      'auth-type-password-enabled': false,
      'auth-type-refresh-enabled': true,
      'session-management-allowed': true,
      'session-cookie-name': 'OIDC_SID',
      'session-cookie-expiration': 3600,
      'back-channel-logout-allowed': true,
      'introspection-revocation-allowed': true,
      'introspection-revocation-allow-target-client': true,
      'resource-allowed': true,
      'resource-scope': { chat: ['https://chat.example.com'] },
    },
  });
  await call(admin, 'POST', '/client/', {
    client_id: client,
    client_secret: secret,
    confidential: true,
    token_endpoint_auth_method: ['client_secret_basic'],
    enabled: true,
    redirect_uri: [redirect],
    authorization_type: ['code', 'client_credentials'],
    backchannel_logout_uri: process.env.BACKCHANNEL,
    backchannel_logout_session_required: '1',
  });
}

const browsers = new Map();

await setUp();
await answer({ issuer }, {
  async sign_in({ browser: name, account }) {
    const browser = new Browser();
    await logIn(browser, account);
    await call(browser, 'PUT', `/auth/grant/${client}`, { scope: 'openid chat' });
    const request = {
      client_id: client,
      response_type: 'code',
      scope: 'openid chat',
      redirect_uri: redirect,
      resource: 'https://chat.example.com',
      nonce: 'a-nonce-for-tests',
    };
    const { url } = await browser.open(`${issuer}/auth?g_continue&${new URLSearchParams(request)}`, {}, redirect);
    const code = new URL(url).searchParams.get('code');
    const exchange = { grant_type: 'authorization_code', code, redirect_uri: redirect };
    const response = await fetch(`${issuer}/token`, form(exchange, basic(client, secret)));
    if (!response.ok) throw new Error(await response.text());
    const tokens = await response.json();
    browsers.set(name, { browser, sid: decodeJwt(tokens.id_token).sid });
    return tokens;
  },
  async sign_out({ browser: name }) {
    const { browser, sid } = browsers.get(name);
    await call(browser, 'DELETE', `/oidc/session/${sid}`);
  },
  async revoke({ token }) {
    return (await fetch(`${issuer}/revoke`, form({ token }, basic(client, secret)))).status;
  },
});
