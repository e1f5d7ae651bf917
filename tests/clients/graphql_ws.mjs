// The npm package `graphql-ws`, as Apollo Client, urql and Relay use it.
import { text as read } from "node:stream/consumers";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

// `params` holds the parameters of each attempt.
const run = ({ url, params, retries }) =>
  new Promise((resolve) => {
    let attempts = 0;
    const client = createClient({
      url,
      webSocketImpl: WebSocket,
      connectionParams: () => params[Math.min(attempts++, params.length - 1)],
      retryAttempts: retries,
      retryWait: async () => {},
    });
    const end = (outcome) => {
      client.dispose();
      resolve({ ...outcome, attempts });
    };
    let data;
    client.subscribe(
      { query: "{ me }" },
      {
        next: (result) => {
          data = result.data;
        },
        complete: () => end({ data }),
        error: ({ code, reason }) => end({ closed: { code, reason } }),
      },
    );
  });

for (const one of JSON.parse(await read(process.stdin))) {
  console.log(JSON.stringify(await run(one)));
}
