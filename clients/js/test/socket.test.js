import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { AuthSocket, CLOSE_CODES, cookie, firstMessage, subprotocol, ticket } from "../index.js";
import { counting, json, last, page, record, requests, server, settle, sockets, tick } from "./support.mjs";

const URL_OF_CHAT = "wss://chat.example.com/chat";
const open = async (options) => {
  const token = options?.token ?? counting();
  const socket = new AuthSocket(URL_OF_CHAT, { token, ...options });
  const events = record(socket, "open", "close", "signinneeded", "error");
  await settle();
  return { socket, events, token };
};
const names = (events) => events.map(({ type }) => type);

test("the token is asked for at every attempt, and offered as a subprotocol", async () => {
  const { token } = await open({ protocols: ["chat.v1"] });
  assert.deepEqual(last().protocols, ["bearer", "token-1", "chat.v1"]);
  last().open();
  await tick(10_000);
  last().end(1012, "shutdown");
  await tick(500);
  assert.deepEqual(last().protocols, ["bearer", "token-2", "chat.v1"]);
  assert.deepEqual(token.contexts.map(({ attempt, reason }) => [attempt, reason]), [[1, ""], [2, "shutdown"]]);
});

test("a fixed token is refused when the socket is made", () => {
  assert.throws(() => new AuthSocket(URL_OF_CHAT, { token: "ey.secret" }), (error) => !error.message.includes("secret"));
  assert.throws(() => new AuthSocket(URL_OF_CHAT, {}), TypeError);
});

test("relative and http URLs work, and functions", async () => {
  for (const url of ["/chat?room=1", "https://app.example.com/chat?room=1", async () => "/chat?room=1"]) {
    new AuthSocket(url, { token: counting() });
    await settle();
    assert.equal(last().url, "wss://app.example.com/chat?room=1");
  }
});

test("delays double up to the maximum, with full jitter", async () => {
  const { events } = await open({ baseDelay: 1000, maxDelay: 8000 });
  for (const delay of [500, 1000, 2000, 4000, 4000]) {
    last().end();
    await tick(delay - 1);
    const before = sockets.length;
    await tick(1);
    assert.equal(sockets.length, before + 1);
    assert.equal(events.at(-1).retryIn, delay);
  }
});

test("only a connection that proved stable resets the delays", async () => {
  await open({ baseDelay: 1000, stableAfter: 10_000 });
  for (const delay of [500, 1000, 2000]) {
    last().open();
    await tick(9999);
    last().end(1011);
    await tick(delay);
  }
  assert.equal(sockets.length, 4);
  last().open();
  await tick(10_000);
  last().end(1011);
  await tick(500);
  assert.equal(sockets.length, 5);
});

test("after its token expired, a stable connection is replaced at once", async () => {
  for (const reason of ["token_expired", "max_lifetime"]) {
    sockets.length = 0;
    await open();
    last().open();
    await tick(10_000);
    last().end(3000, reason);
    await tick(1);
    assert.equal(sockets.length, 2, reason);
    // But one that expires each time does not spin.
    last().open();
    last().end(3000, reason);
    await tick(999);
    assert.equal(sockets.length, 2, reason);
    await tick(1);
    assert.equal(sockets.length, 3, reason);
  }
});

test("a revoked session ends it, and the user is asked to sign in", async () => {
  const needed = [];
  const { socket, events } = await open();
  socket.onsigninneeded = ({ code, reason }) => needed.push([code, reason]);
  last().open();
  last().end(3000, "revoked");
  await tick(3_600_000);
  page.window.dispatchEvent(new Event("online"));
  await tick(3_600_000);
  assert.deepEqual([sockets.length, needed, socket.readyState], [1, [[3000, "revoked"]], AuthSocket.CLOSED]);
  assert.deepEqual(names(events), ["open", "close", "signinneeded"]);
  // Signed in.
  socket.reconnect();
  await settle();
  assert.deepEqual(last().protocols, ["bearer", "token-2"]);
});

test("a refused token is replaced once, then the user is asked to sign in", async () => {
  const { events, token } = await open();
  last().end(3000, "invalid_token");
  await tick(1000);
  last().open();
  last().end(3000, "invalid_token");
  await tick(3_600_000);
  assert.equal(token.contexts.at(-1).reason, "invalid_token");
  assert.deepEqual([sockets.length, names(events)], [2, ["close", "open", "close", "signinneeded"]]);
});

test("refusals count in a row only", async () => {
  const { events } = await open();
  for (let i = 0; i < 5; i += 1) {
    last().end(3000, "invalid_token");
    await tick(1000);
    last().open();
    await tick(10_000);
    last().end(1012, "shutdown");
    await tick(1000);
  }
  assert.equal(names(events).includes("signinneeded"), false);
});

test("a token function that has none stops it", async () => {
  for (const none of [null, undefined, ""]) {
    const { socket, events } = await open({ token: async () => none });
    await tick(3_600_000);
    assert.deepEqual([sockets.length, names(events)], [0, ["close", "signinneeded"]]);
    assert.equal(socket.readyState, AuthSocket.CLOSED);
  }
});

test("a token function that fails is asked again, with delays", async () => {
  let asked = 0;
  const failing = async () => {
    asked += 1;
    throw new TypeError("network");
  };
  const { events } = await open({ token: failing, maxDelay: 10_000 });
  await tick(60_000);
  for (let i = 0; i < 10; i += 1) await tick(5000);
  assert.equal(names(events).includes("signinneeded"), false);
  assert.ok(asked > 5 && asked < 20, `${asked}`);
  assert.equal(events.find(({ type }) => type === "error").error.message, "network");
});

test("nothing happens before the application has set its listeners", async () => {
  const failing = () => {
    throw new TypeError("at once");
  };
  const events = record(new AuthSocket(URL_OF_CHAT, { token: failing }), "error", "close");
  await settle();
  assert.deepEqual(names(events), ["error", "close"]);
});

test("a frozen token that never opens slows down", async () => {
  await open({ token: async () => "frozen" });
  const day = 24 * 3600 * 1000;
  for (let time = 0, handled = 0; time < day; time += 30_000) {
    for (; handled < sockets.length; handled += 1) sockets[handled].end();
    await tick(30_000);
  }
  assert.ok(sockets.length < 700, `${sockets.length} handshakes a day`);
});

test("close and abort stop everything", async () => {
  const controller = new AbortController();
  for (const stop of [(socket) => socket.close(), () => controller.abort()]) {
    const { socket, events } = await open({ signal: controller.signal });
    last().open();
    const messages = record(socket, "message");
    stop(socket);
    const closed = sockets.at(-1);
    closed.receive("late");
    closed.end(1000);
    await tick(3_600_000);
    assert.deepEqual(closed.closedWith, [1000, ""]);
    assert.equal(events.at(-1).retryIn, null);
    assert.deepEqual([names(events), messages], [["open", "close"], []]);
    assert.equal(socket.readyState, AuthSocket.CLOSED);
  }
  assert.equal(sockets.length, 2);
  // Nor does it begin.
  await open({ signal: controller.signal });
  assert.equal(sockets.length, 2);
});

test("closing while the token is fetched, or while it waits, opens nothing", async () => {
  const { socket } = await open({ token: () => new Promise((resolve) => setTimeout(resolve, 100, "late")) });
  socket.close();
  await tick(3_600_000);
  assert.equal(sockets.length, 0);
  const waiting = await open();
  last().end();
  waiting.socket.close();
  await tick(3_600_000);
  assert.equal(sockets.length, 1);
});

test("whenever it is closed or connects anew, nothing is left behind", async () => {
  for (let turns = 0; turns <= 20; turns += 1) {
    for (const method of ["close", "reconnect"]) {
      sockets.length = 0;
      let calls = 0;
      const counted = (value) => async () => {
        calls += 1;
        return value;
      };
      const socket = new AuthSocket(counted(URL_OF_CHAT), { token: counted("token"), auth: ticket(counted("ticket")) });
      for (let i = 0; i < turns; i += 1) await null;
      const before = calls + sockets.length;
      socket[method]();
      const events = record(socket, "open", "close", "error");
      await settle();
      const live = sockets.filter(({ closedWith }) => closedWith === undefined);
      const [more, open, expected] = method === "close" ? [0, 0, ["close"]] : [4, 1, []];
      const seen = [calls + sockets.length - before, live.length, names(events)];
      assert.deepEqual(seen, [more, open, expected], `${method} after ${turns}`);
      socket.close();
    }
  }
});

test("no listener is left on a signal that lives long", async () => {
  let signal;
  const token = async (context) => {
    signal = context.signal;
    return "token";
  };
  const { socket } = await open({ token, refresh: true });
  last().open();
  const counts = [];
  for (let i = 0; i < 5; i += 1) {
    socket.refresh();
    await settle();
    last().receive({ type: "auth.refreshed", expires_in: null });
    counts.push(getEventListeners(signal, "abort").length);
  }
  assert.deepEqual(counts, Array(5).fill(counts[0]));
});

test("send throws unless the socket is open", async () => {
  const { socket } = await open();
  assert.throws(() => socket.send("early"), { name: "InvalidStateError" });
  last().open();
  socket.send("hello");
  assert.deepEqual(last().sent, ["hello"]);
  last().end();
  assert.throws(() => socket.send("late"), { name: "InvalidStateError" });
});

test("messages arrive, also those that look like the refresh protocol", async () => {
  const { socket } = await open();
  const messages = record(socket, "message");
  last().open();
  // Without `refresh`, the server does not speak it, and another user may have written this.
  for (const text of ["hello", '{"type":"auth.session","session":"a","expires_in":1}']) last().receive(text);
  await tick(10_000);
  assert.equal(messages.length, 2);
  assert.deepEqual(last().sent, []);
});

test("a handshake that hangs is given up", async () => {
  await open({ openTimeout: 20_000 });
  await tick(20_000);
  assert.notEqual(sockets[0].closedWith, undefined);
  await tick(1000);
  assert.equal(sockets.length, 2);
});

test("an attempt that hangs before its handshake is given up", async () => {
  const never = () => new Promise(() => {});
  const token = () => "token";
  for (const options of [{ token: never }, { token, auth: ticket(never) }, { token, auth: ticket("/ticket") }]) {
    server.answer = never;
    const { events, socket } = await open({ ...options, openTimeout: 5000 });
    await tick(4999);
    assert.deepEqual(names(events), []);
    await tick(1);
    assert.deepEqual([names(events), events[0].error.name, events[1].action], [["error", "close"], "TimeoutError", "retry"]);
    socket.close();
  }
});

test("going online wakes it, and so does a page that becomes visible", async () => {
  await open({ baseDelay: 1000 });
  for (let i = 0; i < 6; i += 1) {
    last().end();
    await tick(30_000);
  }
  for (const [target, type] of [[page.window, "online"], [page.document, "visibilitychange"]]) {
    last().end();
    await tick(1);
    const before = sockets.length;
    target.dispatchEvent(new Event(type));
    await tick(500);
    assert.equal(sockets.length, before + 1, type);
  }
  last().end();
  await tick(1);
  page.document.visibilityState = "hidden";
  page.document.dispatchEvent(new Event("visibilitychange"));
  const before = sockets.length;
  await tick(500);
  assert.equal(sockets.length, before);
});

test("offline, it waits as long as it may", async () => {
  await open({ maxDelay: 30_000 });
  page.navigator.onLine = false;
  last().end();
  await tick(29_999);
  assert.equal(sockets.length, 1);
  await tick(1);
  assert.equal(sockets.length, 2);
});

test("no listener is left on the page", async () => {
  const added = [];
  for (const target of [page.window, page.document]) {
    target.addEventListener = (type, run, { signal }) => added.push(signal);
  }
  globalThis.addEventListener = page.window.addEventListener;
  const { socket } = await open();
  socket.close();
  assert.deepEqual(added.map(({ aborted }) => aborted), [true, true]);
});

test("codes decide where there is no reason, and `decide` before all", async () => {
  const cases = [
    [CLOSE_CODES.IANA, 3003, "", "stop"],
    [CLOSE_CODES.IANA, 1000, "", "stop"],
    [CLOSE_CODES.IANA, 1013, "too_many_sessions", "retry"],
    [CLOSE_CODES.IANA, 1008, "too_many_sessions", "stop"],
    [CLOSE_CODES.HTTP_LIKE, 4401, "", "refused"],
    [CLOSE_CODES.HTTP_LIKE, 4429, "too_many_sessions", "retry"],
    [CLOSE_CODES.HTTP_LIKE, 4409, "too_many_sessions", "stop"],
    [CLOSE_CODES.GRAPHQL_WS, 4401, "", "sign-in"],
    [CLOSE_CODES.GRAPHQL_WS, 4403, "", "refused"],
    [CLOSE_CODES.CENTRIFUGO, 3500, "", "sign-in"],
    [CLOSE_CODES.CENTRIFUGO, 3005, "", "renew"],
    [CLOSE_CODES.IANA, 4999, "of the application", "retry"],
    [CLOSE_CODES.IANA, 1006, "", "retry"],
  ];
  for (const [closeCodes, code, reason, action] of cases) {
    const { events } = await open({ closeCodes });
    last().open();
    last().end(code, reason);
    await settle();
    assert.equal(events.find(({ type }) => type === "close").action, action, `${code} ${reason}`);
  }
  const { events } = await open({ decide: ({ code }) => (code === 4000 ? "sign-in" : undefined) });
  last().end(4000, "revoked by hand");
  await settle();
  assert.equal(events.at(-1).type, "signinneeded");
});

test("what is no token is asked for again, and no error names it", async () => {
  const html = "<html><body>secret</body></html>";
  const json = '{"error":"secret"}';
  const bad = [html, json, "secret, and more", "secret\n", "sécret", "secret/with=signs", { secret: 1 }, 5, ["secret"]];
  for (const answer of bad) {
    sockets.length = 0;
    let asked = 0;
    const { events, socket } = await open({ token: async () => ((asked += 1) === 1 ? answer : "good") });
    const isSilent = !JSON.stringify([events, String(events[0].error), events[0].error.stack]).includes("secret");
    assert.deepEqual([names(events), events[1].action, isSilent], [["error", "close"], "retry", true], String(answer));
    await tick(500);
    assert.deepEqual(last().protocols, ["bearer", "good"]);
    socket.close();
  }
});

test("a token goes where its source allows it", async () => {
  const token = async () => "secret/with+signs|and:more==";
  const { events } = await open({ token, auth: firstMessage() });
  last().open();
  assert.deepEqual([names(events), last().sent.length], [["open"], 1]);
  // Nothing is sent of it.
  await open({ token: async () => '{"ok": true}', auth: cookie() });
  assert.equal(sockets.length, 2);
});

test("a subprotocol of the application that is not allowed ends it, and no error names the token", async () => {
  const { events, socket } = await open({ token: async () => "secret", protocols: "not allowed" });
  await tick(3_600_000);
  assert.deepEqual([sockets.length, names(events), socket.readyState], [0, ["error", "close"], AuthSocket.CLOSED]);
  assert.equal(JSON.stringify([events, String(events[0].error), events[0].error.stack]).includes("secret"), false);
});

test("no error of a request names the token", async () => {
  server.answer = () => Promise.reject(new TypeError("invalid header value: secret", { cause: { code: "ECONNREFUSED" } }));
  const { events } = await open({ token: async () => "secret", auth: ticket("/ticket?key=secret") });
  const [{ error }] = events;
  assert.deepEqual(
    [error.name, error.message, error.cause, error.stack.includes("secret")],
    ["TypeError", "the request to https://app.example.com/ticket failed (ECONNREFUSED)", undefined, false],
  );
});

test("a ticket is bought for each attempt", async () => {
  let bought = 0;
  server.answer = () => json(200, { ticket: `ticket-${(bought += 1)}`, expires_in: 30 });
  await open({ auth: ticket("/ticket") });
  assert.deepEqual([last().url, last().protocols], [`${URL_OF_CHAT}?ticket=ticket-1`, []]);
  const [url, { method, headers }] = requests[0];
  assert.deepEqual([url, method, headers], ["https://app.example.com/ticket", "POST", { authorization: "Bearer token-1" }]);
  last().end();
  await tick(500);
  assert.equal(last().url, `${URL_OF_CHAT}?ticket=ticket-2`);
  await open({ auth: ticket(async (token) => `for-${token}`, { parameter: "t" }) });
  assert.equal(last().url, `${URL_OF_CHAT}?t=for-token-1`);
});

test("the answer to a ticket's purchase decides", async () => {
  const cases = [
    [401, { error: "invalid_token" }, {}, ["close", "close", "signinneeded"]],
    [401, { error: "insufficient_user_authentication" }, {}, ["close", "signinneeded"]],
    [403, { error: "origin_not_allowed" }, {}, ["close"]],
    [429, { error: "too_many_tickets" }, { "retry-after": "60" }, ["close"]],
    [503, { error: "unavailable" }, { "retry-after": "60" }, ["close"]],
  ];
  for (const [status, body, headers, expected] of cases) {
    requests.length = 0;
    server.answer = () => json(status, body, headers);
    const { events } = await open({ auth: ticket("/ticket") });
    await tick(30_000);
    assert.deepEqual(names(events), expected, `${status}`);
    await tick(0);
    // `Retry-After` is kept, even if the page wakes up. Half of a quarter is added.
    page.window.dispatchEvent(new Event("online"));
    await tick(37_000);
    assert.equal(events.length, expected.length, `${status}`);
    const before = requests.length;
    await tick(1000);
    assert.equal(requests.length - before, headers["retry-after"] ? 1 : 0);
    events.find(({ type }) => type === "close").target.close();
  }
  assert.equal(sockets.length, 0);
});

test("a cookie needs no token, but may be renewed", async () => {
  await open({ auth: cookie(), token: undefined });
  assert.deepEqual(last().protocols, []);
});

test("the first message has the token", async () => {
  const { events } = await open({ auth: firstMessage() });
  assert.deepEqual([last().protocols, last().sent], [[], []]);
  last().open();
  assert.deepEqual(last().sent, ['{"type":"auth.token","token":"token-1"}']);
  assert.deepEqual(names(events), ["open"]);
  await open({ auth: firstMessage((token) => `token:${token}`) });
  last().open();
  assert.deepEqual(last().sent, ["token:token-1"]);
});

test("other spellings of the subprotocol", async () => {
  await open({ auth: subprotocol((token) => ["phoenix", `base64url.bearer.phx.${btoa(token).replace(/=/g, "")}`]) });
  assert.deepEqual(last().protocols, ["phoenix", "base64url.bearer.phx.dG9rZW4tMQ"]);
});

test("a probe tells a refused token from a server that is down", async () => {
  globalThis.location = new URL("https://chat.example.com/");
  server.answer = () => json(401, {}, { "www-authenticate": 'Bearer realm="websocket", error="invalid_token"' });
  const { events } = await open();
  last().end();
  await tick(1000);
  last().end();
  await tick(3_600_000);
  assert.deepEqual(names(events), ["close", "close", "signinneeded"]);
  assert.deepEqual([events[0].status, events[0].reason, sockets.length, requests.length], [401, "invalid_token", 2, 2]);
  const [url, { headers }] = requests[0];
  assert.deepEqual([url, headers], ["https://chat.example.com/chat", { authorization: "Bearer token-1" }]);
});

test("a probe that proves nothing changes nothing", async () => {
  globalThis.location = new URL("https://chat.example.com/");
  const answers = [
    () => json(200, {}),
    () => json(426),
    // The layer takes no token from the header.
    () => json(401, { error: "missing_token" }, { "www-authenticate": 'Bearer realm="websocket"' }),
    () => json(404, { error: "invalid_token" }),
    () => Promise.reject(new TypeError("network")),
  ];
  for (const answer of answers) {
    server.answer = answer;
    const { events, socket } = await open();
    for (let i = 0; i < 4; i += 1) {
      last().end();
      await tick(30_000);
    }
    assert.deepEqual(names(events), ["close", "close", "close", "close"]);
    socket.close();
  }
});

test("a probe ends, whatever is answered", async () => {
  globalThis.location = new URL("https://chat.example.com/");
  const cancelled = [];
  const endless = (status, signal) => {
    const body = new ReadableStream({
      start: (controller) => signal.addEventListener("abort", () => controller.error(signal.reason)),
      cancel: () => cancelled.push(status),
    });
    return new Response(body, { status, headers: { "retry-after": "60" } });
  };
  for (const status of [200, 404, 503, 401, undefined]) {
    server.answer = (_, { signal }) => (status ? endless(status, signal) : new Promise(() => {}));
    const { events, socket } = await open({ openTimeout: 5000 });
    last().end();
    // Only a 401 is read.
    const isRead = status === 401 || status === undefined;
    await tick(isRead ? 4999 : 0);
    assert.equal(names(events).length, isRead ? 0 : 1, `${status}`);
    await tick(1);
    assert.deepEqual([names(events), events[0].status], [["close"], status === 503 ? 503 : undefined], `${status}`);
    socket.close();
  }
  assert.deepEqual(cancelled, [200, 404, 503]);
});

test("no probe goes to another origin by itself, nor when it is off", async () => {
  await open();
  last().end();
  await settle();
  globalThis.location = new URL("https://chat.example.com/");
  await open({ probe: false });
  last().end();
  await settle();
  assert.equal(requests.length, 0);
  await open({ probe: "https://api.example.com/me" });
  last().end();
  await settle();
  assert.equal(requests[0][0], "https://api.example.com/me");
});
