// The types of `clients/js`, as an application uses them.
import { AuthEventSource, AuthSocket, CLOSE_CODES, cookie, firstMessage, subprotocol, ticket } from "../../clients/js/index.js";

const token = async ({ attempt, reason, required, signal }: import("../../clients/js/index.js").TokenContext) => {
  if (reason === "step_up") console.log(required?.acrValues, attempt);
  const response = await fetch("/token", { signal });
  if (response.status === 401) return null;
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return response.text();
};
const socket = new AuthSocket("/chat", {
  token,
  auth: subprotocol("bearer"),
  closeCodes: { ...CLOSE_CODES.IANA, 4001: "sign-in" },
  decide: ({ code, opened }) => (code === 4000 && opened ? "stop" : undefined),
  refresh: true,
  signal: AbortSignal.timeout(1000),
});
socket.onsigninneeded = ({ reason, acrValues }) => console.log(reason, acrValues);
socket.addEventListener("close", ({ code, retryIn, action }) => {
  const delay: number | null = retryIn;
  console.log(code, delay, action === "renew");
});
socket.addEventListener("session", ({ session, expiresIn }) => console.log(session, expiresIn.toFixed()));
socket.binaryType = "arraybuffer";
socket.send(new Uint8Array(4));
socket.close(1000, "done");
new AuthSocket(async () => new URL("wss://example.com"), { token, auth: ticket("/ticket", { parameter: "t" }) }).reconnect();
new AuthSocket("/chat", { auth: cookie(), refreshUrl: "/refresh/{session}" }).refresh();
new AuthSocket("/chat", { token, auth: firstMessage((token) => `token:${token}`), WebSocket });
const events = new AuthEventSource("/events", { token });
events.onmessage = ({ data, lastEventId }) => console.log(data, lastEventId);
events.addEventListener("ping", (event) => console.log(event));

// @ts-expect-error: a token that is fixed expires.
new AuthSocket("/chat", { token: "ey…" });
// @ts-expect-error: there is no such action.
new AuthSocket("/chat", { token, decide: () => "reconnect" });
// @ts-expect-error: an event source sends nothing.
events.send("hello");
// @ts-expect-error: nor has it a close code.
events.close(1000);
