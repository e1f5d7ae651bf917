// The npm package `oidc-provider` on a port of the system's choice, and people who use it.
//
// Its access tokens for `urn:chat:jwt` are JWTs, for `urn:chat:opaque` random strings. Both carry `sid`, which the package
// puts into ID tokens only. It sends log-out notices to the URL in `BACKCHANNEL`.
import { answer } from './lines.mjs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import * as dpop from 'dpop';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { Browser, form } from './browser.mjs';

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

// Nothing listens here: the browser stops at this URL.
const redirect = 'http://127.0.0.1:9/signed-in';
const web = { client_id: 'web', client_secret: 'web-secret-web-secret-web' };
const machine = { client_id: 'machine', client_secret: 'machine-secret-machine-se' };
const resourceServer = { client_id: 'chat', client_secret: 'chat-secret-chat-secret-c' };

const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const key = { ...(await exportJWK(privateKey)), kid: 'provider-1', alg: 'RS256', use: 'sig' };

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  cookies: { keys: ['a key for tests'] },
  clients: [
    {
      ...web,
      application_type: 'native', // The others may not redirect to loopback.
      redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
      backchannel_logout_uri: process.env.BACKCHANNEL,
      backchannel_logout_session_required: true,
    },
    {
      ...machine,
      redirect_uris: [],
      grant_types: ['client_credentials'],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    },
    {
      ...resourceServer,
      redirect_uris: [],
      grant_types: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
      introspection_signed_response_alg: 'RS256',
    },
  ],
  // Its own dispatcher refuses loopback addresses.
  fetch: (url, { dispatcher, ...init }) => fetch(url, init),
  pkce: { required: () => false },
  claims: { openid: ['sub', 'sid'] },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (context) => {
    const { AuthorizationCode, RefreshToken } = context.oidc.entities;
    return { sid: (AuthorizationCode ?? RefreshToken)?.sid };
  },
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, audience) => ({
        audience,
        scope: 'chat',
        accessTokenTTL: 600,
        accessTokenFormat: audience === 'urn:chat:jwt' ? 'jwt' : 'opaque',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
server.on('request', provider.callback());

const browsers = new Map();
const tokens = async (fields, headers) => {
  const response = await fetch(`${issuer}/token`, form(fields, headers));
  if (!response.ok) throw new Error(await response.text());
  return response.json();
};

let keys;
await answer({ issuer }, {
  // Signs in with a new browser, which `sign_out` knows by its name.
  async sign_in({ browser: name, account, resource }) {
    const browser = new Browser();
    browsers.set(name, browser);
    const request = { client_id: 'web', response_type: 'code', scope: 'openid chat', redirect_uri: redirect, resource };
    let page = await browser.open(`${issuer}/auth?${new URLSearchParams(request)}`, {}, redirect);
    while (page.html) page = await browser.submit(page, { login: account, password: 'any' }, redirect);
    const code = new URL(page.url).searchParams.get('code');
    return tokens({ ...web, grant_type: 'authorization_code', code, redirect_uri: redirect, resource });
  },
  // Returns once the provider has sent its notices.
  async sign_out({ browser: name }) {
    const browser = browsers.get(name);
    const page = await browser.open(`${issuer}/session/end?client_id=web`);
    await browser.submit(page, { logout: 'yes' });
  },
  async revoke({ token }) {
    const response = await fetch(`${issuer}/token/revocation`, form({ ...web, token }));
    return response.status;
  },
  // A token that is bound to a new key.
  async bound_token({ resource }) {
    keys = await dpop.generateKeyPair('ES256');
    const proof = await dpop.generateProof(keys, `${issuer}/token`, 'POST');
    return tokens({ ...machine, grant_type: 'client_credentials', scope: 'chat', resource }, { DPoP: proof });
  },
  // A proof by that key for a handshake.
  proof: ({ url, nonce, token }) => dpop.generateProof(keys, url, 'GET', nonce ?? undefined, token),
});
