import { io } from "socket.io-client";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];

export const connect = async (url, getToken, onSignInNeeded, options) => {
  // Its own reconnecting cannot wait for a token, and stops when the server disconnects.
  const socket = io(url, { transports: ["websocket"], reconnection: false, autoConnect: false, ...options });
  let tries = 0;
  let reason = "";
  const open = async () => {
    try {
      socket.io.opts.protocols = ["bearer", await getToken()];
    } catch {
      return void later();
    }
    socket.connect();
  };
  const later = () => setTimeout(open, Math.random() * Math.min(30_000, 1000 * 2 ** tries++));
  socket.on("connect", () => (tries = 0));
  socket.on("connect_error", later);
  // The protocol has no close code, so the server sends this before it disconnects.
  socket.on("auth.ended", (ended) => (reason = ended));
  socket.on("disconnect", (why) => {
    if (why === "io client disconnect") return;
    if (GOES_ON.includes(reason)) later();
    else onSignInNeeded(reason);
    reason = "";
  });
  await open();
  return socket;
};
