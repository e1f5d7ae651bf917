import { Socket } from "phoenix";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];

export const connect = async (url, getToken, onSignInNeeded, options) => {
  let token = await getToken();
  const socket = new Socket(url, {
    authToken: () => token,
    // Long enough for the next token: `authToken` cannot wait for it.
    reconnectAfterMs: (tries) => 1000 + Math.random() * Math.min(30_000, 1000 * 2 ** tries),
    ...options,
  });
  // It reconnects after every close that it did not cause, whatever the code.
  socket.onClose(async ({ reason }) => {
    // It may come back before the next token is there. No token is better than an old one: then this is no verdict.
    const hadToken = token !== "";
    token = "";
    if (!hadToken || GOES_ON.includes(reason)) return (token = await getToken());
    socket.disconnect();
    onSignInNeeded(reason);
  });
  socket.connect();
  return socket;
};
