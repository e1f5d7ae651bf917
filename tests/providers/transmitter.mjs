// A transmitter of Shared Signals (SSF 1.0) on a port of the system's choice: metadata, keys, streams, push (RFC 8935) and
// poll (RFC 8936). Its events have the shapes of CAEP 1.0 and RISC 1.0, and those that Keycloak 26.7 and Okta send.
import { answer } from './lines.mjs';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';

const PUSH = 'urn:ietf:rfc:8935';
const POLL = 'urn:ietf:rfc:8936';
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const RISC = 'https://schemas.openid.net/secevent/risc/event-type/';
const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/';

// What a receiver must send to manage streams and to poll.
const ACCESS = 'Bearer management';

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const { publicKey, privateKey } = await generateKeyPair('RS256');
const key = { ...(await exportJWK(publicKey)), kid: 'transmitter-1', alg: 'RS256', use: 'sig' };

const now = () => Math.floor(Date.now() / 1000);
const user = (sub) => ({ format: 'iss_sub', iss: issuer, sub });
const opaque = (id) => ({ format: 'opaque', id });
const complex = (members) => ({ format: 'complex', ...members });
const set = (type, sub_id, event) => ({ sub_id, events: { [type]: { event_timestamp: now(), ...event } } });
const revoked = (sub_id, event) => set(`${CAEP}session-revoked`, sub_id, event);

// The claims of an event by its name.
const shapes = {
  'session-revoked of a user': ({ sub }) => revoked(user(sub)),
  'session-revoked of a session': ({ sid }) => revoked(opaque(sid)),
  'session-revoked of an email address': ({ email }) => revoked({ format: 'email', email }),
  'keycloak log-out': ({ sub, sid }) => revoked(complex({ user: user(sub), session: opaque(sid) }), { reason_admin: { en: 'User logout' } }),
  'keycloak log-out of all sessions': ({ sub }) => revoked(complex({ user: user(sub), session: opaque('ALL') })),
  'keycloak new password': ({ sub }) => set(`${CAEP}credential-change`, user(sub), { change_type: 'update', credential_type: 'password' }),
  'token-claims-change of a token': ({ jti }) => set(`${CAEP}token-claims-change`, { format: 'jwt_id', iss: issuer, jti }, { claims: { role: 'reader' } }),
  'token-claims-change of a user': ({ sub }) => set(`${CAEP}token-claims-change`, user(sub), { claims: { role: 'reader' } }),
  'account-disabled': ({ sub }) => set(`${RISC}account-disabled`, user(sub), { reason: 'hijacking' }),
  'stream-updated': ({ stream }) => set(`${SSF}stream-updated`, opaque(stream.stream_id), { status: 'paused' }),
  'unknown event': ({ sub }) => set('https://example.com/event', user(sub)),
};

async function sign(stream, { shape, claims, header, ...args }) {
  const body = { iss: issuer, jti: randomUUID(), iat: now(), aud: stream.aud, ...shapes[shape]({ ...args, stream }), ...claims };
  const token = new SignJWT(body).setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'secevent+jwt', ...header });
  return { jti: body.jti, token: await token.sign(privateKey) };
}

shapes.verification = ({ stream, state }) => ({ sub_id: opaque(stream.stream_id), events: { [`${SSF}verification`]: state && { state } } });

const streams = new Map();
const queue = new Map();
const errors = {};

async function deliver(stream, { jti, token }) {
  if (stream.delivery.method === POLL) {
    queue.set(jti, { stream, token });
    return { jti };
  }
  const { endpoint_url: url, authorization_header: authorization } = stream.delivery;
  const headers = { 'content-type': 'application/secevent+jwt', accept: 'application/json', ...(authorization && { authorization }) };
  const response = await fetch(url, { method: 'POST', headers, body: token });
  const answer = await response.text();
  return { jti, status: response.status, body: answer && JSON.parse(answer) };
}

function create({ delivery = { method: POLL }, events_requested: events = [], description }) {
  const stream_id = randomUUID();
  if (delivery.method === POLL) delivery.endpoint_url = `${issuer}/poll/${stream_id}`;
  const stream = { stream_id, iss: issuer, aud: `${issuer}/receiver`, events_delivered: events, events_requested: events, delivery, description };
  streams.set(stream_id, stream);
  return stream;
}

function poll(id, { maxEvents = 100, ack = [], setErrs = {} }) {
  for (const jti of [...ack, ...Object.keys(setErrs)]) queue.delete(jti);
  Object.assign(errors, setErrs);
  const waiting = [...queue].filter(([, { stream }]) => stream.stream_id === id);
  const sets = Object.fromEntries(waiting.slice(0, maxEvents).map(([jti, { token }]) => [jti, token]));
  return { sets, ...(waiting.length > maxEvents && { moreAvailable: true }) };
}

// Returns the status and the value of the answer.
async function handle(request, url, body) {
  const path = url.pathname;
  if (path === '/.well-known/ssf-configuration') {
    return [200, {
      spec_version: '1_0',
      issuer,
      jwks_uri: `${issuer}/jwks`,
      delivery_methods_supported: [PUSH, POLL],
      configuration_endpoint: `${issuer}/streams`,
      status_endpoint: `${issuer}/status`,
      verification_endpoint: `${issuer}/verify`,
      authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6749' }],
      default_subjects: 'ALL',
    }];
  }
  if (path === '/jwks') return [200, { keys: [key] }];
  if (request.headers.authorization !== ACCESS) return [401];
  const id = url.searchParams.get('stream_id') ?? body.stream_id;
  if (path === '/streams' && request.method === 'POST') {
    // The transmitter sets these.
    if (body.stream_id || body.iss || body.aud || body.events_delivered) return [400];
    return streams.size ? [409] : [201, create(body)];
  }
  if (path === '/streams' && request.method === 'GET') return [200, id ? streams.get(id) : [...streams.values()]];
  if (path === '/streams' && request.method === 'DELETE') return [streams.delete(id) ? 204 : 404];
  if (path === '/verify' && streams.has(id)) {
    const stream = streams.get(id);
    // The event may come before or after this answer (SSF 1.0 §8.1.4).
    setImmediate(async () => deliver(stream, await sign(stream, { shape: 'verification', state: body.state })));
    return [204];
  }
  if (path.startsWith('/poll/')) return [200, poll(path.slice('/poll/'.length), body)];
  return [404];
}

server.on('request', async (request, response) => {
  const body = await text(request);
  const [status, value] = await handle(request, new URL(request.url, issuer), body ? JSON.parse(body) : {});
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(value && JSON.stringify(value));
});

await answer({ issuer }, {
  // An access token of the same issuer, a minute old.
  access_token: async (claims) => {
    const token = new SignJWT({ iss: issuer, aud: 'chat', iat: now() - 60, exp: now() + 600, ...claims });
    return token.setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'at+jwt' }).sign(privateKey);
  },
  // Sends an event to the only stream, or queues it. `claims` and `header` replace those of the token.
  async emit(args) {
    const [stream] = streams.values();
    return deliver(stream, await sign(stream, args));
  },
  // Sends an event twice, as after a lost answer.
  async emit_twice(args) {
    const [stream] = streams.values();
    const token = await sign(stream, args);
    return [await deliver(stream, token), await deliver(stream, token)];
  },
  // What receivers have not acknowledged yet, and what they have refused.
  state: async () => ({ streams: [...streams.values()], waiting: [...queue.keys()], errors }),
});
