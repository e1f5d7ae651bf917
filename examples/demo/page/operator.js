// The operator's panel: live sessions and numbers, asked for every second while somebody looks.
import { $, avatar, h, named, post } from "./dom.js";
import { row } from "./devices.js";

const INTERVAL = 1000;

export function showOperator() {
  $("restart").addEventListener("click", () => post("/operator/restart"));
  let isVisible = false;
  new IntersectionObserver(([entry]) => (isVisible = entry.isIntersecting)).observe($("operator"));
  setInterval(() => {
    // During a restart there is no answer.
    if (isVisible && document.visibilityState === "visible") load().catch(() => {});
  }, INTERVAL);
}

async function load() {
  const response = await fetch("/operator");
  if (!response.ok) return;
  const { count, sessions, revocations } = await response.json();
  $("count").textContent = count;
  showSessions(sessions);
  showMetrics([
    ["sockets", count],
    ["revocations known", revocations],
  ]);
}

function showSessions(sessions) {
  const rows = sessions.map((session) =>
    row(session, {
      title: h("span", { class: "who" }, avatar(session.person, "small"), `${named(session.person)}, ${session.browser}`),
      action: "End",
      onaction: () => fetch(`/operator/sessions/${session.id}`, { method: "DELETE" }),
    }),
  );
  $("sessions").replaceChildren(...(rows.length > 0 ? rows : [h("li", { class: "empty" }, "Nobody is here.")]));
}

/** The last value of each, to show which have moved. */
const last = new Map();

function showMetrics(metrics) {
  const entries = metrics.map(([name, value]) => {
    const hasMoved = last.has(name) && last.get(name) !== value;
    last.set(name, value);
    return h("div", { class: hasMoved ? "moved" : "" }, h("dt", {}, name), h("dd", {}, `${value}`));
  });
  $("metrics").replaceChildren(...entries);
}
