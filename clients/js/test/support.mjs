// A browser without a browser: sockets, timers and a page that the test moves.
import { afterEach, beforeEach, mock } from "node:test";

/** The sockets of the current test, in order. */
export let sockets = [];
/** What the page asked for over HTTP: `[url, request]`. */
export let requests = [];
/** Answers a request. */
export let server = { answer: undefined };

export class FakeWebSocket extends EventTarget {
  protocol = "";
  bufferedAmount = 0;
  sent = [];
  closedWith = undefined;

  constructor(url, protocols) {
    super();
    if ([protocols].flat().some((name) => /[ /=]/.test(name))) throw new SyntaxError(`The subprotocol '${protocols}' is invalid.`);
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close(code, reason) {
    this.closedWith ??= [code, reason];
  }

  open() {
    this.dispatchEvent(new Event("open"));
  }

  receive(data) {
    this.dispatchEvent(new MessageEvent("message", { data: typeof data === "string" ? data : JSON.stringify(data) }));
  }

  /** The other end closes. Without arguments, as after a refused handshake. */
  end(code = 1006, reason = "") {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason, wasClean: code !== 1006 }));
  }
}

/** Lets everything happen that waits for nothing but promises. */
export const settle = async () => {
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
};

export const tick = async (ms) => {
  await settle();
  mock.timers.tick(ms);
  await settle();
};

/** All events of these kinds, as they come. */
export const record = (target, ...types) => {
  const seen = [];
  for (const type of types) target.addEventListener(type, (event) => seen.push(event));
  return seen;
};

/** A token function that counts: `token-1`, `token-2` and so on. It keeps what it was told. */
export const counting = () => {
  const contexts = [];
  const token = async (context) => `token-${contexts.push(context)}`;
  return Object.assign(token, { contexts });
};

export const last = () => sockets.at(-1);

export const json = (status, body, headers = {}) =>
  new Response(body === undefined ? null : JSON.stringify(body), { status, headers });

/** What `globalThis` lacks in Node. */
export const page = { window: new EventTarget(), document: new EventTarget(), navigator: {} };

beforeEach(() => {
  sockets.length = requests.length = 0;
  server.answer = () => json(500);
  page.window = new EventTarget();
  page.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  page.navigator = { onLine: true };
  const define = (name, value) => Object.defineProperty(globalThis, name, { configurable: true, writable: true, value });
  define("document", page.document);
  define("navigator", page.navigator);
  define("location", new URL("https://app.example.com/page"));
  define("addEventListener", page.window.addEventListener.bind(page.window));
  define("fetch", async (url, request) => {
    requests.push([String(url), request]);
    const aborted = new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)));
    return Promise.race([server.answer(String(url), request), aborted]);
  });
  define("WebSocket", FakeWebSocket);
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  // Full jitter takes half of each delay.
  mock.method(Math, "random", () => 0.5);
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});
