// What the recipes do when there is no token for a while. `tests/clients` runs them with their packages.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { settle, tick } from "./support.mjs";

/** The recipe, with a package of the test's. */
const recipe = async (name, fake) => {
  globalThis.recipePackage = fake;
  const text = readFileSync(new URL(`../recipes/${name}.mjs`, import.meta.url), "utf8");
  const source = text.replace(/^import (\{.*\}) from .*$/m, "const $1 = globalThis.recipePackage;");
  return (await import(`data:text/javascript,${encodeURIComponent(source)}`)).connect;
};
/** Fails at the second call, and the third. */
const failing = () => {
  let asked = 0;
  return async () => {
    asked += 1;
    if (asked === 2 || asked === 3) throw new TypeError("network");
    return `token-${asked}`;
  };
};

test("socket.io: without a token, it tries again later", async () => {
  const offered = [];
  const listeners = {};
  const socket = {
    io: { opts: {} },
    on: (name, run) => (listeners[name] = run),
    connect: () => offered.push(socket.io.opts.protocols[1]),
  };
  const connect = await recipe("socket.io", { io: () => socket });
  const needed = [];
  await connect("https://example.com", failing(), (reason) => needed.push(reason));
  listeners.disconnect("transport close");
  for (let i = 0; i < 3; i += 1) await tick(30_000);
  assert.deepEqual([offered, needed], [["token-1", "token-4"], []]);
  listeners["auth.ended"]("revoked");
  listeners.disconnect("io server disconnect");
  assert.deepEqual(needed, ["revoked"]);
});

test("graphql-ws: without a token, it closes with a code that is not final", async () => {
  let options;
  const connect = await recipe("graphql-ws", { createClient: (given) => (options = given) });
  const needed = [];
  connect("wss://example.com", failing(), (reason) => needed.push(reason));
  const closed = [];
  const attempt = () => {
    options.on.opened({ close: (code) => closed.push(code) });
    return options.connectionParams();
  };
  assert.deepEqual(await attempt(), { Authorization: "Bearer token-1" });
  assert.deepEqual([await attempt(), closed], [undefined, [4900]]);
  // Its own ends are no verdict, nor is an error without a code.
  const own = [[4900, ""], [1000, "Normal Closure"], [4005, "network"], [4004, "Bad response"], [4499, "Terminated"], [1006, ""]];
  for (const [code, reason] of own) options.on.closed({ code, reason });
  assert.deepEqual([needed, options.shouldRetry(new Event("error")), options.shouldRetry({ code: 4900, reason: "" })], [[], true, true]);
  options.on.closed({ code: 4401, reason: "revoked" });
  assert.deepEqual([needed, options.shouldRetry({ code: 4401, reason: "revoked" })], [["revoked"], false]);
});

test("partysocket: its own timeout is no verdict", async () => {
  let options;
  class WebSocket {
    constructor(url, protocols, given) {
      options = given;
    }
  }
  const connect = await recipe("partysocket", { WebSocket });
  const needed = [];
  connect("wss://example.com", failing(), (reason) => needed.push(reason));
  const ends = ["timeout", "", "shutdown", "revoked"].map((reason) => options.shouldReconnectOnClose({ code: 1000, reason }));
  await settle();
  assert.deepEqual([ends, needed], [[true, true, true, false], ["revoked"]]);
});
