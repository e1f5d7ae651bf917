import { WebSocket } from "partysocket";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];

export const connect = (url, getToken, onSignInNeeded, options) =>
  new WebSocket(url, async () => ["bearer", await getToken()], {
    shouldReconnectOnClose({ reason }) {
      // The timeout is its own.
      if (reason === "timeout" || GOES_ON.includes(reason)) return true;
      onSignInNeeded(reason);
      return false;
    },
    ...options,
  });
