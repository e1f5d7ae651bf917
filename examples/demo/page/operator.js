// The operator's panel: live sessions and metrics, asked for every second while somebody looks.
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
  const [sessions, metrics] = await Promise.all([fetch("/operator/sessions"), fetch("/metrics")]);
  if (sessions.ok) showSessions(await sessions.json());
  if (metrics.ok) showMetrics(readMetrics(await metrics.text()));
}

function showSessions({ count, sessions }) {
  $("count").textContent = count;
  const rows = sessions.map((session) =>
    row(session, {
      title: h("span", { class: "who" }, avatar(session.person, "small"), `${named(session.person)}, ${session.browser}`),
      action: "End",
      onaction: () => fetch(`/operator/sessions/${session.id}`, { method: "DELETE" }),
    }),
  );
  $("sessions").replaceChildren(...(rows.length > 0 ? rows : [h("li", { class: "empty" }, "Nobody is here.")]));
}

/**
 * Reads the text format of Prometheus, `name{label="value",…} number` in each line. Of measured times it takes the mean.
 * Your Prometheus reads the same; `examples/grafana.json` is a dashboard for it.
 */
function readMetrics(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^axum_ws_auth_(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || /_timestamp_seconds$/.test(name) || labels.includes("quantile=")) continue;
    const words = [...labels.matchAll(/(\w+)="([^"]*)"/g)].filter(([, label, word]) => label !== "http" && word !== "none");
    values.set(`${name}|${words.map(([, , word]) => word).join(", ")}`, Number(value));
  }
  const metrics = [];
  for (const [key, value] of values) {
    const [name, labels] = key.split("|");
    if (name.endsWith("_seconds_sum")) continue;
    const base = name.replace(/_count$/, "");
    const mean = values.get(`${base}_sum|${labels}`) / value;
    if (name !== base && value > 0) metrics.push({ key, name: base, labels, value, text: `mean ${duration(mean)}` });
    else metrics.push({ key, name, labels, value, text: String(value) });
  }
  const isTime = ({ name }) => name.endsWith("_seconds");
  return metrics.sort((a, b) => isTime(a) - isTime(b) || (a.key < b.key ? -1 : 1));
}

const duration = (seconds) => (seconds < 1 ? `${(seconds * 1000).toPrecision(2)} ms` : `${seconds.toFixed(1)} s`);

/** The last value of each, to show which have moved. */
const last = new Map();

function showMetrics(metrics) {
  const entries = metrics.map(({ key, name, labels, value, text }) => {
    const hasMoved = last.size > 0 && last.get(key) !== value;
    return h("div", { class: hasMoved ? "moved" : "" }, h("dt", {}, name, h("small", {}, labels)), h("dd", {}, text));
  });
  for (const { key, value } of metrics) last.set(key, value);
  $("metrics").replaceChildren(...entries);
}
