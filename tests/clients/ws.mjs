// The npm package `ws`.
import { text as read } from "node:stream/consumers";
import WebSocket from "ws";

const attempt = ({ url, protocols, headers, text }) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols, { headers });
    let protocol;
    let echo;
    socket.on("unexpected-response", (request, response) => {
      request.destroy();
      resolve({ refused: { status: response.statusCode } });
    });
    socket.on("open", () => {
      protocol = socket.protocol;
      socket.send(text);
    });
    socket.on("message", (data) => {
      echo = data.toString();
      socket.close(1000);
    });
    // After a refusal the promise is already settled.
    socket.on("error", reject);
    socket.on("close", (code, reason) => {
      if (echo === undefined) resolve({ closed: { protocol, code, reason: reason.toString() } });
      else resolve({ echoed: { protocol, text: echo, code } });
    });
  });

for (const one of JSON.parse(await read(process.stdin))) {
  console.log(JSON.stringify(await attempt(one)));
}
