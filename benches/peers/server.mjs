// ws with `noServer` and jsonwebtoken: client authentication as the README of ws has it.

import { createServer } from "node:http";
import jwt from "jsonwebtoken";
import { WebSocketServer } from "ws";

const { SECRET, ISSUER, AUDIENCE } = process.env;

// The client ends each connection by a reset.
const ignore = () => {};

const server = createServer();
const wss = new WebSocketServer({ noServer: true });

wss.on("connection", (ws) => {
  ws.on("error", ignore);
  ws.on("message", ignore);
});

function authenticate(request, next) {
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  if (scheme.toLowerCase() !== "bearer") return next();
  jwt.verify(token, SECRET, { algorithms: ["HS256"], issuer: ISSUER, audience: AUDIENCE }, next);
}

server.on("upgrade", (request, socket, head) => {
  socket.on("error", ignore);
  authenticate(request, (error, claims) => {
    if (error || !claims) {
      socket.write("HTTP/1.1 401 Unauthorized\r\n\r\n");
      socket.destroy();
      return;
    }
    socket.removeListener("error", ignore);
    wss.handleUpgrade(request, socket, head, (ws) => wss.emit("connection", ws, request, claims));
  });
});

server.listen(0, "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`${address}:${port}`);
});
// Until the process that started this one is done with it.
process.stdin.resume().on("end", () => process.exit());
