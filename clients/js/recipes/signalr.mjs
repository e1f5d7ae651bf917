import { HubConnectionBuilder } from "@microsoft/signalr";

// After these a new token helps, or waiting. After all others the user has to sign in.
const GOES_ON = ["", "token_expired", "max_lifetime", "shutdown", "unavailable", "unconfirmed", "unresponsive", "timed_out"];
// The reason is in the text only: "WebSocket closed with status code: 3000 (revoked)", or "Unauthorized: Status code '401'".
const reasonOf = ({ message }) => (message.includes("'401'") ? "invalid_token" : (/\((\w+)\)\.?$/.exec(message)?.[1] ?? ""));

export const connect = async (url, getToken, onSignInNeeded, options) => {
  const connection = new HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: getToken, ...options })
    .withAutomaticReconnect({
      nextRetryDelayInMilliseconds({ previousRetryCount, retryReason }) {
        const reason = reasonOf(retryReason);
        if (GOES_ON.includes(reason)) return Math.random() * Math.min(30_000, 1000 * 2 ** previousRetryCount);
        onSignInNeeded(reason);
        return null;
      },
    })
    .build();
  // The first attempt is not repeated. If it fails, this throws.
  await connection.start();
  return connection;
};
