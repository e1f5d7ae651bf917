// Who is signed in in this tab, and its socket. All that concerns the token of the socket is done by the browser client.
import { AuthSocket, cookie, subprotocol, ticket } from "./client.js";
import { showAttempts } from "./break_in.js";
import { Room } from "./chat.js";
import { Devices } from "./devices.js";
import { $, avatar, clock, h, named, post } from "./dom.js";
import { Life } from "./life.js";
import { showOperator } from "./operator.js";

const PEOPLE = ["alice", "bob", "carol"];
const MAX_LOG = 30;

/** `{ person, device }`, in this tab only: each tab is a device of its own. */
let me = JSON.parse(sessionStorage.getItem("me") ?? "null");
let socket = null;

const life = new Life();
const devices = new Devices();
const room = new Room((text) => {
  if (socket?.readyState !== AuthSocket.OPEN) return false;
  socket.send(JSON.stringify({ text }));
  return true;
});

/** Asked at every attempt and for every refresh. Returns nothing if the user has to sign in. */
async function token({ reason }) {
  const isBySelf = reason === "expiring" || reason === "auth.expiring";
  if (isBySelf && !$("auto").checked) {
    note("The server asks for the next token, and gets none");
    return null;
  }
  // With the cookie, which the answer renews.
  const response = await post(`${base()}/token`);
  if (response.status === 401) return null;
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return (await response.json()).token;
}

const base = () => `/device/${me.device}`;

/** How the token is sent, and the line of code for it. */
const WAYS = {
  subprotocol: {
    options: () => ({ auth: subprotocol(), refresh: true }),
    code: 'new WebSocket(url, ["bearer", token])',
  },
  ticket: {
    options: () => ({ auth: ticket(`${base()}/ticket`), refresh: true }),
    code: "new WebSocket(`${url}?ticket=${ticket}`)",
  },
  cookie: {
    options: () => ({ auth: cookie(), refreshUrl: `${base()}/refresh/{session}` }),
    code: "new WebSocket(url) // the browser adds the cookie",
  },
};

function connect() {
  socket?.close();
  const how = document.querySelector("[name=how]:checked").value;
  const way = WAYS[how];
  $("code").textContent = way.code;
  setStatus("connecting", "Connecting");
  let isNew = true;
  const own = new AuthSocket(`${base()}/chat/${how}`, { token, ...way.options() });
  socket = own;
  const on = (type, listener) => own.addEventListener(type, (event) => own === socket && listener(event));
  on("open", () => {
    setStatus("open", "Connected");
    isNew = true;
    $("notice").hidden = true;
    room.clear(me.person);
  });
  on("session", ({ session, expiresIn }) => {
    life.set(expiresIn);
    if (session) devices.set(base(), session);
    const what = isNew ? `Connected by ${how}` : `Refreshed ${how === "cookie" ? "by the cookie" : "over the socket"}`;
    note(`${what}, for ${Math.round(expiresIn / 1000)} s`);
    isNew = false;
  });
  on("message", ({ data }) => {
    const event = JSON.parse(data);
    room.receive(event);
    if (event.type === "people") devices.load();
  });
  on("refused", ({ reason }) => note(`Refresh refused: ${reason}`, "bad"));
  on("error", ({ error }) => note(error.message, "bad"));
  on("close", closed);
}

/** The last reason that the server gave. */
let reasonGiven = "";

function closed({ code, reason, action, retryIn }) {
  life.clear();
  // The page itself had no token to connect again with.
  const isOwnReason = reason === "no_token";
  if (!isOwnReason) {
    reasonGiven = reason ? `${code} “${reason}”` : `${code}`;
    note(`Closed: ${reasonGiven}${retryIn === null ? "" : `, again in ${(retryIn / 1000).toFixed(1)} s`}`, "bad");
  }
  if (retryIn !== null) return setStatus("connecting", "Reconnecting");
  setStatus("closed", "Closed");
  devices.clear();
  const text = reasonGiven ? ["The server closed this socket: ", h("b", {}, reasonGiven)] : ["You are not signed in any more."];
  const { person } = me;
  $("notice").replaceChildren(
    h("span", {}, ...text),
    action === "sign-in"
      ? h("button", { class: "primary", onclick: () => signIn(person) }, `Sign in as ${named(person)}`)
      : h("button", { class: "primary", onclick: () => socket.reconnect() }, "Connect again"),
    h("button", { onclick: signOut }, "Somebody else"),
  );
  $("notice").hidden = false;
}

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
  $("refresh").disabled = state !== "open";
}

function note(text, kind = "") {
  const log = $("log");
  log.prepend(h("li", { class: kind }, h("time", {}, clock(Date.now() / 1000)), text));
  while (log.childElementCount > MAX_LOG) log.lastElementChild.remove();
}

async function signIn(person) {
  const response = await post("/sign-in", { person });
  if (!response.ok) return;
  const { device } = await response.json();
  me = { person, device };
  sessionStorage.setItem("me", JSON.stringify(me));
  show();
}

function signOut() {
  socket?.close();
  socket = null;
  me = null;
  sessionStorage.removeItem("me");
  show();
}

function show() {
  $("sign-in").hidden = me !== null;
  $("chat").hidden = me === null;
  if (me === null) return;
  $("me").replaceChildren(avatar(me.person), named(me.person));
  $("log").replaceChildren();
  $("notice").hidden = true;
  reasonGiven = "";
  connect();
}

$("people").append(
  ...PEOPLE.map((person) =>
    h("button", { class: "person-card", "data-person": person, onclick: () => signIn(person) }, avatar(person, "large"), named(person)),
  ),
);
$("how").addEventListener("change", connect);
$("refresh").addEventListener("click", () => socket?.refresh());
showAttempts();
showOperator();
show();
