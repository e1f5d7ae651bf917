import { Centrifuge } from "centrifuge";

// Its own codes: it has no token, or the server ended the connection for good.
const UNAUTHORIZED = 1;
const TERMINAL = 3500;

export const connect = (url, getToken, onSignInNeeded, options) => {
  // It keeps a token until the server answers that this has expired, and gets the next one when its `ttl` has passed.
  const client = new Centrifuge(url, { getToken, ...options });
  client.on("disconnected", ({ code, reason }) => {
    if (code === UNAUTHORIZED || code >= TERMINAL) onSignInNeeded(reason);
  });
  client.connect();
  return client;
};
