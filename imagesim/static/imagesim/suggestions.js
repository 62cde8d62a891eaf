// Suggestions for a search field: a combobox with a list, as in the ARIA Authoring Practices.

import { isCancelled, withLimit } from "./requests.js";

const DELAY = 150; // milliseconds after the last key
const MIN_LENGTH = 2; // characters

export class Suggestions {
  // `choose` is called with the chosen suggestion, instead of searching for it.
  constructor(root, url, choose) {
    this.url = url;
    if (choose) this.choose = choose;
    this.input = root.querySelector("[data-imagesim-bar-words]");
    this.list = root.querySelector("[data-imagesim-bar-suggestions]");
    this.template = root.querySelector("[data-imagesim-bar-suggestion]");
    this.count = root.querySelector("[data-imagesim-bar-count]");
    this.reason = root.querySelector("[data-imagesim-bar-reason]"); // only where nothing but a suggestion can be chosen
    this.active = -1;
    this.timer = 0;
    this.request = null;
    this.input.addEventListener("input", () => this.onInput());
    this.input.addEventListener("keydown", (event) => this.onKeyDown(event));
    this.input.addEventListener("blur", () => {
      this.cancel();
      setTimeout(() => this.show([]), 150); // after a click on an option was handled
    });
    this.input.form?.addEventListener("submit", () => {
      this.cancel();
      this.show([]); // even in the page that "back" restores from memory
    });
    this.show([]);
  }

  // Drop words that are not answered yet: late suggestions would cover what the visitor does next.
  cancel() {
    clearTimeout(this.timer);
    this.request?.abort();
  }

  onInput() {
    this.cancel();
    this.explain("");
    this.activate(-1); // Enter searches for what was typed, even before its suggestions arrive
    const words = this.input.value.trim();
    if (words.length < MIN_LENGTH) this.show([]);
    else this.timer = setTimeout(() => this.load(words), DELAY);
  }

  async load(words) {
    const request = new AbortController();
    this.request = request;
    const url = new URL(this.url, location.href);
    url.searchParams.set("q", words);
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" }, signal: withLimit(request) });
      const found = response.ok ? (await response.json()).suggestions : [];
      this.show(found);
      if (!found.length) this.explain(response.ok ? "empty" : "failed");
    } catch {
      // Suggestions are optional, but must not be those of other words.
      if (isCancelled(request)) return;
      this.show([]);
      this.explain("failed");
    }
  }

  // Say why there is no suggestion.
  explain(reason) {
    if (this.reason) this.reason.textContent = this.reason.dataset[reason] ?? "";
  }

  show(suggestions) {
    this.active = -1;
    this.options = suggestions.map((suggestion, number) => this.option(suggestion, number));
    this.list.replaceChildren(...this.options);
    this.list.hidden = !this.options.length;
    // Set each time, because a morphed page loses them.
    const roles = { role: "combobox", "aria-autocomplete": "list", "aria-controls": this.list.id };
    for (const entry of Object.entries(roles)) this.input.setAttribute(...entry);
    this.input.setAttribute("aria-expanded", String(Boolean(this.options.length)));
    this.input.removeAttribute("aria-activedescendant");
    this.count.textContent = this.options.length ? `${this.count.dataset.text} ${this.options.length}` : "";
  }

  option(suggestion, number) {
    const { text, kind, image } = suggestion;
    const option = this.template.content.firstElementChild.cloneNode(true);
    option.id = `${this.list.id}-${number}`;
    option.querySelector("[data-slot=text]").textContent = text;
    option.querySelector("[data-slot=kind]").textContent = this.list.dataset[kind] ?? "";
    const picture = option.querySelector("img");
    if (image?.url) picture.src = image.url;
    else picture.hidden = true;
    option.addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
    option.choose = () => {
      this.cancel();
      this.show([]);
      this.choose(suggestion);
    };
    option.addEventListener("click", option.choose);
    return option;
  }

  choose({ text, url }) {
    if (url) {
      location.assign(url);
      return;
    }
    this.input.value = text;
    this.input.form.requestSubmit();
  }

  onKeyDown(event) {
    // During input with an input method, the keys choose its candidates. In Safari, the key that ends it comes after
    // its end, with 229.
    if (!this.options.length || event.isComposing || event.keyCode === 229) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      // The arrow keys cycle through the options and through no option, the typed words.
      const places = this.options.length + 1;
      this.activate(((this.active + 1 + step + places) % places) - 1);
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.options[this.active].choose();
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.show([]);
    }
  }

  activate(number) {
    this.active = number;
    this.options.forEach((option, position) => option.setAttribute("aria-selected", String(position === number)));
    if (number < 0) this.input.removeAttribute("aria-activedescendant");
    else {
      this.input.setAttribute("aria-activedescendant", this.options[number].id);
      this.options[number].scrollIntoView({ block: "nearest" });
    }
  }
}
