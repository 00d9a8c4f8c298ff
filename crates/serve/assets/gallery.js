// The list of images.

import * as api from "./api.js";
import { $, element, score } from "./dom.js";

export class Gallery {
  /** `open(key)` is called with the image that somebody chose. */
  constructor(methods, open) {
    this.methods = methods;
    this.open = open;
    this.items = [];
    this.shown = [];
    this.current = null;
    $("search").addEventListener("input", () => this.render());
    $("sort").addEventListener("change", () => this.render());
    $("items").addEventListener("click", (event) => {
      const key = event.target.closest("button")?.dataset.key;
      if (key) this.open(key);
    });
  }

  async load() {
    this.items = await api.gallery();
    const sort = $("sort");
    sort.append(element("option", { value: "name" }, "name"));
    this.methods.forEach((method, index) => {
      if (!this.items.some((item) => typeof item.dice[index] === "number")) return;
      sort.append(element("option", { value: `low ${index}` }, `lowest Dice, ${method.name}`));
      sort.append(element("option", { value: `high ${index}` }, `highest Dice, ${method.name}`));
    });
    this.render();
  }

  /** Puts an image of somebody's own before the others. */
  add(key, name) {
    this.items = [{ key, name, dice: [] }, ...this.items.filter((item) => item.key !== key)];
    $("search").value = "";
    $("sort").value = "name";
    this.render();
  }

  render() {
    const wanted = $("search").value.trim().toLowerCase();
    this.shown = this.items.filter((item) => item.name.toLowerCase().includes(wanted));
    const [order, method] = $("sort").value.split(" ");
    if (method !== undefined) {
      const sign = order === "low" ? 1 : -1;
      // What has no score comes last either way.
      const of = (item) => item.dice[method] ?? sign * Infinity;
      this.shown.sort((a, b) => sign * (of(a) - of(b)));
    }
    const list = $("items");
    list.replaceChildren(
      ...this.shown.map((item) => {
        const dice = method === undefined ? null : item.dice[method];
        const caption = element("span", { className: "name" }, item.name);
        const image = element("img", { src: api.thumbnail(item.key), alt: "", loading: "lazy", width: 96, height: 72 });
        const button = element("button", { dataset: { key: item.key }, title: item.name }, image, caption);
        if (typeof dice === "number") button.append(element("span", { className: "dice" }, score(dice)));
        return element("li", {}, button);
      }),
    );
    if (this.shown.length === 0) list.append(element("li", { className: "hint" }, "No image has such a name."));
    this.mark();
  }

  mark(scroll = false) {
    for (const button of $("items").querySelectorAll("button")) {
      const current = button.dataset.key === this.current;
      button.setAttribute("aria-current", current ? "true" : "false");
      if (current && scroll) button.scrollIntoView({ block: "nearest" });
    }
  }

  choose(key) {
    this.current = key;
    this.mark(true);
  }

  /** Opens the image so many places further. */
  step(by) {
    if (this.shown.length === 0) return;
    const at = this.shown.findIndex((item) => item.key === this.current);
    const next = at < 0 ? 0 : (at + by + this.shown.length) % this.shown.length;
    this.open(this.shown[next].key);
  }
}
