// The WebSocket of undici, which is also Node's own.
import { text as read } from "node:stream/consumers";
import { WebSocket } from "undici";
import { attempt } from "./web.mjs";

for (const { url, protocols, headers, text } of JSON.parse(await read(process.stdin))) {
  console.log(JSON.stringify(await attempt(new WebSocket(url, { protocols, headers }), text)));
}
// If undici itself rejects a handshake, it leaves the connection open, and Node would not exit. The callback waits for the output.
process.stdout.write("", () => process.exit());
