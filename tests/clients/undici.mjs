// The WebSocket of undici, which is Node's own too.
import { text as read } from "node:stream/consumers";
import { WebSocket } from "undici";
import { attempt } from "./web.mjs";

for (const { url, protocols, headers, text } of JSON.parse(await read(process.stdin))) {
  console.log(JSON.stringify(await attempt(new WebSocket(url, { protocols, headers }), text)));
}
// A handshake that undici itself finds at fault leaves its connection open, and that would keep Node waiting.
process.exit();
