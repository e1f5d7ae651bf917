// The recipes of `clients/js/recipes`, with their packages.
import { register } from "node:module";
import { text as read } from "node:stream/consumers";
import WebSocket from "ws";

register("./js_recipes_resolve.mjs", import.meta.url);

const { base, names } = JSON.parse(await read(process.stdin));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const post = async (path) => (await fetch(base + path, { method: "POST" })).json();

/** What a package lacks in Node, and what names the scenario in its requests. */
const packages = (scenario) => ({
  partysocket: [`ws${base.slice(4)}/partysocket?scenario=${scenario}`, { WebSocket }],
  phoenix: [`ws${base.slice(4)}/phoenix`, { transport: WebSocket, params: { scenario } }],
  "graphql-ws": [`ws${base.slice(4)}/graphql-ws?scenario=${scenario}`, { webSocketImpl: WebSocket, lazy: false }],
  signalr: [`${base}/signalr?scenario=${scenario}`, { logger: 6 }],
  "socket.io": [base, { query: { scenario } }],
  centrifuge: [`ws${base.slice(4)}/centrifuge?scenario=${scenario}`, { websocket: WebSocket }],
});

// Before any token begins to age.
const recipes = {};
for (const name of names) recipes[name] = await import(`../../clients/js/recipes/${name}.mjs`);

const run = async (name, kind) => {
  const refused = kind === "refused";
  const { connect } = recipes[name];
  const scenario = `${name}-${kind}`;
  // SignalR needs a token for each of two requests.
  const lives = name === "signalr" ? [5000, 5000] : [5000];
  const seen = { tokens: 0, needed: [] };
  const token = async () => {
    seen.tokens += 1;
    // Longer than the package waits before it reconnects.
    if (kind === "slow" && seen.tokens > 1) await sleep(4000);
    return refused ? "bad" : `${scenario}.${Date.now() + (lives.shift() ?? 60_000)}`;
  };
  const [url, options] = packages(scenario)[name];
  const signInNeeded = (reason) => seen.needed.push(reason);
  let client;
  try {
    client = await connect(url, token, signInNeeded, options);
  } catch ({ message }) {
    return { ...seen, thrown: message.includes("401") };
  }
  if (!refused) {
    const log = async () => (await fetch(`${base}/log/${scenario}`)).json();
    const opened = async () => (await log()).filter((line) => line === "socket 101").length;
    // It has a second connection, after the first token has expired.
    while ((await opened()) < 2) await sleep(50);
    // SignalR does not tell why a connection ended before its own handshake.
    while (name === "signalr" && client.state !== "Connected") await sleep(50);
    while ((await post(`/end/${scenario}`)) === 0) await sleep(50);
  }
  while (seen.needed.length === 0) await sleep(50);
  // Long enough for another attempt.
  await sleep(3500);
  return { ...seen, log: await (await fetch(`${base}/log/${scenario}`)).json() };
};

const limited = (name, kind) => {
  const late = sleep(40_000).then(() => "takes too long");
  return Promise.race([run(name, kind), late]).catch((error) => String(error.stack));
};
const slow = limited("phoenix", "slow");
const outcomes = names.map(async (name) => [name, await Promise.all([limited(name, "usual"), limited(name, "refused")])]);
const all = Object.fromEntries(await Promise.all(outcomes));
console.log(JSON.stringify({ ...all, slow: (await slow).needed }));
process.exit();
