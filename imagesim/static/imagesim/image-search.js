// What {% image_search %} does with JavaScript: a photo that is chosen, dropped, pasted or taken goes to the REST API,
// and its hits appear below the form. Without this script the form is posted to a page of the shop.

import { ResultEvents } from "./events.js";
import { handOver } from "./handover.js";
import { cellFor, keyOf } from "./hits.js";
import { PhotoPicker } from "./picker.js";
import { shrink } from "./pictures.js";

const PAGE = 12;

export class ImageSearch {
  constructor(root) {
    const one = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.root = root;
    this.form = root.querySelector("form");
    this.file = this.form.elements.namedItem("image");
    this.words = this.form.elements.namedItem("q");
    this.preview = one("preview");
    this.status = one("status");
    this.results = one("results");
    this.closest = one("closest");
    this.closestList = one("closest-list");
    this.list = one("list");
    this.template = one("template");
    this.more = one("more");
    this.clear = one("clear");
    this.photo = null; // the Blob in hand
    this.request = null; // the AbortController of the search under way
    this.offset = 0;
    if (root.dataset.api) this.start(one);
  }

  start(one) {
    for (const element of this.root.querySelectorAll("[data-imagesim-script]")) element.hidden = false;
    this.form.addEventListener("submit", (event) => this.submitted(event));
    // Filters may stand anywhere on the page and belong to the form by their form="…" attribute.
    for (const field of this.form.elements) {
      if (field !== this.file && field !== this.words) {
        field.addEventListener("change", () => this.photo && this.search());
      }
    }
    this.file.addEventListener("change", () => this.file.files[0] && this.use(this.file.files[0]));
    this.clear?.addEventListener("click", () => this.forget());
    this.more?.addEventListener("click", () => this.search({ offset: this.offset }));
    this.next = one("next");
    this.next?.addEventListener("click", (event) => this.continueAnswer(event));
    this.events = new ResultEvents(this.root.dataset.events, this.csrfToken);
    new PhotoPicker(this.root, {
      use: (photo) => this.use(photo),
      refuse: (what) => this.say(what, { error: true }),
    });
    if (this.file.files[0]) this.use(this.file.files[0]); // kept by the browser over "back"
  }

  // What the page found goes on below, in place of a page of its own: its order and its filters are the server's.
  async continueAnswer(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.results.setAttribute("aria-busy", "true");
    const response = await fetch(link.href).catch(() => null);
    this.results.removeAttribute("aria-busy");
    if (!response?.ok) {
      location.assign(link.href);
      return;
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const cells = [...page.querySelectorAll("[data-imagesim-list] > li")];
    this.list.append(...cells);
    const next = page.querySelector("[data-imagesim-next] a");
    if (next) link.setAttribute("href", next.getAttribute("href"));
    else this.next.remove();
    this.say("found", { text: `${this.root.dataset.textFound} ${this.list.children.length}${next ? "+" : ""}` });
    cells[0]?.querySelector("a")?.focus();
  }

  submitted(event) {
    if (this.photo) {
      event.preventDefault();
      this.search();
    } else if (this.words.value.trim()) {
      event.preventDefault();
      if (this.root.dataset.page) this.visit(this.root.dataset.page);
      else this.search();
    } else {
      event.preventDefault();
      this.words.focus();
    }
  }

  // Words have a page of their own, so that what they find has an address.
  visit(page) {
    const url = new URL(page, location.href);
    for (const [name, value] of this.fields("q")) url.searchParams.append(name, value);
    location.assign(url);
  }

  get csrfToken() {
    return this.form.elements.namedItem("csrfmiddlewaretoken")?.value;
  }

  async use(photo) {
    if (photo.type && !photo.type.startsWith("image/")) {
      this.say("type", { error: true });
      return;
    }
    this.photo = await shrink(photo);
    if (this.photo.size > Number(this.root.dataset.maxBytes)) {
      this.photo = null;
      this.say("size", { error: true });
      return;
    }
    // What is in a photo has a page of its own, where the shop has one.
    if (this.root.dataset.look && (await handOver(this.photo, this.root.dataset.look))) return;
    if (this.preview.src) URL.revokeObjectURL(this.preview.src);
    this.preview.src = URL.createObjectURL(this.photo);
    this.preview.hidden = false;
    if (this.clear) this.clear.hidden = false;
    await this.search();
  }

  forget() {
    this.request?.abort();
    this.photo = null;
    this.file.value = "";
    if (this.preview.src) URL.revokeObjectURL(this.preview.src);
    this.preview.removeAttribute("src");
    this.preview.hidden = true;
    this.clear.hidden = true;
    this.results.hidden = true;
    this.closest.hidden = true;
    this.results.removeAttribute("aria-busy");
    this.list.replaceChildren();
    this.status.textContent = "";
    this.file.focus();
  }

  // The form's fields that say something; the words under the name that the other side has for them.
  fields(words) {
    const given = [];
    for (const [name, value] of new FormData(this.form)) {
      if (typeof value !== "string" || !value.trim() || name === "csrfmiddlewaretoken") continue;
      given.push([name === "q" ? words : name, value.trim()]);
    }
    return given;
  }

  async search({ offset = 0 } = {}) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const body = new FormData();
    for (const [name, value] of this.fields("text")) body.append(name, value);
    if (this.photo) body.append("image", this.photo, "photo");
    body.append("limit", String(PAGE));
    body.append("offset", String(offset));
    const token = this.csrfToken;
    this.results.setAttribute("aria-busy", "true");
    this.say("searching");
    try {
      const response = await fetch(this.root.dataset.api, {
        method: "POST",
        body,
        headers: { Accept: "application/json", ...(token && { "X-CSRFToken": token }) },
        signal: request.signal,
      });
      const answer = await response.json();
      if (response.ok) this.show(answer, offset);
      else if (response.status === 429) this.throttled(response.headers.get("Retry-After"));
      else this.say("failed", { error: true, text: answer.detail });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.say("failed", { error: true });
    }
    this.results.removeAttribute("aria-busy");
  }

  throttled(seconds) {
    this.say("throttled", { error: true, text: this.root.dataset.textThrottled.replace("{seconds}", seconds ?? "60") });
  }

  show(answer, offset) {
    const cells = answer.results.map((hit, number) => {
      const cell = cellFor(this.template, hit);
      this.events.watch(cell, { token: answer.token, item: keyOf(hit), position: offset + number });
      return cell;
    });
    if (offset) this.list.append(...cells);
    else this.list.replaceChildren(...cells);
    const count = this.list.children.length;
    this.results.hidden = !count;
    this.offset = answer.next_offset ?? 0;
    if (this.more) this.more.hidden = !answer.more;
    const closest = count ? [] : answer.closest;
    this.closest.hidden = !closest.length;
    this.closestList.replaceChildren(...closest.map((hit) => cellFor(this.template, hit)));
    if (!count) this.say(closest.length ? "closest" : "nothing", { text: answer.degraded });
    else this.say("found", { text: `${this.root.dataset.textFound} ${count}${answer.more ? "+" : ""}` });
    if (offset) cells[0]?.querySelector("a")?.focus();
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
  }

  say(what, { text = "", error = false } = {}) {
    const key = `text${what[0].toUpperCase()}${what.slice(1)}`;
    this.status.toggleAttribute("data-error", error);
    this.status.textContent = text || this.root.dataset[key];
  }
}

for (const root of document.querySelectorAll("[data-imagesim-search]")) new ImageSearch(root);
