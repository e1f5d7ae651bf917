import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthEventSource, ticket } from "../index.js";
import { counting, json, record, requests, server, settle, tick } from "./support.mjs";

/** A stream that the test writes. */
const streaming = (headers = {}) => {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const response = new Response(readable, { headers: { "content-type": "text/event-stream", ...headers } });
  Object.defineProperty(response, "url", { value: "https://app.example.com/events" });
  const bytes = (data) => (typeof data === "string" ? new TextEncoder().encode(data) : data);
  return {
    response,
    write: async (data) => {
      writer.write(bytes(data)).catch(() => {});
      await settle();
    },
    end: async () => {
      writer.close().catch(() => {});
      await settle();
    },
    abort: async () => {
      writer.abort(new TypeError("network")).catch(() => {});
      await settle();
    },
  };
};
const open = async (options) => {
  const stream = streaming();
  server.answer = () => stream.response;
  const token = counting();
  const source = new AuthEventSource("/events", { token, ...options });
  const events = record(source, "open", "message", "close", "signinneeded", "error");
  await settle();
  return { source, events, stream, token };
};
const names = (events) => events.map(({ type }) => type);
const messages = (events) => events.filter(({ type }) => type === "message").map(({ data }) => data);

test("the token is in a header, and a new one each time", async () => {
  const { stream } = await open();
  const [url, { headers, cache }] = requests[0];
  assert.deepEqual([url, headers.authorization, cache], ["https://app.example.com/events", "Bearer token-1", "no-store"]);
  assert.equal("last-event-id" in headers, false);
  await stream.end();
  await tick(500);
  assert.equal(requests[1][1].headers.authorization, "Bearer token-2");
});

test("events are read as the standard says, however they are cut", async () => {
  const text =
    "\uFEFF: comment\ndata: one\n\ndata:two\rdata:  three\r\rid: 7\r\nevent: ping\r\ndata\r\n\r\nevent: none\n\nid: ü\ndata: four\n\nid\ndata: five\n\ndata: unfinished";
  const expected = [["message", "one", ""], ["message", "two\n three", ""], ["ping", "", "7"], ["message", "four", "ü"], ["message", "five", ""]];
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, 1000]) {
    const { source, stream } = await open();
    const events = record(source, "message", "ping");
    for (let i = 0; i < bytes.length; i += size) await stream.write(bytes.subarray(i, i + size));
    assert.deepEqual(events.map(({ type, data, lastEventId }) => [type, data, lastEventId]), expected, `${size}`);
    assert.equal(events[0].origin, "https://app.example.com");
    source.close();
  }
});

test("the last id is sent again, as UTF-8, and `retry` sets the delay", async () => {
  const { stream, events } = await open();
  await stream.write("id: ü\nretry: 4000\ndata: x\n\n");
  await stream.abort();
  assert.equal(events.at(-1).retryIn, 2000);
  await tick(2000);
  assert.equal(requests[1][1].headers["last-event-id"], "Ã¼");
});

test("an event that was cut is not acknowledged", async () => {
  const cases = [
    ["id: 1\ndata: x\n\nid: 2\ndata: y\n", "1"],
    ["id: 1\ndata: x\n\nid: 2\n", "1"],
    // A block without data is one too.
    ["id: 1\ndata: x\n\nid: 2\n\n", "2"],
    ["id: 1\n", undefined],
  ];
  for (const [text, expected] of cases) {
    const { stream, source } = await open();
    await stream.write(text);
    await stream.end();
    await tick(500);
    assert.equal(requests.at(-1)[1].headers["last-event-id"], expected, text);
    source.close();
  }
});

test("`retry: 0` does not undo the growth of the delays, and a long one is kept", async () => {
  for (const [retry, expected] of [[0, [50, 100, 200]], [60_000, [30_000, 30_000, 30_000]]]) {
    const { stream, events, source } = await open();
    await stream.write(`retry: ${retry}\n\n`);
    server.answer = () => json(500);
    await stream.end();
    for (let i = 0; i < 2; i += 1) await tick(60_000);
    const delays = events.filter(({ type }) => type === "close").map(({ retryIn }) => retryIn);
    assert.deepEqual(delays.slice(0, 3), expected);
    source.close();
  }
});

test("`auth.ended` decides, and is no event of the application", async () => {
  const cases = [
    ["token_expired", ["open", "message", "close"], 2],
    ["revoked", ["open", "message", "close", "signinneeded"], 1],
    // A newer stream has replaced this one. They must not replace each other in turn.
    ["too_many_sessions", ["open", "message", "close"], 1],
    ["policy", ["open", "message", "close"], 1],
    ["shutdown", ["open", "message", "close"], 2],
  ];
  for (const [reason, expected, attempts] of cases) {
    requests.length = 0;
    const { stream, events, source } = await open();
    const ended = record(source, "auth.ended");
    await stream.write("data: x\n\n");
    await stream.write(`event: auth.ended\ndata: {"reason":"${reason}"}\n\n`);
    assert.deepEqual([names(events), events[2].reason, ended.length], [expected, reason, 0]);
    server.answer = () => new Promise(() => {});
    await tick(1000);
    assert.equal(requests.length, attempts, reason);
    source.close();
  }
});

test("the status decides", async () => {
  const cases = [
    [json(401, { error: "invalid_token" }), ["refused"]],
    [json(401, { error: "insufficient_user_authentication" }), ["sign-in"]],
    [json(403, { error: "insufficient_scope" }), ["stop"]],
    [json(404), ["stop"]],
    [new Response(null, { status: 204 }), ["stop"]],
    [new Response("<html>", { headers: { "content-type": "text/html" } }), ["stop"]],
    [json(429, { error: "too_many_sessions" }, { "retry-after": "7" }), ["retry"]],
    [json(503), ["retry"]],
  ];
  for (const [response, actions] of cases) {
    server.answer = () => response;
    const source = new AuthEventSource("/events", { token: counting() });
    const events = record(source, "close");
    await settle();
    assert.deepEqual(events.map(({ action }) => action), actions, `${response.status}`);
    // With half of a quarter.
    if (response.status === 429) assert.equal(events[0].retryIn, 7875);
    source.close();
  }
});

test("a second refused token asks the user", async () => {
  server.answer = () => json(401, { error: "invalid_token" });
  const source = new AuthEventSource("/events", { token: counting() });
  const events = record(source, "close", "signinneeded");
  await tick(1000);
  await tick(3_600_000);
  assert.deepEqual([names(events), requests.length], [["close", "close", "signinneeded"], 2]);
  assert.equal(source.readyState, AuthEventSource.CLOSED);
});

test("closing aborts the request, and nothing follows", async () => {
  const { source, stream, events } = await open();
  source.close();
  await stream.write("data: late\n\n");
  await tick(3_600_000);
  assert.deepEqual([names(events), requests.length, requests[0][1].signal.aborted], [["open", "close"], 1, true]);
});

test("whenever it is closed or connects anew, nothing is left behind", async () => {
  for (let turns = 0; turns <= 20; turns += 1) {
    for (const method of ["close", "reconnect"]) {
      requests.length = 0;
      server.answer = () => streaming().response;
      const source = new AuthEventSource("/events", { token: async () => "token" });
      for (let i = 0; i < turns; i += 1) await null;
      const before = requests.length;
      source[method]();
      const events = record(source, "open", "close", "error");
      await settle();
      const live = requests.filter(([, { signal }]) => !signal.aborted);
      const expected = method === "close" ? [AuthEventSource.CLOSED, 0, 0, ["close"]] : [AuthEventSource.OPEN, 1, 1, ["open"]];
      const seen = [source.readyState, requests.length - before, live.length, names(events)];
      assert.deepEqual(seen, expected, `${method} after ${turns}`);
      source.close();
    }
  }
});

test("closing in a handler leaves the rest of the stream unread", async () => {
  const { source, stream, events } = await open();
  source.onmessage = () => source.reconnect();
  await stream.write("id: 1\ndata: one\n\nid: 2\ndata: two\n\n");
  assert.deepEqual([messages(events), requests.length], [["one"], 2]);
  assert.equal(requests[1][1].headers["last-event-id"], "1");
});

test("an attempt that hangs is given up, and a stream that is open is not", async () => {
  server.answer = () => new Promise(() => {});
  const waiting = new AuthEventSource("/events", { token: counting(), openTimeout: 5000 });
  const failed = record(waiting, "error", "close");
  await tick(4999);
  assert.deepEqual(names(failed), []);
  await tick(1);
  assert.deepEqual([names(failed), failed[0].error.name, failed[1].action], [["error", "close"], "TimeoutError", "retry"]);
  waiting.close();
  const { source, events } = await open({ openTimeout: 5000 });
  await tick(3_600_000);
  assert.deepEqual([names(events), source.readyState], [["open"], AuthEventSource.OPEN]);
});

test("an event that is too large ends the connection", async () => {
  const { stream, events } = await open();
  const part = `data: ${"x".repeat(1 << 20)}\n`;
  for (let i = 0; i < 16; i += 1) await stream.write(part);
  assert.deepEqual(names(events), ["open", "error", "close"]);
  assert.deepEqual(messages(events), []);
});

test("a ticket replaces the header", async () => {
  const stream = streaming();
  server.answer = (url) => (url.endsWith("/ticket") ? json(200, { ticket: "once" }) : stream.response);
  new AuthEventSource("/events", { token: counting(), auth: ticket("/ticket") });
  await settle();
  const [url, { headers }] = requests[1];
  assert.deepEqual([url, headers], ["https://app.example.com/events?ticket=once", { accept: "text/event-stream" }]);
});
