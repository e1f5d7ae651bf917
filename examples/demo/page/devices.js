// "Where am I signed in".
import { $, clock, h } from "./dom.js";

/** A row of a list of sessions. */
export const row = (session, { title, isOwn, action, onaction }) =>
  h(
    "li",
    { "data-session": session.id },
    h(
      "div",
      {},
      h("b", {}, title, isOwn ? h("em", {}, "this tab") : undefined),
      h("small", {}, `by ${session.by}, since ${clock(session.connected_at)}`),
    ),
    h("button", { class: "quiet", onclick: onaction }, action),
  );

export class Devices {
  #base = null;
  #own = null;

  constructor() {
    $("everywhere").addEventListener("click", () => this.#base && fetch(`${this.#base}/devices`, { method: "DELETE" }));
  }

  /** The paths of this device, and the session of its socket. */
  set(base, own) {
    this.#base = base;
    this.#own = own;
    return this.load();
  }

  /** Called whenever somebody comes or goes. */
  async load() {
    const base = this.#base;
    if (base === null) return;
    const response = await fetch(`${base}/devices`);
    if (!response.ok || base !== this.#base) return;
    const rows = (await response.json()).map((session) =>
      row(session, {
        title: session.browser,
        isOwn: session.id === this.#own,
        action: session.id === this.#own ? "Sign out here" : "Sign out this device",
        onaction: () => fetch(`${base}/devices/${session.id}`, { method: "DELETE" }),
      }),
    );
    $("devices").replaceChildren(...rows);
  }

  clear() {
    this.#base = this.#own = null;
    $("devices").replaceChildren(h("li", { class: "empty" }, "Not in this tab."));
  }
}
