// The npm package `centrifuge`.
import { text as read } from "node:stream/consumers";
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";

// A token that is valid for this many milliseconds.
const token = (lifetime) => `alice.${Date.now() + lifetime}`;

// Connects, and runs until the event `until` has occurred `times` times.
const run = ({ url, first, next, until, times }) =>
  new Promise((resolve) => {
    const seen = { fetched: 0, connected: 0, refused: [], answered: false };
    const client = new Centrifuge(url, {
      websocket: WebSocket,
      token: first === null ? "" : (first.text ?? token(first.lifetime)),
      getToken: async () => {
        const lifetime = next[Math.min(seen.fetched, next.length - 1)];
        seen.fetched += 1;
        return token(lifetime);
      },
      minReconnectDelay: 10,
      maxReconnectDelay: 50,
    });
    const look = async () => {
      if (seen[until] !== times) return;
      // Wait for the answer to the refresh.
      if (until === "fetched") await new Promise((done) => setTimeout(done, 300));
      seen.state = client.state;
      if (client.state === "connected") seen.answered = (await client.rpc("echo", { hello: 1 })).data.hello === 1;
      client.removeAllListeners();
      client.disconnect();
      resolve(seen);
    };
    client.on("connected", () => {
      seen.connected += 1;
      look();
    });
    client.on("error", ({ error }) => seen.refused.push(error.code));
    client.on("disconnected", ({ code, reason }) => {
      seen.disconnected = { code, reason };
      resolve(seen);
    });
    const fetched = setInterval(() => {
      if (until === "fetched" && seen.fetched === times) {
        clearInterval(fetched);
        look();
      }
    }, 20);
    client.connect();
  });

for (const one of JSON.parse(await read(process.stdin))) {
  console.log(JSON.stringify(await run(one)));
}
process.exit();
