/**
 * What a client does after its connection has ended.
 *
 * - `retry`: connects again after a delay.
 * - `renew`: the token or the session was too old, and nothing is wrong: connects again, at once after a stable connection.
 * - `refused`: the token was refused: as `retry`, but a second time in a row it means `sign-in`.
 * - `sign-in`: stops. The user has to sign in.
 * - `stop`: stops. Another attempt would end in the same way.
 */
export type Action = "retry" | "renew" | "refused" | "sign-in" | "stop";

/** Close codes and what they mean. A code that is missing means `retry`. */
export type CloseCodes = Readonly<Record<number, Action>>;

/** By the reason that the server gives. It comes before the code. */
export const REASONS: Readonly<Record<string, Action>>;

/** The profiles of the server's `CloseCodes`. */
export const CLOSE_CODES: Readonly<Record<"IANA" | "HTTP_LIKE" | "GRAPHQL_WS" | "CENTRIFUGO", CloseCodes>>;

/** What the user's next sign-in must satisfy (RFC 9470). */
export interface StepUp {
  acrValues?: string;
  maxAge?: number;
  scope?: string;
}

export interface TokenContext {
  /** 1 for the first attempt. 0 for a refresh. */
  attempt: number;
  /**
   * Why a token is needed: what ended the last connection (`token_expired`, `invalid_token`, or a close code), `""` for the
   * first one; for a refresh `expiring`, `step_up` or `asked`. It stays `step_up` until a refresh is accepted, or its time is over.
   */
  reason: string;
  /** With `step_up`. */
  required?: StepUp;
  /** Aborts when the token is no longer needed, and at an attempt after `openTimeout`. A refresh has until the session ends. */
  signal: AbortSignal;
}

/**
 * Returns a token, or `null` if the user has to sign in. It is called for every attempt and every refresh. If it throws, or
 * returns what is no token (visible ASCII without `"`, `,`, `<`, `>` and `\`), it is asked again later. With `cookie()`, its
 * answer may be any text.
 */
export type TokenFunction = (context: TokenContext) => Promise<string | null | undefined> | string | null | undefined;

/** How the token is sent. */
export interface Auth {
  prepare(
    token: string | undefined,
    context: { signal: AbortSignal; credentials: RequestCredentials },
  ): Prepared | Promise<Prepared>;
  /** For requests over HTTP. */
  headers(token: string | undefined): Record<string, string>;
  /** Whether the handshake is not refused because of the token, or `prepare` has told. */
  isProbed?: boolean;
  /** Whether a token function is needed. Defaults to `true`. */
  needsToken?: boolean;
  /** Whether the browser adds the credential by itself. */
  isCookie?: boolean;
}

export interface Prepared {
  /** A parameter of the URL: its name and value. */
  query?: [name: string, value: string];
  /** Offered before those of the application. */
  protocols?: string[];
  /** Sent as soon as the socket is open. */
  first?: string | ArrayBuffer;
}

/** The subprotocols `bearer, <token>`, or those that the function makes of the token. */
export function subprotocol(marker?: string | ((token: string) => string[])): Auth;

/**
 * A one-time ticket in the URL, bought before each attempt: by a `POST` to this URL with the token, or by a function.
 * The parameter defaults to `ticket`.
 */
export function ticket(
  source: string | URL | ((token: string | undefined, context: { signal: AbortSignal }) => Promise<string> | string),
  options?: { parameter?: string },
): Auth;

/** A cookie, which the browser adds. The token function is optional. It may renew the cookie. */
export function cookie(): Auth;

/** The first message. Defaults to that of the server's `FirstMessage::json()`. */
export function firstMessage(format?: (token: string) => string | ArrayBuffer): Auth;

export interface Ending {
  code: number;
  reason: string;
  /** Of an answer over HTTP, where there was one. */
  status?: number;
  /** Whether the connection was open before. */
  opened: boolean;
}

export interface CommonOptions {
  /** Needed, except with `cookie()` and `ticket()`. */
  token?: TokenFunction;
  /** Defaults to `subprotocol()`, and to `Authorization` for an `AuthEventSource`. */
  auth?: Auth;
  /** Decides before everything else. `undefined` leaves it to the reason and the code. */
  decide?: (end: Ending) => Action | undefined;
  /** Of requests over HTTP: for tickets, refreshes, probes and events. Defaults to `same-origin`. */
  credentials?: RequestCredentials;
  /** The first delay, in milliseconds, of which a random part is waited. Doubles with each attempt. Defaults to 1000. */
  baseDelay?: number;
  /** The longest delay. Defaults to 30 000. */
  maxDelay?: number;
  /** How long a connection must be open for the delays to begin anew. Defaults to 10 000. */
  stableAfter?: number;
  /** How long an attempt may take, from the token function until the connection is open. Defaults to 20 000. */
  openTimeout?: number;
  /** Closes when it aborts. */
  signal?: AbortSignal;
}

export interface SocketOptions extends CommonOptions {
  /** The subprotocols of the application. */
  protocols?: string | string[];
  /** The server's profile. Defaults to `CLOSE_CODES.IANA`. */
  closeCodes?: CloseCodes;
  /**
   * Refreshes by messages. Only for a server with `RefreshProtocol::json()`: another one takes the token for a message. Its
   * handler must not relay text messages as they come, as one whose `type` begins with `auth.` would be taken for the server's.
   */
  refresh?: boolean;
  /** Refreshes by a `POST` there instead, where `{session}` is replaced by the id from the server's greeting. */
  refreshUrl?: string | URL | ((session: string) => string | URL);
  /** How long before the deadline, in milliseconds, but not before two thirds of the time. Defaults to 30 000. */
  refreshBefore?: number;
  /**
   * A URL behind the same layer, which is asked after a handshake failed. Defaults to `"auto"`: the URL of the socket, if it is
   * of the page's origin. `false` is off.
   */
  probe?: "auto" | string | URL | false;
  /** Defaults to that of the browser. */
  WebSocket?: new (url: string, protocols: string[]) => object;
}

export interface CloseDetails extends Event {
  code: number;
  reason: string;
  wasClean: boolean;
  status?: number;
  action: Action;
  /** Milliseconds to the next attempt. `null` if there is none. */
  retryIn: number | null;
}

export interface SignInNeeded extends Event, StepUp {
  /** 0 if the connection is still open. */
  code: number;
  reason: string;
  status?: number;
}

export interface ErrorDetails extends Event {
  /** What the token function threw, for example. Never has a token, unless what it threw has. */
  error: unknown;
}

interface CommonEvents {
  open: Event;
  /** Also for an attempt that failed. */
  close: CloseDetails;
  error: ErrorDetails;
  signinneeded: SignInNeeded;
}

export interface SocketEvents extends CommonEvents {
  message: MessageEvent;
  /** The deadline is known, or has moved. In milliseconds, `Infinity` without a deadline. */
  session: Event & { session: string | null; expiresIn: number };
  /** A refresh was refused. The session keeps its deadline. */
  refused: Event & { reason: string };
}

declare class Connection<Events> extends EventTarget {
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseDetails) => void) | null;
  onerror: ((event: ErrorDetails) => void) | null;
  onsigninneeded: ((event: SignInNeeded) => void) | null;
  addEventListener<K extends keyof Events>(
    type: K,
    listener: (event: Events[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Connects anew: at once if it has stopped or waits, and instead of the current connection if there is one. */
  reconnect(): void;
}

/** A `WebSocket` that reconnects, asks for a new token each time, and stops when its user has to sign in. */
export class AuthSocket extends Connection<SocketEvents> {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 3;
  constructor(url: string | URL | (() => string | URL | Promise<string | URL>), options: SocketOptions);
  onsession: ((event: SocketEvents["session"]) => void) | null;
  onrefused: ((event: SocketEvents["refused"]) => void) | null;
  binaryType: BinaryType;
  readonly bufferedAmount: number;
  /** The selected subprotocol. */
  readonly protocol: string;
  /** The id of the session, from the server's greeting. */
  readonly session: string | null;
  /** When the session ends unless it is refreshed, in milliseconds since 1970. `null` if that is not known, or never. */
  readonly expiresAt: number | null;
  /** Throws an `InvalidStateError` unless the socket is open. */
  send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void;
  /**
   * Sends the next token now, for example after a new sign-in. Does nothing while the socket is not open. Throws an
   * `InvalidStateError` unless `refresh` or `refreshUrl` is set: the server would take the token for a message.
   */
  refresh(): void;
  /** Closes for good. Only the event `close` follows. */
  close(code?: number, reason?: string): void;
}

/** An `EventSource` that sends its token as `Authorization`, and a new one each time. Events have their own types. */
export class AuthEventSource extends Connection<CommonEvents & { message: MessageEvent }> {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  constructor(url: string | URL | (() => string | URL | Promise<string | URL>), options: CommonOptions);
  /** Closes for good. Only the event `close` follows. */
  close(): void;
}
