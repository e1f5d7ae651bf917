import { createClient } from "graphql-ws";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];
// Its own codes: the normal end, a bad answer, its own error, no life sign, no acknowledgement.
const OWN = [1000, 4004, 4005, 4499, 4504];
// No token now. A rejection would end the client for good.
const NO_TOKEN = 4900;
// An error of the network has no reason.
const goesOn = ({ code, reason = "" }) => OWN.includes(code) || GOES_ON.includes(reason);

export const connect = (url, getToken, onSignInNeeded, options) => {
  let socket;
  return createClient({
    url,
    async connectionParams() {
      const opened = socket;
      try {
        return { Authorization: `Bearer ${await getToken()}` };
      } catch {
        // It comes back after a delay.
        opened.close(NO_TOKEN);
      }
    },
    // It gives up after five by default.
    retryAttempts: Infinity,
    retryWait: (tries) => new Promise((done) => setTimeout(done, Math.random() * Math.min(30_000, 1000 * 2 ** tries))),
    shouldRetry: goesOn,
    on: {
      opened: (opened) => (socket = opened),
      closed: (end) => goesOn(end) || onSignInNeeded(end.reason),
    },
    ...options,
  });
};
