// The browser's side of axum-ws-auth. See README.md.

/**
 * What a client does after its connection has ended. Every attempt asks for a new token.
 *
 * - `retry`: connects again after a delay.
 * - `renew`: the token or the session was too old, and nothing is wrong: connects again, at once after a stable connection.
 * - `refused`: the token was refused: as `retry`, but a second time in a row it means `sign-in`.
 * - `sign-in`: stops. The user has to sign in.
 * - `stop`: stops. Another attempt would end in the same way.
 */
const [RETRY, RENEW, REFUSED, SIGN_IN, STOP] = ["retry", "renew", "refused", "sign-in", "stop"];

/**
 * By the reason in a close frame, in `auth.ended`, or in a problem document. It is more exact than the code, and the same in
 * every profile. `too_many_sessions` is missing: only the code tells whether a newer session has replaced this one, or whether
 * this one was not admitted.
 */
export const REASONS = Object.freeze({
  token_expired: RENEW,
  max_lifetime: RENEW,
  revoked: SIGN_IN,
  policy: STOP,
  insufficient_user_authentication: SIGN_IN,
  unresponsive: RETRY,
  unconfirmed: RETRY,
  shutdown: RETRY,
  closed: RETRY,
  missing_token: REFUSED,
  invalid_token: REFUSED,
  invalid_request: STOP,
  insufficient_scope: STOP,
  origin_not_allowed: STOP,
  head_too_large: STOP,
  too_many_requests: RETRY,
  unavailable: RETRY,
  timed_out: RETRY,
});

/** Codes of RFC 6455. The server has done what it was to do, or would object to the same message again. */
const STANDARD = { 1000: STOP, 1002: STOP, 1003: STOP, 1007: STOP, 1008: STOP, 1009: STOP, 1010: STOP };

const profile = (codes) => Object.freeze({ ...STANDARD, ...codes });

/** By the close code, for closes without one of the `REASONS`. A code that is missing here means `retry`. */
export const CLOSE_CODES = Object.freeze({
  IANA: profile({ 1013: RETRY, 3000: REFUSED, 3003: STOP, 3008: RETRY }),
  HTTP_LIKE: profile({
    ...{ 4400: STOP, 4401: REFUSED, 4403: STOP, 4408: RETRY },
    ...{ 4409: STOP, 4429: RETRY, 4503: RETRY },
  }),
  GRAPHQL_WS: profile({ 1013: RETRY, 4400: STOP, 4401: SIGN_IN, 4403: REFUSED, 4408: RETRY, 4409: STOP, 4429: STOP }),
  CENTRIFUGO: profile({
    ...{ 3004: RETRY, 3005: RENEW, 3012: RETRY },
    ...{ 3500: SIGN_IN, 3501: STOP, 3502: STOP, 3503: STOP, 3504: STOP, 3507: STOP },
  }),
});

/** The first two tokens may be refused, the second of them new. A third would be refused too. */
const MAX_REFUSALS = 2;
/** So many handshakes in a row with the same token, none of which opened, suggest that it is the token. */
const MAX_UNOPENED = 8;
/** By how much longer the delays may be after that. */
const SLOWDOWN = 10;
/** A server that sends `retry: 0` would undo the growth of the delays. */
const MIN_RETRY = 100;
/** A longer one would overflow `setTimeout`. */
const MAX_TIMEOUT = 2 ** 31 - 1;
/** Visible ASCII, without what JSON, HTML and lists have. */
const TOKEN = /^[!#-+\--;=?-[\]-~]+$/;
/** A token of RFC 9110. */
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/;
/** Of an event in a stream, in UTF-16 units. */
const MAX_EVENT = 16 * 1024 * 1024;

const DEFAULTS = {
  protocols: [],
  closeCodes: CLOSE_CODES.IANA,
  credentials: "same-origin",
  baseDelay: 1000,
  maxDelay: 30_000,
  stableAfter: 10_000,
  openTimeout: 20_000,
  refresh: false,
  refreshBefore: 30_000,
  probe: "auto",
};

class AuthEvent extends Event {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

/** Without the members that are `undefined`. */
const given = (object = {}) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
const later = (ms, run) => setTimeout(run, Math.min(ms, MAX_TIMEOUT));
const absolute = (url) => new URL(url, globalThis.location?.href);
const bearer = (token) => (token === undefined ? {} : { authorization: `Bearer ${token}` });

/** As the value of a header, whose characters are bytes. */
const utf8 = (text) => Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");

/**
 * Settles with the promise, or rejects when the signal aborts. The signal may abort between that and the continuation of an
 * `await`, so those who go on check it again.
 */
const until = (signal, promise) => {
  let abort;
  const aborted = new Promise((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
  });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener("abort", abort));
};

/** `fetch`, whose own errors may name the value of a header, or the query. */
const request = async (url, init) => {
  try {
    return await fetch(url, init);
  } catch ({ cause }) {
    init.signal.throwIfAborted();
    const code = typeof cause?.code === "string" ? ` (${cause.code})` : "";
    throw new TypeError(`the request to ${url.origin}${url.pathname} failed${code}`);
  }
};

/** Ends a response whose body nobody reads. */
const discard = (response) => response.body?.cancel().catch(() => {});

const retryAfterOf = (response) => {
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  return seconds > 0 ? seconds * 1000 : 0;
};

/** How a connection ended whose request was answered with a status other than success. */
const refusal = async (response) => {
  const { status } = response;
  const { error } = await response.json().catch(() => ({}));
  const challenge = /\berror="(\w+)"/.exec(response.headers.get("www-authenticate") ?? "")?.[1];
  const reason = typeof error === "string" ? error : (challenge ?? "");
  const isTemporary = [408, 425, 429].includes(status) || status >= 500;
  const byStatus = status === 401 ? REFUSED : isTemporary ? RETRY : STOP;
  const action = isTemporary ? RETRY : (REASONS[reason] ?? byStatus);
  return { code: 1006, reason, status, retryAfter: retryAfterOf(response), action };
};

/** The URL of an attempt, and how the token goes there. */
const prepare = async (source, token, { auth, credentials }, signal) => {
  const url = absolute(await until(signal, typeof source === "function" ? source() : source));
  signal.throwIfAborted();
  const prepared = await until(signal, auth.prepare(token, { signal, credentials }));
  if (prepared.query) url.searchParams.set(...prepared.query);
  return { ...prepared, url };
};

/** Thrown with the end of an attempt that got no further. */
class Ended extends Error {
  constructor(end) {
    super("the attempt ended");
    this.end = end;
  }
}

// How the token is sent. ---------------------------------------------------------------------------------------------------

/** The pair of subprotocols `bearer, <token>`: the default. A function returns other spellings. */
export const subprotocol = (marker = "bearer") => ({
  prepare(token) {
    const protocols = typeof marker === "function" ? marker(token) : [marker, token];
    if (protocols.every((name) => SUBPROTOCOL.test(name))) return { protocols };
    throw new TypeError("the token has characters that a subprotocol may not have");
  },
  headers: bearer,
});

/**
 * A one-time ticket in the URL, bought before each attempt: by a `POST` to this URL with the token as `Authorization` (and
 * cookies), or by a function that returns the ticket.
 */
export const ticket = (source, { parameter = "ticket" } = {}) => ({
  async prepare(token, { signal, credentials }) {
    if (typeof source === "function") return { query: [parameter, await source(token, { signal })] };
    const init = { method: "POST", headers: bearer(token), cache: "no-store", credentials, signal };
    const response = await request(absolute(source), init);
    if (!response.ok) throw new Ended(await refusal(response));
    return { query: [parameter, (await response.json()).ticket] };
  },
  headers: bearer,
  // Its purchase was the probe.
  isProbed: true,
  needsToken: false,
});

/** A cookie, which the browser adds. The token function may renew it. What it returns is not sent. */
export const cookie = () => ({ prepare: () => ({}), headers: () => ({}), needsToken: false, isCookie: true });

/** The first message, once the socket is open. The server answers a bad one with a reason. */
export const firstMessage = (format = (token) => JSON.stringify({ type: "auth.token", token })) => ({
  prepare: (token) => ({ first: format(token) }),
  headers: bearer,
  isProbed: true,
});

// When to try again. -------------------------------------------------------------------------------------------------------

/** Attempts, one after another, until one ends for good. */
class Attempts {
  #target;
  #settings;
  #connect;
  /** Aborts when the application closes. `null` if there is nothing to do. */
  #running = null;
  #failures = 0;
  #refusals = 0;
  #unopened = { count: 0, token: undefined };
  #opening;
  #stable;
  /** Ends the current delay early. */
  #wake = null;

  constructor(target, settings, connect) {
    this.#target = target;
    this.#settings = settings;
    this.#connect = connect;
  }

  start() {
    const outer = this.#settings.signal;
    if (outer?.aborted) return;
    const running = new AbortController();
    this.#running = running;
    this.#failures = this.#refusals = 0;
    this.#unopened = { count: 0, token: undefined };
    const { signal } = running;
    outer?.addEventListener("abort", () => this.#target.close(), { signal });
    const wake = () => this.#wake?.();
    const page = globalThis.document;
    globalThis.addEventListener?.("online", wake, { signal });
    page?.addEventListener("visibilitychange", () => page.visibilityState === "visible" && wake(), { signal });
    this.#run(signal).catch((error) => {
      if (!signal.aborted) throw error;
    });
  }

  get isRunning() {
    return this.#running !== null;
  }

  stop() {
    clearTimeout(this.#stable);
    this.#running?.abort();
    this.#running = null;
  }

  /** For the application. */
  close(code, reason) {
    if (!this.isRunning) return;
    this.stop();
    const event = new AuthEvent("close", { code, reason, wasClean: true, action: STOP, retryIn: null });
    queueMicrotask(() => this.#target.dispatchEvent(event));
  }

  /** The connection is open. It has proved stable if it still is in a while. */
  opened() {
    clearTimeout(this.#opening);
    this.#stable = later(this.#settings.stableAfter, () => {
      this.#failures = this.#refusals = 0;
    });
  }

  async #run(signal) {
    for (let attempt = 1, reason = ""; ; attempt += 1) {
      signal.throwIfAborted();
      const end = await this.#attempt({ attempt, reason, signal });
      signal.throwIfAborted();
      clearTimeout(this.#stable);
      const action = this.#act(end);
      const isOver = action === SIGN_IN || action === STOP;
      const delay = isOver ? null : this.#delay(action, end);
      this.#failures += 1;
      if (isOver) this.stop();
      const { code = 1006, reason: why = "", wasClean = false, status } = end;
      reason = why || String(code);
      const fields = { code, reason: why, wasClean, status, action, retryIn: delay };
      this.#target.dispatchEvent(new AuthEvent("close", fields));
      if (action === SIGN_IN) this.#target.dispatchEvent(new AuthEvent("signinneeded", { code, reason: why, status }));
      if (isOver) return;
      signal.throwIfAborted();
      await this.#wait(delay, end.retryAfter > 0, signal);
    }
  }

  /** Returns how it ended. */
  async #attempt(context) {
    const { signal } = context;
    // Of this attempt, until its connection has ended.
    const own = new AbortController();
    signal.addEventListener("abort", () => own.abort(signal.reason), { signal: own.signal });
    const late = () => own.abort(new DOMException("the connection took too long to open", "TimeoutError"));
    const timer = (this.#opening = later(this.#settings.openTimeout, late));
    try {
      const token = await askForToken(this.#settings, { ...context, signal: own.signal });
      own.signal.throwIfAborted();
      const end = await this.#connect(token, own.signal);
      const repeats = !end.opened && token === this.#unopened.token;
      this.#unopened = { count: repeats ? this.#unopened.count + 1 : Number(!end.opened), token };
      return end;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Ended) return error.end;
      this.#target.dispatchEvent(new AuthEvent("error", { error }));
      return {};
    } finally {
      clearTimeout(timer);
      own.abort();
    }
  }

  #act(end) {
    const { code, reason, status, opened = false } = end;
    const chosen = this.#settings.decide?.({ code, reason, status, opened });
    const action = chosen ?? end.action ?? REASONS[reason] ?? this.#settings.closeCodes[code] ?? RETRY;
    if (action !== REFUSED) return action;
    this.#refusals += 1;
    return this.#refusals < MAX_REFUSALS ? REFUSED : SIGN_IN;
  }

  #delay(action, end) {
    const { baseDelay, maxDelay } = this.#settings;
    const { retryAfter = 0 } = end;
    if (action === RENEW && this.#failures === 0) return 0;
    if (globalThis.navigator?.onLine === false) return Math.max(maxDelay, retryAfter);
    const max = Math.max(maxDelay, baseDelay) * (this.#unopened.count < MAX_UNOPENED ? 1 : SLOWDOWN);
    // Full jitter: clients that lost their connections together do not return together.
    // A `Retry-After` is the same for all of them, so a random part is added to it as well.
    return retryAfter + Math.random() * Math.max(retryAfter / 4, Math.min(max, baseDelay * 2 ** this.#failures));
  }

  async #wait(ms, isFirm, signal) {
    let timer;
    const waited = new Promise((resolve) => {
      timer = later(ms, resolve);
      if (isFirm) return;
      this.#wake = () => {
        this.#wake = null;
        clearTimeout(timer);
        timer = later(Math.min(ms, Math.random() * this.#settings.baseDelay), resolve);
      };
    });
    try {
      await until(signal, waited);
    } finally {
      this.#wake = null;
      clearTimeout(timer);
    }
  }
}

/** `undefined` without a function to ask. */
const askForToken = async ({ token, auth }, context) => {
  if (token === undefined) return undefined;
  const answer = await until(context.signal, token(context));
  if (answer === null || answer === undefined || answer === "") throw new Ended({ reason: "no_token", action: SIGN_IN });
  // Such as the page of an error. The next answer may be a token.
  if (!auth.isCookie && !(typeof answer === "string" && TOKEN.test(answer))) {
    throw new TypeError("the token function returned something else than a token");
  }
  return answer;
};

const settingsOf = (options) => {
  const settings = { auth: subprotocol(), WebSocket: globalThis.WebSocket, ...DEFAULTS, ...given(options) };
  const { auth, token } = settings;
  if (typeof token === "function" || (token === undefined && auth.needsToken === false)) return settings;
  throw new TypeError("`token` must be a function that returns a token: one that is fixed expires");
};

/** The events of a class as properties, such as `onopen`. */
const withHandlers = (prototype, names) => {
  for (const name of names) {
    const handlers = new WeakMap();
    Object.defineProperty(prototype, `on${name}`, {
      configurable: true,
      enumerable: true,
      get() {
        return handlers.get(this) ?? null;
      },
      set(handler) {
        this.removeEventListener(name, handlers.get(this));
        handlers.set(this, typeof handler === "function" ? handler : null);
        this.addEventListener(name, handlers.get(this));
      },
    });
  }
};

// The session of a socket, and its next token. -----------------------------------------------------------------------------

const milliseconds = (seconds) => (typeof seconds === "number" ? seconds * 1000 : Infinity);

class Session {
  id = null;
  /** By this machine's clock. `Infinity` if it is not known, or never. */
  expiresAt = Infinity;
  #socket;
  #settings;
  #target;
  #signal;
  #timer;
  #isGreeted = false;
  #isRefreshing = false;
  /** Whether the server has to answer by a message. Another message of this kind is not the server's. */
  #isSent = false;
  /** Whether another refresh was asked for meanwhile. */
  #isQueued = false;
  /** What the server demands of the user, and until when: until it accepts a token that was asked for with this. */
  #stepUp = null;
  /** The demand that the current refresh knew of. */
  #asked = null;
  /** What was left when the current refresh began. */
  #leftBefore = Infinity;

  constructor(socket, settings, target, signal) {
    this.#socket = socket;
    this.#settings = settings;
    this.#target = target;
    this.#signal = signal;
    signal.addEventListener("abort", () => clearTimeout(this.#timer), { once: true });
  }

  /** Whether it was a message of the refresh protocol. The application does not receive those. */
  receive(text) {
    const { refresh, refreshUrl } = this.#settings;
    if (!refresh && refreshUrl === undefined) return false;
    if (typeof text !== "string" || !text.startsWith("{") || !text.includes('"auth.')) return false;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return false;
    }
    const { type, reason, acr_values: acrValues, max_age: maxAge, scope } = message;
    switch (type) {
      case "auth.session":
        if (this.#isGreeted) return false;
        this.#isGreeted = true;
        this.id = message.session;
        this.#extend(milliseconds(message.expires_in));
        break;
      case "auth.expiring":
        this.expiresAt = Date.now() + milliseconds(message.expires_in);
        this.refresh("expiring");
        break;
      case "auth.required":
        this.#stepUp = { required: { acrValues, maxAge, scope }, until: Date.now() + milliseconds(message.within) };
        this.refresh("step_up");
        break;
      case "auth.refreshed":
        if (!this.#isSent) return false;
        this.#refreshed(message.expires_in);
        break;
      case "auth.refused":
        if (!this.#isSent) return false;
        this.#refused(reason, message.retry_after, { acrValues, maxAge });
        break;
      default:
        return false;
    }
    return true;
  }

  /** Sends the next token. If one is on its way that may not be enough, sends another one after that. */
  async refresh(reason) {
    if (this.#signal.aborted) return;
    if (this.#isRefreshing) {
      this.#isQueued ||= reason !== "expiring";
      return;
    }
    this.#isRefreshing = true;
    this.#leftBefore = this.#left;
    if (this.#stepUp?.until <= Date.now()) this.#stepUp = null;
    const { required } = (this.#asked = this.#stepUp) ?? {};
    const context = { attempt: 0, reason: required ? "step_up" : reason, required, signal: this.#signal };
    try {
      const token = await askForToken(this.#settings, context);
      this.#signal.throwIfAborted();
      if (this.#settings.refreshUrl !== undefined) return await this.#post(token);
      this.#isSent = true;
      this.#socket.send(JSON.stringify({ type: "auth.refresh", token }));
    } catch (error) {
      if (this.#signal.aborted) return;
      if (error instanceof Ended) {
        // The session goes on until its deadline, and its user may sign in meanwhile.
        this.#target.dispatchEvent(new AuthEvent("signinneeded", { code: 0, reason: context.reason, ...required }));
        this.#next();
      } else {
        this.#target.dispatchEvent(new AuthEvent("error", { error }));
        if (!this.#next()) this.#tryAgain();
      }
    }
  }

  /** The refresh is over. Returns whether another one follows. */
  #next() {
    const isQueued = this.#isQueued;
    this.#isRefreshing = this.#isSent = this.#isQueued = false;
    if (isQueued) this.refresh("asked");
    return isQueued;
  }

  get #left() {
    return this.expiresAt - Date.now();
  }

  async #post(token) {
    const { refreshUrl, auth, credentials } = this.#settings;
    // It comes from the server, and becomes a part of a path.
    const id = /^\w+$/.test(this.id ?? "") ? this.id : "";
    const url = typeof refreshUrl === "function" ? refreshUrl(id) : String(refreshUrl).replace(/\{session\}|%7Bsession%7D/i, id);
    const init = { method: "POST", headers: auth.headers(token), cache: "no-store", credentials, signal: this.#signal };
    const response = await request(absolute(url), init);
    const answer = response.ok ? await response.json() : await refusal(response);
    this.#signal.throwIfAborted();
    if (response.ok) this.#refreshed(answer.expires_in);
    else this.#refused(answer.reason, answer.retryAfter / 1000);
  }

  #refreshed(seconds) {
    const left = milliseconds(seconds);
    // If not, it was the old token again, or the session has reached its max lifetime.
    const hasMoved = this.#leftBefore === Infinity || left > this.#leftBefore + 1000;
    // A demand that came after its token was asked for goes on.
    if (this.#stepUp === this.#asked) this.#stepUp = null;
    this.#extend(left);
    if (!this.#next() && !hasMoved) this.#tryAgain();
  }

  #refused(reason, retryAfter, details) {
    const isUser = reason === "insufficient_user_authentication";
    const required = { ...this.#asked?.required, ...given(details) };
    this.#target.dispatchEvent(new AuthEvent("refused", { reason }));
    if (isUser) this.#target.dispatchEvent(new AuthEvent("signinneeded", { code: 0, reason, ...required }));
    if (!this.#next() && !isUser) this.#tryAgain(retryAfter);
  }

  /** Sets the deadline, and schedules the refresh for it. */
  #extend(left) {
    this.expiresAt = Date.now() + left;
    this.#schedule(left - Math.min(this.#settings.refreshBefore, left / 3));
    this.#target.dispatchEvent(new AuthEvent("session", { session: this.id, expiresIn: left }));
  }

  /** At half of the time that is left. So there are few tries: the server counts them. */
  #tryAgain(retryAfter = 0) {
    const waits = [this.#left, (this.#stepUp?.until ?? Infinity) - Date.now()].map((left) => {
      const wait = Math.max(left / 2, retryAfter * 1000);
      return left > 5000 && wait < left ? wait : Infinity;
    });
    this.#schedule(Math.min(...waits));
  }

  #schedule(ms) {
    clearTimeout(this.#timer);
    if (ms === Infinity || Number.isNaN(ms) || this.#signal.aborted) return;
    // `setTimeout` takes 24 days at most. More than that is waited for in parts.
    const run = () => (ms > MAX_TIMEOUT ? this.#schedule(ms - MAX_TIMEOUT) : this.refresh("expiring"));
    this.#timer = later(ms, run);
  }
}

// The two connections. -----------------------------------------------------------------------------------------------------

/** A `WebSocket` that reconnects, asks for a new token each time, and stops when its user has to sign in. */
export class AuthSocket extends EventTarget {
  #url;
  #settings;
  #attempts;
  #socket = null;
  #session = null;
  #isOpen = false;
  #binaryType = "blob";

  constructor(url, options) {
    super();
    this.#url = url;
    this.#settings = settingsOf(options);
    this.#attempts = new Attempts(this, this.#settings, (token, signal) => this.#connect(token, signal));
    this.#attempts.start();
  }

  get readyState() {
    if (this.#isOpen) return AuthSocket.OPEN;
    return this.#attempts.isRunning ? AuthSocket.CONNECTING : AuthSocket.CLOSED;
  }

  get protocol() {
    return this.#socket?.protocol ?? "";
  }

  get bufferedAmount() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** The id of the session, from the server's greeting. */
  get session() {
    return this.#session?.id ?? null;
  }

  /** When the session ends unless it is refreshed, in milliseconds since 1970, by this machine's clock. */
  get expiresAt() {
    const at = this.#session?.expiresAt ?? Infinity;
    return at === Infinity ? null : at;
  }

  get binaryType() {
    return this.#binaryType;
  }

  set binaryType(type) {
    this.#binaryType = type;
    if (this.#socket) this.#socket.binaryType = type;
  }

  /** Throws unless the socket is open. A message that waited might be sent as another user. */
  send(data) {
    if (!this.#isOpen) throw new DOMException("the socket is not open", "InvalidStateError");
    this.#socket.send(data);
  }

  /** Closes for good. Only the event `close` follows. */
  close(code = 1000, reason = "") {
    if (!this.#attempts.isRunning) return;
    // First, because it throws if the code is not allowed.
    this.#socket?.close(code, reason);
    this.#attempts.close(code, reason);
  }

  /** Connects anew: at once if it has stopped or waits, and instead of the current connection if there is one. */
  reconnect() {
    this.#attempts.stop();
    this.#socket?.close(1000);
    this.#attempts.start();
  }

  /** Sends the next token now, for example after a new sign-in. Throws unless `refresh` or `refreshUrl` is set. */
  refresh() {
    const { refresh, refreshUrl } = this.#settings;
    if (!refresh && refreshUrl === undefined) {
      throw new DOMException("neither `refresh` nor `refreshUrl` is set", "InvalidStateError");
    }
    if (this.#isOpen) this.#session.refresh("asked");
  }

  async #connect(token, signal) {
    const { url, first, protocols = [] } = await prepare(this.#url, token, this.#settings, signal);
    signal.throwIfAborted();
    url.protocol = url.protocol.replace("http", "ws");
    const socket = this.#open(url, [...protocols, ...[this.#settings.protocols].flat()]);
    const end = await this.#use(socket, first, signal);
    return end.opened ? end : { ...end, ...(await this.#probe(url, token, signal)) };
  }

  #open(url, protocols) {
    try {
      return new this.#settings.WebSocket(url.href, protocols);
    } catch {
      // The browser's error would name the token, or the URL with the ticket.
      const error = new SyntaxError("the URL or a subprotocol is not allowed");
      this.dispatchEvent(new AuthEvent("error", { error }));
      throw new Ended({ action: STOP });
    }
  }

  /** Returns how the socket ended. */
  #use(socket, first, signal) {
    const session = new Session(socket, this.#settings, this, signal);
    socket.binaryType = this.#binaryType;
    this.#socket = socket;
    this.#session = session;
    let opened = false;
    return new Promise((resolve) => {
      const on = (name, run) => socket.addEventListener(name, (event) => signal.aborted || run(event));
      on("open", () => {
        opened = this.#isOpen = true;
        if (first !== undefined) socket.send(first);
        this.#attempts.opened();
        this.dispatchEvent(new Event("open"));
      });
      on("message", ({ data, origin }) => {
        if (!session.receive(data)) this.dispatchEvent(new MessageEvent("message", { data, origin }));
      });
      const end = (fields) => {
        if (this.#socket === socket) this.#isOpen = false;
        resolve({ opened, ...fields });
      };
      on("close", ({ code, reason, wasClean }) => end({ code, reason, wasClean }));
      // `close` follows, and tells more. In Node, `ws` throws if nothing listens.
      on("error", () => {});
      const abort = () => {
        socket.close();
        end();
      };
      signal.addEventListener("abort", abort);
      if (signal.aborted) abort();
    });
  }

  /** A page sees nothing of a refused handshake. The same request without a handshake may tell that it was the token. */
  async #probe(url, token, signal) {
    const { auth, probe, credentials } = this.#settings;
    if (!probe || auth.isProbed || signal.aborted) return {};
    const target = probe === "auto" ? new URL(url.href.replace(/^ws/, "http")) : absolute(probe);
    if (probe === "auto" && target.origin !== globalThis.location?.origin) return {};
    try {
      const response = await fetch(target, { headers: auth.headers(token), cache: "no-store", credentials, signal });
      if (response.status !== 401) {
        // It may be a stream without an end.
        discard(response);
        const { status } = response;
        return [429, 503].includes(status) ? { status, retryAfter: retryAfterOf(response) } : {};
      }
      const { status, reason, action } = await refusal(response);
      const isToken = auth.isCookie || reason === "invalid_token" || reason === "insufficient_user_authentication";
      return isToken ? { status, reason, action } : {};
    } catch {
      return {};
    }
  }
}

/** An `EventSource` that sends its token as `Authorization`, and a new one each time. */
export class AuthEventSource extends EventTarget {
  #url;
  #settings;
  #attempts;
  #isOpen = false;
  #lastEventId = "";

  constructor(url, options) {
    super();
    this.#url = url;
    this.#settings = settingsOf(options);
    this.#attempts = new Attempts(this, this.#settings, (token, signal) => this.#connect(token, signal));
    this.#attempts.start();
  }

  get readyState() {
    if (this.#isOpen) return AuthEventSource.OPEN;
    return this.#attempts.isRunning ? AuthEventSource.CONNECTING : AuthEventSource.CLOSED;
  }

  /** Closes for good. Only the event `close` follows. */
  close() {
    this.#isOpen = false;
    this.#attempts.close(1000, "");
  }

  /** Connects anew: at once if it has stopped or waits, and instead of the current connection if there is one. */
  reconnect() {
    this.#isOpen = false;
    this.#attempts.stop();
    this.#attempts.start();
  }

  async #connect(token, signal) {
    const { auth, credentials } = this.#settings;
    const { url, query } = await prepare(this.#url, token, this.#settings, signal);
    signal.throwIfAborted();
    const headers = { accept: "text/event-stream", ...(query ? {} : auth.headers(token)) };
    if (this.#lastEventId) headers["last-event-id"] = utf8(this.#lastEventId);
    const response = await request(url, { headers, cache: "no-store", credentials, signal });
    if (signal.aborted) discard(response);
    signal.throwIfAborted();
    if (!response.ok) return refusal(response);
    const isEvents = /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
    if (response.status === 204 || !isEvents) {
      discard(response);
      return { status: response.status, reason: response.status === 204 ? "" : "wrong_content_type", action: STOP };
    }
    this.#isOpen = true;
    this.#attempts.opened();
    this.dispatchEvent(new Event("open"));
    try {
      return { opened: true, ...(await this.#read(response.body.getReader(), new URL(response.url).origin, signal)) };
    } finally {
      if (!signal.aborted) this.#isOpen = false;
    }
  }

  /** Returns why the stream ended, if the server said so. */
  async #read(reader, origin, signal) {
    const decoder = new TextDecoder();
    const events = new EventParser(this.#lastEventId);
    try {
      for (let chunk; !(chunk = await reader.read()).done; ) {
        if (signal.aborted) return {};
        for (const { type, data } of events.push(decoder.decode(chunk.value, { stream: true }))) {
          if (signal.aborted) return {};
          if (type === "auth.ended") return endOf(data);
          this.#lastEventId = events.lastEventId;
          this.dispatchEvent(new MessageEvent(type, { data, origin, lastEventId: events.lastEventId }));
        }
        this.#lastEventId = events.lastEventId;
        const { retry } = events;
        if (retry !== undefined) this.#settings.baseDelay = Math.min(Math.max(retry, MIN_RETRY), MAX_TIMEOUT);
      }
    } catch (error) {
      if (error instanceof RangeError) this.dispatchEvent(new AuthEvent("error", { error }));
    } finally {
      await reader.cancel().catch(() => {});
    }
    return {};
  }
}

/** The data of `auth.ended`. A stream that is replaced by a newer one has ended for good. */
const endOf = (data) => {
  const { reason } = JSON.parse(data);
  return { reason, action: reason === "too_many_sessions" ? STOP : undefined };
};

/** Of an event stream (HTML Living Standard, 9.2.6). */
class EventParser {
  /** Of the last block that is complete. One that is cut comes again, or it would be lost. */
  lastEventId;
  retry;
  #line = "";
  #endsInCr = false;
  #id;
  #type = "";
  #data = [];
  #size = 0;

  constructor(lastEventId) {
    this.lastEventId = this.#id = lastEventId;
  }

  *push(text) {
    if (text === "") return;
    if (this.#endsInCr && text.startsWith("\n")) text = text.slice(1);
    this.#endsInCr = text.endsWith("\r");
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#line + lines[0];
    this.#line = lines.pop();
    for (const line of lines) {
      this.#size += line.length;
      if (line !== "") this.#field(line);
      else yield* this.#end();
    }
    if (this.#size + this.#line.length > MAX_EVENT) throw new RangeError("an event is too large");
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  *#end() {
    const event = { type: this.#type || "message", data: this.#data.join("\n") };
    const hasData = this.#data.length > 0;
    this.lastEventId = this.#id;
    this.#type = "";
    this.#data = [];
    this.#size = 0;
    if (hasData) yield event;
  }
}

for (const connection of [AuthSocket, AuthEventSource]) {
  Object.assign(connection, { CONNECTING: 0, OPEN: 1, CLOSED: connection === AuthSocket ? 3 : 2 });
  withHandlers(connection.prototype, ["open", "message", "close", "error", "signinneeded", "session", "refused"]);
}
