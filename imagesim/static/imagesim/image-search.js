// The behaviour of {% image_search %}: send a chosen, dropped, pasted or taken photo to the REST API and show its hits
// below the form. Without this script, the form is posted to a page of the shop.

import { attach, listen } from "./attach.js";
import { ResultEvents } from "./events.js";
import { fieldsRestored, handOver, isPhotoLost, rememberPhoto } from "./handover.js";
import { countHits, hitKey, renderHit, renderMessages, withoutShown } from "./hits.js";
import { PhotoPicker } from "./picker.js";
import { fetchPicture, prepare } from "./pictures.js";
import { explainRefusal } from "./refusals.js";
import { csrfHeaderOf, fieldsOf, getPage, post } from "./requests.js";

const PAGE = 12;
const MAX_RESTORED = 5; // pages: each is a search
const SCROLLED = 200; // milliseconds without scrolling

// Add to the state that the browser keeps with this history entry.
const remember = (state) => history.replaceState({ ...history.state, ...state }, "");

export class ImageSearch {
  constructor(root) {
    const find = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.root = root;
    this.form = root.querySelector("form");
    this.file = this.form.elements.namedItem("image");
    this.words = this.form.elements.namedItem("q");
    this.preview = find("preview");
    this.status = find("status");
    this.messages = find("messages");
    this.results = find("results");
    this.closest = find("closest");
    this.closestList = find("closest-list");
    this.list = find("list");
    this.template = find("template");
    this.more = find("more");
    this.clear = find("clear");
    this.photo = null; // the chosen Blob
    this.choice = 0; // counts the photos chosen: only the last one is shown, however long another takes to read
    this.request = null; // the AbortController of the running search
    this.query = []; // names and values of the search whose results are shown
    this.offset = 0;
    if (root.dataset.api) this.bindEvents(find);
  }

  bindEvents(find) {
    for (const element of this.root.querySelectorAll("[data-imagesim-script]")) element.hidden = false;
    this.form.addEventListener("submit", (event) => this.onSubmit(event));
    // Filters can be anywhere on the page: their form="…" attribute makes them part of the form.
    for (const field of this.form.elements) {
      if (field !== this.file && field !== this.words) {
        field.addEventListener("change", () => this.photo && this.search());
      }
    }
    this.file.addEventListener("change", () => this.file.files[0] && this.usePhoto(this.file.files[0]));
    this.clear?.addEventListener("click", () => this.reset());
    this.more?.addEventListener("click", () => this.load(this.offset));
    this.next = find("next");
    this.previous = find("previous");
    this.next?.addEventListener("click", (event) => this.showNextPage(event));
    this.events = new ResultEvents(this.root.dataset.events, csrfHeaderOf(this.form));
    if (this.next) this.restorePages();
    new PhotoPicker(this.root, {
      onPhoto: (photo) => this.usePhoto(photo),
      onPicture: (url) => this.usePicture(url),
      onError: (name) => this.setStatus(name, { error: true }),
    });
    // The copy of the page that htmx or Turbo shows after "back" has its results, but not its photo and words.
    for (const element of [this.preview, this.clear, this.more]) if (element) element.hidden = true;
    this.restorePhoto();
  }

  // Search again with the photo that the browser restored after "back", or ask for it.
  async restorePhoto() {
    const lost = isPhotoLost();
    await fieldsRestored;
    if (this.choice) return; // the visitor has chosen one meanwhile
    if (this.file.files[0]) this.usePhoto(this.file.files[0]);
    else if (lost) this.setStatus("again", { error: true });
  }

  // Append the next page of results when its link is clicked.
  async showNextPage(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const cells = await this.appendPage(link, () => location.assign(link.href)); // the page explains the refusal
    if (!cells.length) return;
    this.pages += 1;
    remember({ imagesimPages: this.pages });
    cells[0].querySelector("a")?.focus();
  }

  // The number of pages that were appended. It is stored in the page, so that a copy of the page knows what it has.
  get pages() {
    return Number(this.list.dataset.imagesimPages ?? 0);
  }

  set pages(count) {
    this.list.dataset.imagesimPages = count;
  }

  // Append again the pages that were shown when the visitor reloaded the page, or left it and came back.
  async restorePages() {
    const { imagesimPages: pages = 0, imagesimScroll: scroll } = history.state ?? {};
    while (this.pages < Math.min(pages, MAX_RESTORED)) {
      const link = this.next.isConnected && this.next.querySelector("a");
      if (!link || !(await this.appendPage(link, () => this.setStatus("failed", { error: true }))).length) break;
      this.pages += 1;
    }
    if (pages && scroll) window.scrollTo(0, scroll);
    // The browser itself restores the position too early, while the page is still short.
    let timer;
    const rememberPosition = () => remember({ imagesimScroll: window.scrollY });
    listen(this.root, "scroll", () => {
      clearTimeout(timer);
      timer = setTimeout(rememberPosition, SCROLLED);
    });
  }

  // Append a page as rendered by the server, which applies the order and the filters; return the new cells.
  async appendPage(link, onRefused) {
    if (this.results.hasAttribute("aria-busy")) return []; // a second click, or the answer would be appended twice
    this.results.setAttribute("aria-busy", "true");
    this.setStatus("searching");
    const { request } = this;
    const page = await this.fetchPage(link, onRefused);
    if (request !== this.request) return []; // another search was started meanwhile
    this.results.removeAttribute("aria-busy");
    if (!page) return [];
    const cells = withoutShown([...page.querySelectorAll("[data-imagesim-list] > li")], this.list);
    const { token } = page.querySelector("[data-imagesim-results]").dataset;
    for (const cell of cells) {
      const { imagesimItem: item, imagesimPosition: position } = cell.dataset;
      this.events.watch(cell, { token, item, position: Number(position) });
    }
    this.list.append(...cells);
    const next = page.querySelector("[data-imagesim-next] a");
    if (next) link.setAttribute("href", next.getAttribute("href"));
    else this.next.remove();
    if (!cells.length && next) return this.appendPage(link, onRefused);
    this.setStatus("found", { text: this.countShown(Boolean(next)) });
    return cells;
  }

  countShown(more) {
    const { textTotal } = this.root.dataset;
    const { length } = this.list.children;
    return more && textTotal ? textTotal.replace("{count}", length) : countHits(this.root.dataset, length, more);
  }

  // Return the page of a link; null if there is none to append. Without a connection, the visitor keeps the results.
  async fetchPage(link, onRefused) {
    try {
      const page = await getPage(link.href);
      if (page?.querySelector("[data-imagesim-results]")) return page;
      onRefused(); // also if it is a different page, such as a login page
    } catch {
      this.setStatus("failed", { error: true, place: this.next });
    }
    return null;
  }

  onSubmit(event) {
    if (this.photo) {
      event.preventDefault();
      this.search();
    } else if (this.words.value.trim()) {
      event.preventDefault();
      if (this.root.dataset.page) this.openSearchPage(this.root.dataset.page);
      else this.search();
    } else {
      event.preventDefault();
      this.words.focus();
    }
  }

  // Open the page of results for words, so that they have a URL.
  openSearchPage(page) {
    const url = new URL(page, location.href);
    for (const [name, value] of this.fields("q")) url.searchParams.append(name, value);
    location.assign(url);
  }

  // Use a picture of this page.
  async usePicture(url) {
    const choice = ++this.choice;
    this.setStatus("searching");
    const photo = await fetchPicture(url).catch(() => null);
    if (choice !== this.choice) return;
    if (photo) await this.usePhoto(photo);
    else this.setStatus("foreign", { error: true });
  }

  async usePhoto(photo) {
    const choice = ++this.choice;
    this.setStatus("searching");
    const small = await prepare(photo, this.root.dataset.maxBytes);
    if (choice !== this.choice) return;
    if (typeof small === "string") {
      this.setStatus(small, { error: true });
      return;
    }
    // Open the page "shop the look" with the photo, if the shop has one.
    if (this.root.dataset.look && (await handOver(small, this.root.dataset.look))) {
      this.file.value = ""; // after "back" the same photo can be chosen again
      addEventListener("pagehide", () => (this.status.textContent = ""), { once: true });
      return;
    }
    this.photo = small;
    rememberPhoto(true);
    if (this.preview.src) URL.revokeObjectURL(this.preview.src);
    this.preview.src = URL.createObjectURL(this.photo);
    this.preview.hidden = false;
    if (this.clear) this.clear.hidden = false;
    await this.search();
  }

  reset() {
    this.choice += 1;
    this.request?.abort();
    this.photo = null;
    rememberPhoto(false);
    this.file.value = "";
    if (this.preview.src) URL.revokeObjectURL(this.preview.src);
    this.preview.removeAttribute("src");
    this.preview.hidden = true;
    this.clear.hidden = true;
    this.results.hidden = true;
    this.closest.hidden = true;
    renderMessages(this.messages, []);
    this.results.removeAttribute("aria-busy");
    this.list.replaceChildren();
    this.status.textContent = "";
    this.file.focus();
  }

  // Return name and value of the fields that are not empty; the field of the words is named ``wordsName``.
  fields(wordsName) {
    return fieldsOf(this.form).map(([name, value]) => [name === "q" ? wordsName : name, value]);
  }

  async search() {
    // The REST API does not sort; the order belongs to the page.
    const ofPage = new Set([...this.form.elements].filter((field) => "imagesimPage" in field.dataset).map(({ name }) => name));
    const query = this.fields("text").filter(([name]) => !ofPage.has(name));
    // Of a photo, search its main object; a picture with a plain background is searched as a whole.
    if (this.photo) query.push(["image", this.photo, "photo"], ["region", "auto"]);
    await this.load(0, query);
  }

  // Load a page of the results; a further page belongs to the same search, whatever was typed, chosen or failed since.
  async load(offset, query = this.query) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const body = new FormData();
    for (const entry of query) body.append(...entry);
    body.append("limit", String(PAGE));
    body.append("offset", String(offset));
    const place = offset ? this.more.parentElement : null;
    this.results.setAttribute("aria-busy", "true");
    this.setStatus("searching");
    try {
      const found = await post(this.root.dataset.api, body, csrfHeaderOf(this.form), request);
      if (!found) return;
      const { ok, status, wait, ...answer } = found;
      if (ok) {
        this.query = query;
        const isShown = this.showResults(answer, offset);
        if (!isShown && offset && answer.more) return await this.load(this.offset);
      } else {
        const text = explainRefusal(this.root.dataset, { ...answer, status, wait });
        this.setStatus("failed", { error: true, place, text });
      }
    } catch {
      this.setStatus("failed", { error: true, place }); // the answer, or the template, lacks what belongs there
    }
    this.results.removeAttribute("aria-busy");
  }

  // Return whether there is anything new.
  showResults(answer, offset) {
    const found = answer.results.map((hit, number) => {
      const cell = renderHit(this.template, hit);
      this.events.watch(cell, { token: answer.token, item: hitKey(hit), position: offset + number });
      return cell;
    });
    const cells = offset ? withoutShown(found, this.list) : found;
    if (offset) this.list.append(...cells);
    else this.list.replaceChildren(...cells);
    const count = this.list.children.length;
    this.results.hidden = !count;
    this.offset = answer.next_offset ?? 0;
    if (this.more) this.more.hidden = !answer.more;
    for (const link of [this.next, this.previous]) link?.remove(); // to other results of the search that the page was loaded with
    renderMessages(this.messages, answer.messages);
    const closest = count ? [] : answer.closest;
    this.closest.hidden = !closest.length;
    this.closestList.replaceChildren(...closest.map((hit) => renderHit(this.template, hit)));
    if (!count) this.setStatus(closest.length ? "closest" : "nothing", { text: answer.degraded });
    else this.setStatus("found", { text: countHits(this.root.dataset, count, answer.more) });
    if (offset) cells[0]?.querySelector("a")?.focus();
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
    return cells.length > 0;
  }

  // An error is also shown after ``place``, if given: below the button that was clicked.
  setStatus(name, { text = "", error = false, place = null } = {}) {
    const key = `text${name[0].toUpperCase()}${name.slice(1)}`;
    this.status.toggleAttribute("data-error", error);
    this.status.textContent = text || this.root.dataset[key];
    this.note?.remove();
    if (!error) return;
    this.note = place && this.status.cloneNode(true);
    if (!place) this.status.scrollIntoView({ block: "nearest" }); // on a phone it is below the form
    else {
      for (const name of ["role", "data-imagesim-status"]) this.note.removeAttribute(name); // the status is announced
      place.after(this.note);
    }
  }
}

attach("[data-imagesim-search]", (root) => new ImageSearch(root));
