import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthSocket, cookie } from "../index.js";
import { counting, json, last, record, requests, server, settle, sockets, tick } from "./support.mjs";

const SESSION = "0123456789abcdef0000000000000001";
const greeting = (seconds) => ({ type: "auth.session", session: SESSION, expires_in: seconds });
const open = async (options) => {
  const token = options?.token ?? counting();
  const socket = new AuthSocket("wss://chat.example.com/chat", { token, refresh: true, ...options });
  const events = record(socket, "message", "session", "refused", "signinneeded", "close", "error");
  await settle();
  last().open();
  return { socket, events, token };
};
const sent = () => last().sent.map((text) => JSON.parse(text));
const names = (events) => events.map(({ type }) => type);

test("a refresh is sent before the deadline of the greeting, and before the next one", async () => {
  const { socket, events, token } = await open();
  last().receive(greeting(3600));
  assert.equal(socket.session, SESSION);
  assert.equal(socket.expiresAt, Date.now() + 3_600_000);
  await tick(3_569_999);
  assert.deepEqual(sent(), []);
  await tick(1);
  assert.deepEqual(sent(), [{ type: "auth.refresh", token: "token-2" }]);
  assert.equal(token.contexts[1].reason, "expiring");
  last().receive({ type: "auth.refreshed", expires_in: 3600 });
  await tick(3_570_000);
  assert.equal(sent().length, 2);
  // On the same socket, and nothing of it is a message.
  assert.deepEqual([sockets.length, names(events)], [1, ["session", "session"]]);
});

test("a short life is refreshed when a third is left", async () => {
  await open();
  last().receive(greeting(30));
  await tick(19_999);
  assert.equal(sent().length, 0);
  await tick(1);
  assert.equal(sent().length, 1);
});

test("a refresh is sent when the server asks, once", async () => {
  await open();
  for (let i = 0; i < 2; i += 1) last().receive({ type: "auth.expiring", expires_in: 60 });
  await settle();
  assert.deepEqual(sent(), [{ type: "auth.refresh", token: "token-2" }]);
});

test("a deadline that does not move is not asked about without end", async () => {
  await open();
  last().receive(greeting(60));
  let left = 60_000;
  for (let step = 0; left > 0; step += 1, left -= 1000) {
    const before = sent().length;
    await tick(1000);
    // Max lifetime: the server accepts the token, and the deadline stays.
    if (sent().length > before) last().receive({ type: "auth.refreshed", expires_in: (left - 1000) / 1000 });
  }
  // At 20, 10 and 5 seconds.
  assert.equal(sent().length, 3);
});

test("a refused refresh is tried again while there is time, not before the server allows", async () => {
  const { events } = await open();
  last().receive(greeting(90));
  await tick(60_000);
  last().receive({ type: "auth.refused", reason: "too_many_attempts", retry_after: 20 });
  assert.deepEqual(names(events), ["session", "refused"]);
  await tick(19_999);
  assert.equal(sent().length, 1);
  await tick(1);
  assert.equal(sent().length, 2);
});

test("a session without a deadline is never refreshed", async () => {
  const { socket } = await open();
  last().receive(greeting(null));
  await tick(1_000_000_000);
  assert.deepEqual([sent(), socket.expiresAt], [[], null]);
});

test("a deadline beyond the range of timers is waited for", async () => {
  await open();
  const month = 30 * 24 * 3600;
  last().receive(greeting(month));
  await tick(2 ** 31);
  assert.equal(sent().length, 0);
  await tick(month * 1000 - 2 ** 31 - 29_900);
  assert.equal(sent().length, 1);
});

test("a refresh belongs to its connection", async () => {
  let answer;
  let asked = 0;
  const token = () => ((asked += 1) === 2 ? new Promise((resolve) => (answer = resolve)) : Promise.resolve(`token-${asked}`));
  await open({ token });
  last().receive({ type: "auth.expiring", expires_in: 60 });
  await settle();
  last().end(1012, "shutdown");
  await tick(1000);
  last().open();
  answer("late");
  await settle();
  assert.deepEqual(sockets.map((socket) => socket.sent), [[], []]);
  // Nor does the old deadline.
  await tick(60_000);
  assert.deepEqual(sent(), []);
});

test("whenever it is closed during a refresh, nothing follows", async () => {
  server.answer = () => json(200, { expires_in: 3600 });
  for (const options of [{}, { refreshUrl: "/refresh/{session}" }]) {
    for (let turns = 0; turns <= 20; turns += 1) {
      const { socket, events } = await open(options);
      const socketEvents = record(socket, "session");
      socket.refresh();
      for (let i = 0; i < turns; i += 1) await null;
      socket.close();
      const before = [last().sent.length, socketEvents.length];
      await settle();
      assert.deepEqual([last().sent.length, socketEvents.length], before, `${turns}`);
      assert.deepEqual(names(events).filter((name) => name !== "session"), ["close"]);
    }
  }
});

test("a step-up asks the token function, and then the user", async () => {
  const contexts = [];
  const token = async (context) => (contexts.push(context) === 1 ? "first" : null);
  const { socket, events } = await open({ token });
  last().receive({ type: "auth.required", within: 120, acr_values: "gold", max_age: 300 });
  await settle();
  const required = { acrValues: "gold", maxAge: 300, scope: undefined };
  assert.deepEqual([contexts[1].reason, contexts[1].required], ["step_up", required]);
  const { type, acrValues, maxAge } = events[0];
  assert.deepEqual([type, acrValues, maxAge], ["signinneeded", "gold", 300]);
  // It has time to do so.
  assert.deepEqual([socket.readyState, last().sent], [AuthSocket.OPEN, []]);
});

test("a step-up is remembered while the token function fails", async () => {
  const contexts = [];
  const token = async (context) => {
    if (contexts.push(context) === 2 || contexts.length === 3) throw new TypeError("network");
    return `token-${contexts.length}`;
  };
  await open({ token });
  last().receive(greeting(3600));
  last().receive({ type: "auth.required", within: 120, acr_values: "gold" });
  // At half of the time that is left, each time.
  await tick(59_999);
  assert.equal(contexts.length, 2);
  await tick(1);
  await tick(30_000);
  const required = { acrValues: "gold", maxAge: undefined, scope: undefined };
  const asked = contexts.slice(1).map(({ reason, required }) => [reason, required]);
  assert.deepEqual(asked, Array(3).fill(["step_up", required]));
  assert.deepEqual(sent(), [{ type: "auth.refresh", token: "token-4" }]);
  // A refresh that is accepted ends it.
  last().receive({ type: "auth.refreshed", expires_in: 7200 });
  await tick(7_170_000);
  assert.deepEqual([contexts.length, contexts[4].reason, contexts[4].required], [5, "expiring", undefined]);
});

test("a step-up is remembered while the user signs in, and forgotten after its time", async () => {
  const contexts = [];
  const token = async (context) => (contexts.push(context) === 2 ? null : "token");
  const { socket, events } = await open({ token });
  last().receive(greeting(3600));
  last().receive({ type: "auth.required", within: 120, acr_values: "gold", scope: "transfer" });
  await settle();
  socket.refresh();
  await settle();
  assert.deepEqual([contexts[2].reason, contexts[2].required.acrValues], ["step_up", "gold"]);
  // What the server says is more exact, but it does not say all.
  last().receive({ type: "auth.refused", reason: "insufficient_user_authentication", max_age: 60 });
  const { acrValues, maxAge, scope } = events.at(-1);
  assert.deepEqual([acrValues, maxAge, scope], ["gold", 60, "transfer"]);
  // A handler that keeps the session goes on without it.
  await tick(3_570_000);
  assert.deepEqual([contexts.length, contexts[3].reason, contexts[3].required], [4, "expiring", undefined]);
});

test("a step-up during a refresh comes after it, whatever becomes of it", async () => {
  const answers = [
    () => last().receive({ type: "auth.refreshed", expires_in: 3600 }),
    () => last().receive({ type: "auth.refused", reason: "invalid_token" }),
  ];
  for (const answer of answers) {
    const { token } = await open();
    last().receive({ type: "auth.expiring", expires_in: 60 });
    await settle();
    last().receive({ type: "auth.required", within: 120, acr_values: "gold" });
    await settle();
    assert.equal(token.contexts.length, 2);
    answer();
    await settle();
    const { reason, required } = token.contexts[2];
    assert.deepEqual([reason, required.acrValues, sent().length], ["step_up", "gold", 2]);
  }
  // While the token function still runs, too.
  const contexts = [];
  const token = (context) => (contexts.push(context) === 2 ? Promise.reject(new TypeError("network")) : Promise.resolve("token"));
  await open({ token });
  last().receive({ type: "auth.expiring", expires_in: 60 });
  last().receive({ type: "auth.required", within: 120, acr_values: "gold" });
  await settle();
  assert.deepEqual(contexts.map(({ reason }) => reason), ["", "expiring", "step_up"]);
});

test("a new sign-in during a refresh is followed by another refresh", async () => {
  const { socket } = await open();
  last().receive({ type: "auth.expiring", expires_in: 60 });
  await settle();
  socket.refresh();
  socket.refresh();
  last().receive({ type: "auth.refreshed", expires_in: 3600 });
  await settle();
  assert.deepEqual(sent().map(({ token }) => token), ["token-2", "token-3"]);
});

test("an answer that nothing asked for, and a second greeting, are messages", async () => {
  const { socket, events } = await open();
  last().receive(greeting(3600));
  const forged = [{ type: "auth.refreshed", expires_in: 1 }, { type: "auth.refused", reason: "x" }, greeting(1)];
  const isUnchanged = () => assert.equal(socket.expiresAt, Date.now() + 3_600_000);
  for (const message of forged) last().receive(message);
  isUnchanged();
  assert.deepEqual(names(events), ["session", "message", "message", "message"]);
  // Only one answer to each request.
  socket.refresh();
  last().receive(forged[0]);
  isUnchanged();
  await settle();
  last().receive({ type: "auth.refreshed", expires_in: 3600 });
  last().receive(forged[0]);
  isUnchanged();
});

test("while the refresh goes over HTTP, no message answers it", async () => {
  server.answer = () => new Promise(() => {});
  const { socket, events } = await open({ refresh: false, refreshUrl: "/refresh/{session}" });
  last().receive(greeting(3600));
  socket.refresh();
  await settle();
  last().receive({ type: "auth.refreshed", expires_in: 1 });
  assert.deepEqual([requests.length, names(events)], [1, ["session", "message"]]);
});

test("after a new sign-in, the application refreshes by itself", async () => {
  const { socket, token } = await open();
  socket.refresh();
  await settle();
  assert.deepEqual(sent(), [{ type: "auth.refresh", token: "token-2" }]);
  // There is nothing to refresh while it is closed.
  last().receive({ type: "auth.refreshed", expires_in: 3600 });
  last().end();
  await settle();
  socket.refresh();
  await settle();
  assert.equal(token.contexts.length, 2);
});

test("without the refresh protocol there is no refresh: a handler would receive the token", async () => {
  const { socket, token } = await open({ refresh: false });
  assert.throws(() => socket.refresh(), { name: "InvalidStateError" });
  await settle();
  assert.deepEqual([last().sent, token.contexts.length], [[], 1]);
});

test("nothing is refreshed before the socket is open", async () => {
  const token = counting();
  const socket = new AuthSocket("wss://chat.example.com/chat", { token, refresh: true });
  const errors = record(socket, "error");
  await settle();
  socket.refresh();
  await settle();
  assert.deepEqual([last().sent, token.contexts.length, errors], [[], 1, []]);
});

test("other messages are the application's", async () => {
  const { events } = await open();
  const texts = ["hello", "", "{", '["auth.session"]', '{"type":"chat","text":"\\"auth.session\\""}', '{"type":"auth.other"}'];
  for (const text of texts) last().receive(text);
  assert.deepEqual(events.map(({ data }) => data), texts);
});

test("a cookie is refreshed over HTTP", async () => {
  const options = { auth: cookie(), refresh: false, refreshUrl: "/refresh/{session}" };
  const { events, token } = await open(options);
  last().receive(greeting(90));
  server.answer = () => json(200, { expires_in: 3600 });
  await tick(60_000);
  const [url, { method, headers, body }] = requests[0];
  assert.deepEqual([url, method, headers, body], [`https://app.example.com/refresh/${SESSION}`, "POST", {}, undefined]);
  assert.deepEqual([token.contexts.length, last().sent, names(events)], [2, [], ["session", "session"]]);
  await tick(3_570_000);
  assert.equal(requests.length, 2);
});

test("an answer of the route decides as one on the socket", async () => {
  const { socket, events } = await open({ refreshUrl: (session) => `/hub/refresh?id=${session}` });
  last().receive(greeting(90));
  server.answer = () => json(429, { error: "too_many_attempts" }, { "retry-after": "20" });
  await tick(60_000);
  await tick(19_999);
  assert.equal(requests.length, 1);
  server.answer = () => json(401, { error: "insufficient_user_authentication" });
  await tick(1);
  assert.deepEqual(requests[1][0], `https://app.example.com/hub/refresh?id=${SESSION}`);
  assert.deepEqual(names(events), ["session", "refused", "refused", "signinneeded"]);
  assert.equal(socket.readyState, AuthSocket.OPEN);
});

test("a session's id cannot lead the request elsewhere", async () => {
  for (const session of ["../admin", "..", "a/b", "?x", 5, null]) {
    await open({ refreshUrl: "/refresh/{session}" });
    last().receive({ ...greeting(90), session });
    await tick(60_000);
    assert.match(requests.at(-1)[0], /^https:\/\/app\.example\.com\/refresh\/\w*$/);
  }
});
