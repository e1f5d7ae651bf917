// The bar that shrinks with the life of the token.
import { $ } from "./dom.js";

export class Life {
  #until = null;
  #whole = 0;
  #animation = null;

  constructor() {
    setInterval(() => this.#tell(), 250);
  }

  /** In milliseconds. `Infinity` without a deadline. */
  set(left) {
    if (left === Infinity) return this.clear();
    this.#whole = left;
    this.#until = performance.now() + left;
    this.#animation?.cancel();
    const frames = [{ transform: "scaleX(1)" }, { transform: "scaleX(0)" }];
    this.#animation = $("bar").firstElementChild.animate(frames, { duration: left, fill: "forwards" });
    this.#tell();
  }

  clear() {
    this.#until = null;
    this.#animation?.cancel();
    this.#animation = null;
    this.#tell();
  }

  #tell() {
    const left = this.#until === null ? 0 : Math.max(0, this.#until - performance.now());
    const bar = $("bar");
    bar.dataset.state = this.#until === null ? "none" : left < 10_000 || left < this.#whole / 4 ? "low" : "good";
    bar.setAttribute("aria-valuemax", Math.ceil(this.#whole / 1000));
    bar.setAttribute("aria-valuenow", Math.ceil(left / 1000));
    $("left").textContent = this.#until === null ? "No session" : `${Math.ceil(left / 1000)} s left`;
  }
}
