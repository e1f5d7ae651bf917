// Handshakes that must fail: what the server answers, and what a script is told.
import { $, h, post } from "./dom.js";

const ATTEMPTS = [
  ["no-token", "No token", "A handshake, and nothing else."],
  ["wrong-token", "Wrong token", "Signed with a key that somebody made up."],
  ["expired", "Expired token", "It was good until a minute ago."],
  ["alg-none", "alg: none", "A token that says it needs no signature."],
  ["wrong-origin", "Wrong origin", "The user's own cookie, sent by a page at evil.example."],
  ["used-ticket", "Used ticket", "Found in a log. It has opened a socket before."],
];

export function showAttempts() {
  const tries = ATTEMPTS.map(([name, title, text]) => {
    const result = h("div", { class: "result", hidden: true, "aria-live": "polite" });
    const run = () => attempt(name, result);
    const button = h("button", { onclick: run }, "Try");
    const head = h("header", {}, h("div", {}, h("h3", {}, title), h("p", {}, text)), button);
    $("attempts").append(h("article", { class: "card attempt", "data-attempt": name }, head, result));
    return run;
  });
  $("try-all").addEventListener("click", async () => {
    for (const run of tries) await run();
  });
}

async function attempt(name, result) {
  const response = await post(`/break-in/${name}`);
  if (!response.ok) return show(result, [part("The demo itself failed", `${response.status}`)]);
  const { sent, answer, reason, page } = await response.json();
  const seen = page === null ? await tryFromElsewhere() : await tryFromHere(page);
  const [head, body = ""] = answer.split("\r\n\r\n");
  const [status, ...headers] = head.split("\r\n");
  const telling = headers.filter((line) => /^(www-authenticate|retry-after):/i.test(line));
  show(result, [
    part("Sent", sent),
    part("Answered", [status, ...telling, indented(body)].join("\n"), status.split(" ")[1]),
    part("Logged", `handshake refused, reason ${reason}`),
    part("JavaScript saw", seen),
  ]);
}

/** The body is JSON on one line. */
function indented(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

/** All that a page learns: an `error` event without a word, and the same close code for everything. */
const tryFromHere = ({ path, protocols }) =>
  new Promise((resolve) => {
    const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")), protocols);
    socket.onopen = () => socket.close();
    socket.onclose = ({ code, reason }) => resolve(`close, code ${code}, reason ${JSON.stringify(reason)}`);
  });

/** A page cannot choose its origin. But the one in a sandboxed frame has another: `null`. */
const tryFromElsewhere = () =>
  new Promise((resolve) => {
    const frame = h("iframe", { sandbox: "allow-scripts", src: "/page/elsewhere.html", hidden: true });
    const listen = ({ source, data }) => {
      if (source !== frame.contentWindow) return;
      removeEventListener("message", listen);
      frame.remove();
      resolve(data);
    };
    addEventListener("message", listen);
    document.body.append(frame);
  });

const part = (title, text, status) =>
  h("div", { class: "part" }, h("h4", {}, title), h("pre", { "data-status": status }, text));

function show(result, parts) {
  result.hidden = false;
  result.replaceChildren(...parts);
}
