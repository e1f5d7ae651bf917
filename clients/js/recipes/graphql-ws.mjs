import { createClient } from "graphql-ws";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];

export const connect = (url, getToken, onSignInNeeded, options) =>
  createClient({
    url,
    connectionParams: async () => ({ Authorization: `Bearer ${await getToken()}` }),
    // It gives up after five by default.
    retryAttempts: Infinity,
    retryWait: (tries) => new Promise((done) => setTimeout(done, Math.random() * Math.min(30_000, 1000 * 2 ** tries))),
    shouldRetry: ({ reason }) => GOES_ON.includes(reason),
    on: {
      // The code 1000 is its own.
      closed: ({ code, reason }) => code === 1000 || GOES_ON.includes(reason) || onSignInNeeded(reason),
    },
    ...options,
  });
