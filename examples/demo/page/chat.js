// The messages of the room.
import { $, avatar, clock, h, named } from "./dom.js";

/** As many as the server keeps. */
const MAX_MESSAGES = 50;

export class Room {
  #me;

  /** `say` sends a text, and returns whether it could. */
  constructor(say) {
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = $("text");
      if (input.value.trim() !== "" && say(input.value)) input.value = "";
    });
  }

  /** Begins anew: the server sends what was said before, whenever a socket opens. */
  clear(me) {
    this.#me = me;
    $("messages").replaceChildren();
  }

  receive(event) {
    if (event.type === "people") this.#showOnline(event.online);
    if (event.type === "message") this.#show(event);
  }

  #showOnline(online) {
    const people = Object.entries(online).map(([person, count]) =>
      h("span", { class: "person", title: `${named(person)}, ${count} open` }, avatar(person, "small"), `${count}`),
    );
    $("online").replaceChildren(...people);
  }

  #show({ from, text, at }) {
    const list = $("messages");
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const bubble = h("div", { class: "bubble" }, h("b", {}, named(from), h("time", {}, clock(at))), h("p", {}, text));
    list.append(h("li", { class: from === this.#me ? "own" : "", "data-person": from }, avatar(from), bubble));
    while (list.childElementCount > MAX_MESSAGES) list.firstElementChild.remove();
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
}
