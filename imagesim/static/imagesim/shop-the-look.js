// What {% shop_the_look %} does with JavaScript: the photo goes to the REST API, what was found in it is marked, and
// each region has its results. A box that is moved or drawn is searched without sending the photo again while the
// server holds it; then the region is cut here and sent as a picture. Without this script the form is posted.

import { BoxEditor, overlap, same } from "./box-editor.js";
import { ResultEvents } from "./events.js";
import { cellFor, keyOf } from "./hits.js";
import { takeOver } from "./handover.js";
import { PhotoPicker } from "./picker.js";
import { cut, drawCropped, shrink } from "./pictures.js";

const WHOLE = { x: 0, y: 0, width: 1, height: 1 };
const KEPT = 0.4; // a box that still covers so much of where the finder saw a shoe is of a shoe
const TAPPED = 1 / 3; // side of the square around a point, of the photo's shorter side
const NEW_BOX = { x: 0.3, y: 0.3, width: 0.4, height: 0.4 };
const LARGE = 0.5; // of the photo; a new box starts where the last one was, unless that is all of it
const THUMB = 96; // pixels
const SAME = 0.9; // a region of the address that covers one that was found so well is that one
const REFUSED = [400, 413, 415]; // what was sent cannot be accepted, however often
const GONE = [404, 410]; // the photo is not held, or no longer
const PAUSE = 400; // milliseconds after the last key before the box's place is told

export class ShopTheLook {
  constructor(root) {
    const one = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.root = root;
    this.text = root.dataset;
    this.form = root.querySelector("form");
    this.file = this.form.elements.namedItem("image");
    this.start = one("start");
    this.view = one("view");
    this.stage = one("stage");
    this.image = one("photo");
    this.dots = one("dots");
    this.chips = one("chips");
    this.drawButton = one("draw");
    this.status = one("status");
    this.results = one("results");
    this.title = one("title");
    this.list = one("list");
    this.wider = one("wider");
    this.widerList = one("wider-list");
    this.closest = one("closest");
    this.closestList = one("closest-list");
    this.message = one("message");
    this.retry = one("retry");
    this.template = one("template");
    this.skeleton = one("skeleton");
    this.server = one("server");
    this.looks = []; // {box, found, label, name, results, …}, the whole photo last
    this.active = null;
    this.photo = null; // the Blob in hand
    this.bitmap = null;
    this.held = null; // what stands for the photo while the server holds it
    this.request = null; // the AbortController of the question under way
    if (this.text.api) this.begin(one);
  }

  begin(one) {
    for (const element of this.root.querySelectorAll("[data-imagesim-script]")) element.hidden = false;
    for (const element of this.root.querySelectorAll("[data-imagesim-noscript]")) element.hidden = true;
    this.events = new ResultEvents(this.text.events, this.csrfToken);
    this.editor = new BoxEditor(this.stage, one("box"));
    this.listenToTheBox();
    this.file.addEventListener("change", () => this.file.files[0] && this.use(this.file.files[0]));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.active) this.refresh();
      else this.file.click();
    });
    // Filters may stand anywhere on the page and belong to the form by their form="…" attribute.
    for (const field of this.form.elements) {
      if (field !== this.file && field.name) field.addEventListener("change", () => this.active && this.refresh());
    }
    for (const sample of this.root.querySelectorAll("[data-imagesim-sample]")) {
      sample.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        this.useSample(sample.dataset.imagesimSample);
      });
    }
    one("another").addEventListener("click", () => this.forget());
    this.retry.addEventListener("click", () => (this.looks.length ? this.ask(this.active) : this.look()));
    this.drawButton.addEventListener("click", () => this.toggleDrawing());
    new PhotoPicker(this.root, { use: (photo) => this.use(photo), refuse: (what) => this.say(this.words(what), true) });
    this.restore();
  }

  // A photo that another page handed over, one whose address this is, or one that the browser kept over "back".
  async restore() {
    const given = await takeOver();
    const token = new URL(location).searchParams.get("photo");
    if (given) await this.use(given);
    else if (token) await this.reopen(token);
    else if (this.file.files[0]) await this.use(this.file.files[0]);
  }

  listenToTheBox() {
    let pause = 0;
    this.editor.addEventListener("change", ({ detail }) => {
      clearTimeout(pause);
      pause = setTimeout(() => this.say(this.placeOf(detail)), PAUSE);
    });
    this.editor.addEventListener("commit", ({ detail }) => {
      clearTimeout(pause);
      this.moveTo(detail);
    });
    this.editor.addEventListener("cancel", () => {
      clearTimeout(pause);
      this.drawing(false);
      const look = this.active;
      if (look.whole || look.isDrawn) this.editor.show(look.whole ? null : look.box);
      else if (same(look.box, look.found)) this.editor.show(look.box);
      else this.moveTo(look.found);
      if (!look.whole) this.say(this.placeOf(look.box));
    });
    this.editor.addEventListener("draw", ({ detail }) => {
      clearTimeout(pause);
      this.drawn(detail);
    });
    this.editor.addEventListener("tap", ({ detail: { x, y } }) => this.drawn(this.around(x, y)));
  }

  words(name) {
    return this.text[`text${name[0].toUpperCase()}${name.slice(1)}`] ?? "";
  }

  get csrfToken() {
    return this.form.elements.namedItem("csrfmiddlewaretoken")?.value;
  }

  // The photo.

  async use(photo) {
    if (photo.type && !photo.type.startsWith("image/")) {
      this.say(this.words("type"), true);
      return;
    }
    const small = await shrink(photo);
    if (small.size > Number(this.text.maxBytes)) {
      this.say(this.words("size"), true);
      return;
    }
    await this.open(small);
    await this.look();
  }

  async open(photo) {
    this.clear();
    this.photo = photo;
    this.bitmap = await createImageBitmap(photo, { imageOrientation: "from-image" }).catch(() => null);
    if (this.bitmap) this.image.src = URL.createObjectURL(photo);
  }

  // The photo of this page's address, while the server holds it.
  async reopen(token) {
    this.say(this.words("looking"));
    const photo = await fetch(`${this.text.api}${encodeURIComponent(token)}/photo/`).catch(() => null);
    if (!photo?.ok) {
      this.address(null);
      this.say(this.words(photo ? "gone" : "failed"), true);
      return;
    }
    await this.open(await photo.blob());
    const wanted = new URL(location).searchParams.get("region");
    await this.look(token);
    const box = this.looks.length && wanted ? boxOf(wanted) : null;
    if (!box) return;
    const known = this.looks.find((look) => !look.whole && overlap(look.box, box) > SAME);
    if (known) this.select(known);
    else this.drawn(box);
  }

  // What stands in the address: results survive a reload and "back", and can be shared while the photo is held.
  address(token, look = null) {
    const url = new URL(location);
    url.searchParams.delete("sample");
    if (token) url.searchParams.set("photo", token);
    else url.searchParams.delete("photo");
    if (token && look && !look.whole) {
      const { x, y, width, height } = look.box;
      url.searchParams.set("region", [x, y, width, height].map((side) => side.toFixed(3)).join(","));
    } else url.searchParams.delete("region");
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }

  async useSample(url) {
    this.say(this.words("looking"));
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(response.statusText);
      await this.use(await response.blob());
    } catch {
      this.say(this.words("failed"), true);
    }
  }

  clear() {
    this.request?.abort();
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    this.bitmap?.close();
    Object.assign(this, { looks: [], active: null, photo: null, bitmap: null, held: null });
    this.busy(false);
    this.drawing(false);
    this.editor.show(null);
    this.dots.replaceChildren();
    this.chips.replaceChildren();
    this.list.replaceChildren();
    this.wider.hidden = true;
    this.closest.hidden = true;
    this.message.hidden = true;
    this.retry.hidden = true;
    if (this.server) this.server.hidden = true; // what the server had found in another photo
  }

  forget() {
    this.clear();
    this.file.value = "";
    this.view.hidden = true;
    this.start.hidden = false;
    this.address(null);
    this.say("");
    this.file.focus();
  }

  // Questions.

  fields() {
    const given = [];
    for (const [name, value] of new FormData(this.form)) {
      if (typeof value === "string" && value.trim() && name !== "csrfmiddlewaretoken") given.push([name, value.trim()]);
    }
    return given;
  }

  // The answer, or null where another question has taken its place.
  async post(url, body) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.busy(true);
    let response;
    let answer;
    try {
      response = await fetch(url, {
        method: "POST",
        body,
        headers: { Accept: "application/json", ...(this.csrfToken && { "X-CSRFToken": this.csrfToken }) },
        signal: request.signal,
      });
      answer = await response.json();
    } catch (error) {
      if (error.name === "AbortError" || this.request !== request) return null;
    }
    if (this.request !== request) return null;
    this.busy(false);
    const wait = Number(response?.headers.get("Retry-After")) || 0;
    return { ok: Boolean(response?.ok && answer), status: response?.status ?? 0, wait, ...answer };
  }

  // ``held`` stands for a photo that the server holds, which then need not be sent again.
  async look(held = null) {
    this.start.hidden = true;
    this.view.hidden = false;
    this.title.hidden = true;
    this.view.scrollIntoView({ block: "start", behavior: "instant" });
    this.say(this.words("looking"));
    const body = new FormData();
    for (const [name, value] of this.fields()) body.append(name, value);
    body.append("limit", this.text.limit);
    if (!held) body.append("image", this.photo, "photo");
    const answer = await this.post(held ? `${this.text.api}${encodeURIComponent(held)}/` : this.text.api, body);
    if (!answer) return;
    if (!answer.ok) {
      if (held && GONE.includes(answer.status)) this.address(null);
      this.fail(answer);
      return;
    }
    this.held = answer.photo ?? held;
    this.looks = answer.regions.map((region) => ({
      ...region,
      found: region.box,
      name: region.name || this.words("box"),
      results: worthy(region.results),
    }));
    const { more, token, closest } = answer;
    const results = worthy(answer.results);
    this.looks.push({ whole: true, box: WHOLE, found: WHOLE, label: "", name: this.words("whole"), results, closest, more, token });
    numbered(this.looks);
    this.showLooks();
    this.select(this.looks.find(hasOwn) ?? this.looks[0]);
    const count = this.looks.length - 1;
    this.say(count ? `${this.words("seen")} ${this.names()}. ${this.told(this.active)}` : this.words("none"));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
    const chip = this.chips.querySelector("[aria-pressed=true]");
    chip.focus({ preventScroll: true }); // what had the focus is gone
    this.chips.scrollTo({ left: chip.offsetLeft - this.chips.offsetLeft - 8 });
  }

  // One region, without sending the photo again where that can be.
  async ask(look) {
    this.say(this.words("searching"));
    const answer = (this.held && (await this.askHeld(look))) || (!this.held && (await this.askCut(look)));
    if (!answer || look !== this.active) return;
    if (!answer.ok) {
      this.fail(answer);
      return;
    }
    const { closest, more, token } = answer;
    Object.assign(look, { results: worthy(answer.results), closest, more, token, stale: false });
    this.show(look);
    this.say(this.told(look));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
  }

  async askHeld(look) {
    const { x, y, width, height } = look.box;
    const body = new FormData();
    for (const [name, value] of this.fields()) body.append(name, value);
    body.append("limit", this.text.limit);
    body.append("region", JSON.stringify([x, y, width, height]));
    if (look.label) body.append("label", look.label);
    const answer = await this.post(this.text.regionApi.replace("TOKEN", encodeURIComponent(this.held)), body);
    if (answer?.status !== 410) return answer;
    this.held = null; // a few minutes have passed
    return null;
  }

  async askCut(look) {
    const body = new FormData();
    for (const [name, value] of this.fields()) body.append(name, value);
    body.append("limit", this.text.limit);
    try {
      body.append("image", look.whole ? this.photo : await cut(this.photo, look.box), "photo");
    } catch {
      return { ok: false, status: 0 };
    }
    return this.post(this.text.searchApi, body);
  }

  refresh() {
    for (const look of this.looks) look.stale = true;
    if (this.active) this.ask(this.active);
  }

  // Regions.

  select(look, { focus = false } = {}) {
    const changed = look !== this.active;
    this.active = look;
    this.drawing(false);
    this.address(this.held, look);
    this.editor.show(look.whole ? null : look.box);
    this.nameBox();
    for (const [element, of] of this.marks) {
      element.toggleAttribute("data-active", of === look);
      if (element.closest("[data-imagesim-chips]")) element.setAttribute("aria-pressed", String(of === look));
    }
    if (focus && !look.whole) this.editor.element.focus({ preventScroll: true });
    if (look.stale || !look.results) this.ask(look);
    else {
      this.show(look);
      if (changed) this.say(this.told(look));
    }
  }

  moveTo(box) {
    const look = this.active;
    look.box = box;
    // What the box was found to hold is believed while it stays there; elsewhere the neighbours decide.
    if (!look.isDrawn) {
      look.foundLabel ??= look.label;
      look.foundName ??= look.name;
      const kept = overlap(box, look.found) >= KEPT;
      look.label = kept ? look.foundLabel : "";
      look.name = kept ? look.foundName : this.words("box");
    }
    look.results = null;
    this.showLooks();
    this.select(look);
  }

  drawn(box) {
    let look = this.looks.find((one) => one.isDrawn);
    if (!look) {
      look = { isDrawn: true, label: "", name: this.words("box") };
      this.looks.splice(-1, 0, look);
    }
    Object.assign(look, { box, found: box, results: null });
    this.showLooks();
    this.select(look, { focus: true });
  }

  // A button for those who cannot drag: it also puts a box in the middle, to be moved with the arrow keys.
  toggleDrawing() {
    if (this.editor.drawing) this.drawing(false);
    else {
      const { box } = this.active ?? { box: WHOLE };
      this.drawn(box.width * box.height < LARGE ? { ...box } : NEW_BOX);
      this.drawing(true);
      this.say(this.words("draw"));
    }
  }

  drawing(on) {
    this.editor.draws(on);
    this.drawButton.setAttribute("aria-pressed", String(on));
  }

  around(x, y) {
    const { naturalWidth: wide, naturalHeight: high } = this.image;
    const side = TAPPED * Math.min(wide, high);
    const [width, height] = [side / wide, side / high];
    return {
      x: Math.min(Math.max(0, x - width / 2), 1 - width),
      y: Math.min(Math.max(0, y - height / 2), 1 - height),
      width,
      height,
    };
  }

  showLooks() {
    this.marks = new Map();
    const dots = this.looks.filter((look) => !look.whole).map((look) => this.dot(look));
    const focused = [...this.chips.children].findIndex((item) => item.contains(document.activeElement));
    const chips = this.looks.map((look) => this.chip(look));
    this.dots.replaceChildren(...dots);
    this.chips.replaceChildren(...chips);
    chips[focused]?.firstElementChild.focus();
  }

  // For pointers; the buttons beside the photo say the same to everyone.
  dot(look) {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.className = "imagesim-look__dot";
    dot.tabIndex = -1;
    dot.title = look.name;
    dot.style.setProperty("left", `${(look.box.x + look.box.width / 2) * 100}%`);
    dot.style.setProperty("top", `${(look.box.y + look.box.height / 2) * 100}%`);
    dot.addEventListener("click", () => this.select(look));
    this.marks.set(dot, look);
    return dot;
  }

  chip(look) {
    const item = document.createElement("li");
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "imagesim-look__chip";
    if (this.bitmap) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = THUMB;
      canvas.setAttribute("aria-hidden", "true");
      drawCropped(canvas, this.bitmap, look.box);
      chip.append(canvas);
    }
    const name = document.createElement("span");
    name.textContent = look.name;
    chip.append(name);
    chip.addEventListener("click", () => this.select(look));
    this.marks.set(chip, look);
    item.append(chip);
    return item;
  }

  names() {
    return this.looks.filter((look) => !look.whole).map((look) => look.name).join(", ");
  }

  nameBox() {
    const { element } = this.editor;
    element.setAttribute("aria-label", `${this.words("around")} ${this.active.name}`);
    element.dataset.name = this.active.name;
  }

  placeOf(box) {
    const percent = (value) => `${Math.round(value * 100)} %`;
    return this.words("place")
      .replace("{left}", percent(box.x))
      .replace("{top}", percent(box.y))
      .replace("{width}", percent(box.width))
      .replace("{height}", percent(box.height));
  }

  // Results.

  show(look) {
    this.title.textContent = look.name;
    this.title.hidden = false;
    this.retry.hidden = true;
    const cells = look.results.map((hit, position) => {
      const cell = cellFor(this.template, hit);
      this.events.watch(cell, { token: look.token, item: keyOf(hit), position });
      return { cell, wider: Boolean(hit.stage) };
    });
    const own = cells.filter((one) => !one.wider).map((one) => one.cell);
    const wider = cells.filter((one) => one.wider).map((one) => one.cell);
    this.list.replaceChildren(...own);
    this.list.hidden = !own.length;
    this.widerList.replaceChildren(...wider);
    this.wider.hidden = !wider.length;
    const closest = cells.length ? [] : (look.closest ?? []);
    this.closestList.replaceChildren(...closest.map((hit) => cellFor(this.template, hit)));
    this.closest.hidden = !closest.length;
    this.message.removeAttribute("role");
    this.message.hidden = Boolean(own.length);
    this.message.textContent = own.length ? "" : this.words(wider.length ? "onlyWider" : closest.length ? "closest" : "nothing");
  }

  told(look) {
    const count = look.results.length;
    const said = count
      ? `${this.words("found")} ${count}${look.more ? "+" : ""}`
      : this.words(look.closest?.length ? "closest" : "nothing");
    return `${look.name}: ${said}`;
  }

  busy(on) {
    this.stage.toggleAttribute("data-busy", on && !this.looks.length);
    if (on) {
      this.results.setAttribute("aria-busy", "true");
      this.message.hidden = true;
      this.retry.hidden = true;
      this.wider.hidden = true;
      this.closest.hidden = true;
      this.list.hidden = false;
      const count = Math.min(Number(this.text.limit), 8);
      this.list.replaceChildren(...Array.from({ length: count }, () => this.skeleton.content.cloneNode(true)));
    } else {
      this.results.removeAttribute("aria-busy");
      this.list.replaceChildren();
    }
  }

  fail({ status, detail, wait }) {
    const text = status === 429 ? this.words("throttled").replace("{seconds}", wait || "60") : detail || this.words("failed");
    if (REFUSED.includes(status) && !this.looks.length) {
      this.forget(); // there is nothing to see or to try again: back to the choice, with the reason
      this.say(text, true);
      return;
    }
    this.list.hidden = true;
    this.message.setAttribute("role", "alert"); // said once, where it is seen
    this.message.textContent = text;
    this.message.hidden = false;
    this.retry.hidden = REFUSED.includes(status);
    this.say("");
  }

  say(text, error = false) {
    this.status.toggleAttribute("data-error", error);
    this.status.textContent = text;
  }
}

// Whether the shop has things of its kind.
const hasOwn = (look) => look.results.some((hit) => !hit.stage);

// Two people's shoes are "Shoes" and "Shoes 2", so that who cannot see the photo can tell them apart.
function numbered(looks) {
  const count = new Map();
  for (const look of looks) {
    const number = (count.get(look.name) ?? 0) + 1;
    count.set(look.name, number);
    if (number > 1) look.name += ` ${number}`;
  }
}

// What fills up from other categories is shown if it is as alike as what its own category has on average.
function worthy(results) {
  const own = results.filter((hit) => !hit.stage);
  const usual = own.reduce((sum, hit) => sum + hit.score, 0) / own.length; // NaN where there are none: all are shown
  return results.filter((hit) => !hit.stage || !(hit.score < usual));
}

// "0.1,0.2,0.3,0.4" -> {x, y, width, height}; null for anything else.
function boxOf(text) {
  const [x, y, width, height, ...rest] = text.split(",").map(Number);
  const sound = rest.length === 0 && [x, y, width, height].every((side) => side >= 0 && side <= 1);
  return sound && width > 0 && height > 0 && x + width <= 1.001 && y + height <= 1.001 ? { x, y, width, height } : null;
}

for (const root of document.querySelectorAll("[data-imagesim-look]")) new ShopTheLook(root);
