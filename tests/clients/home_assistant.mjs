// The npm package `home-assistant-js-websocket`.
import { text as read } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { createConnection } from "home-assistant-js-websocket";
import { WebSocket } from "undici";

let opened = 0;
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url);
    opened += 1;
  }
};

// Retries forever, once a second.
const setupRetry = -1;
const auth = (wsUrl, accessToken) => ({ wsUrl, accessToken, expired: false });

const outcome = async (connecting) => {
  opened = 0;
  try {
    const connection = await connecting();
    await connection.ping();
    return { connected: { version: connection.haVersion, opened, connection } };
  } catch (error) {
    return { failed: { error, opened } };
  }
};

const scenarios = {
  async connects({ url, token }) {
    return outcome(() => createConnection({ auth: auth(url, token), setupRetry }));
  },
  // The user may have one connection. The second one has to wait until the first is closed.
  async waits_for_a_place({ url, token }) {
    const first = await createConnection({ auth: auth(url, token), setupRetry });
    return outcome(async () => {
      const second = createConnection({ auth: auth(url, token), setupRetry });
      await sleep(300);
      first.close();
      return second;
    });
  },
  // Takes longer to fetch its token than the server waits.
  async is_late({ url, token }) {
    const late = auth(url, token);
    late.expired = true;
    late.refreshAccessToken = () => {
      setTimeout(() => {
        late.expired = false;
      }, 700);
      return new Promise(() => {});
    };
    return outcome(() => createConnection({ auth: late, setupRetry }));
  },
};

for (const { scenario, ...options } of JSON.parse(await read(process.stdin))) {
  const result = await scenarios[scenario](options);
  result.connected?.connection.close();
  delete result.connected?.connection;
  console.log(JSON.stringify(result));
}
process.exit();
