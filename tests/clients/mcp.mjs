// The npm package `@modelcontextprotocol/sdk`: a call, a log-out while streams are open, and another call.
import { text as read } from "node:stream/consumers";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { url, logOut, token } = JSON.parse(await read(process.stdin));
const seen = { responses: {}, ended: [] };

const until = async (done) => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
};

// Counts the responses of each kind, and notes how each stream ends that an answer does not end.
const streams = [];
const noting = async (target, init) => {
  const response = await fetch(target, init);
  const type = response.headers.get("content-type");
  const whole = response.headers.has("content-length") ? "whole" : "stream";
  const kind = [init.method, response.status, type ?? "", type ? whole : ""].join(" ").trimEnd();
  seen.responses[kind] = (seen.responses[kind] ?? 0) + 1;
  if (type !== "text/event-stream") return response;
  const [own, others] = response.body.tee();
  const ended = read(own).then((text) => {
    const last = text.trimEnd().split("\n\n").at(-1);
    if (!last.includes('"jsonrpc"')) seen.ended.push(`${init.method} ${last}`);
  });
  streams.push(ended);
  return new Response(others, response);
};

const transport = new StreamableHTTPClientTransport(new URL(url), {
  fetch: noting,
  requestInit: { headers: { authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "client", version: "1" });
// How often the client gave up to reconnect a stream.
let gaveUp = 0;
client.onerror = ({ message }) => {
  if (message.startsWith("Maximum reconnection attempts")) gaveUp += 1;
};
await client.connect(transport);

const who = async () => (await client.callTool({ name: "who" })).content[0].text;
seen.who = await who();
const opened = (start) => Object.keys(seen.responses).some((kind) => kind.startsWith(start));
await until(() => opened("GET"));
if (opened("GET 200")) {
  const open = streams.length + 1;
  // The stream of this call stays open, like that of the notifications.
  client.callTool({ name: "wait" }).catch(() => {});
  await until(() => streams.length === open);
}
await fetch(logOut, { method: "POST" });
await Promise.all(streams);
seen.next = await who().catch(({ code }) => code);
await until(() => gaveUp === seen.ended.length);
seen.ended.sort();
console.log(JSON.stringify(seen));
process.exit();
