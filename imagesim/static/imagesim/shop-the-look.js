// The behaviour of {% shop_the_look %}: send the photo to the REST API, mark the regions that it returns, and show the
// results of the selected one. A box that the visitor moves or draws is searched without sending the photo again while
// the server holds it; after that, the region is cropped here and sent as a picture. Without this script, the form is
// posted to the server.

import { attach } from "./attach.js";
import { BoxEditor, overlap, sameBox } from "./box-editor.js";
import { ResultEvents } from "./events.js";
import { countHits, hitKey, renderHit, renderMessages } from "./hits.js";
import { isPhotoLost, receivePhoto, rememberPhoto } from "./handover.js";
import { PhotoPicker } from "./picker.js";
import { crop, drawCropped, fetchPicture, shrink } from "./pictures.js";
import { explainRefusal, retryAfter } from "./refusals.js";
import { isCancelled, withLimit } from "./requests.js";

const WHOLE = { x: 0, y: 0, width: 1, height: 1 };
const LABEL_OVERLAP = 0.4; // a box has the label of a found one while they overlap by at least this
const TAP_SIDE = 1 / 3; // side of the box around a tapped point, as a share of the photo's shorter side
const NEW_BOX = { x: 0.3, y: 0.3, width: 0.4, height: 0.4 };
const LARGE_AREA = 0.5; // share of the photo; a new box starts at the active one unless that is larger
const THUMBNAIL_SIDE = 96; // pixels
const SAME_REGION_OVERLAP = 0.9; // a box in the address with at least this overlap selects the found region
const REJECTED = [400, 413, 415]; // statuses that a retry cannot change
const GONE = [404, 410]; // statuses of a photo that the server does not hold, or no longer
const ANNOUNCE_DELAY = 400; // milliseconds after the last key until the position of the box is announced

export class ShopTheLook {
  constructor(root) {
    const find = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.root = root;
    this.text = root.dataset;
    this.form = root.querySelector("form");
    this.file = this.form.elements.namedItem("image");
    this.start = find("start");
    this.view = find("view");
    this.stage = find("stage");
    this.image = find("photo");
    this.dots = find("dots");
    this.chips = find("chips");
    this.drawButton = find("draw");
    this.status = find("status");
    this.results = find("results");
    this.title = find("title");
    this.list = find("list");
    this.wider = find("wider");
    this.widerList = find("wider-list");
    this.closest = find("closest");
    this.closestList = find("closest-list");
    this.message = find("message");
    this.messages = find("messages"); // those of the shop
    this.retry = find("retry");
    this.template = find("template");
    this.skeleton = find("skeleton");
    this.server = find("server");
    this.regions = []; // {box, foundBox, label, name, results, …}; the whole photo comes last
    this.active = null;
    this.photo = null; // the chosen Blob
    this.bitmap = null;
    this.photoToken = null; // names the photo while the server holds it
    this.request = null; // the AbortController of the running request
    this.choice = 0; // counts the photos chosen: only the last one is shown, however long another takes to read
    if (this.text.api) this.bindEvents(find);
  }

  bindEvents(find) {
    for (const element of this.root.querySelectorAll("[data-imagesim-script]")) element.hidden = false;
    for (const element of this.root.querySelectorAll("[data-imagesim-noscript]")) element.hidden = true;
    this.events = new ResultEvents(this.text.events, this.csrfToken);
    this.editor = new BoxEditor(this.stage, find("box"));
    this.bindBoxEvents();
    this.file.addEventListener("change", () => this.file.files[0] && this.usePhoto(this.file.files[0]));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.active) this.refresh();
      else this.file.click();
    });
    // Filters can be anywhere on the page: their form="…" attribute makes them part of the form.
    for (const field of this.form.elements) {
      if (field !== this.file && field.name) field.addEventListener("change", () => this.active && this.refresh());
    }
    for (const sample of this.root.querySelectorAll("[data-imagesim-sample]")) {
      sample.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        this.usePicture(sample.dataset.imagesimSample, "failed");
      });
    }
    find("another").addEventListener("click", () => this.reset());
    this.retry.addEventListener("click", () => {
      this.results.focus({ preventScroll: true }); // the button is hidden while the search runs
      if (this.regions.length) this.search(this.active);
      else this.searchPhoto();
    });
    this.drawButton.addEventListener("click", () => this.toggleDrawing());
    new PhotoPicker(this.root, {
      onPhoto: (photo) => this.usePhoto(photo),
      onPicture: (url) => this.usePicture(url, "foreign"),
      onError: (name) => this.setStatus(this.getText(name), true),
    });
    this.restore();
  }

  // Use the photo that another page handed over, that the address names, or that the browser restored after "back".
  async restore() {
    if (!this.view.hidden) this.showStart(); // the copy of a used page that htmx or Turbo shows after "back"
    const received = await receivePhoto();
    const token = new URL(location).searchParams.get("photo");
    const lost = isPhotoLost();
    if (received) await this.usePhoto(received);
    else if (token) await this.restorePhoto(token);
    else if (this.file.files[0]) await this.usePhoto(this.file.files[0]);
    else if (lost) this.setStatus(this.getText("again"), true);
  }

  bindBoxEvents() {
    let pause = 0;
    this.editor.addEventListener("change", ({ detail }) => {
      clearTimeout(pause);
      pause = setTimeout(() => this.setStatus(this.describeBox(detail)), ANNOUNCE_DELAY);
    });
    this.editor.addEventListener("commit", ({ detail }) => {
      clearTimeout(pause);
      this.moveTo(detail);
    });
    this.editor.addEventListener("cancel", () => {
      clearTimeout(pause);
      this.setDrawing(false);
      const region = this.active;
      if (region.whole || region.isDrawn) this.editor.show(region.whole ? null : region.box);
      else if (sameBox(region.box, region.foundBox)) this.editor.show(region.box);
      else this.moveTo(region.foundBox);
      if (!region.whole) this.setStatus(this.describeBox(region.box));
    });
    this.editor.addEventListener("draw", ({ detail }) => {
      clearTimeout(pause);
      this.addDrawnRegion(detail);
    });
    this.editor.addEventListener("tap", ({ detail: { x, y } }) => this.addDrawnRegion(this.boxAround(x, y)));
  }

  getText(name) {
    return this.text[`text${name[0].toUpperCase()}${name.slice(1)}`] ?? "";
  }

  get csrfToken() {
    return this.form.elements.namedItem("csrfmiddlewaretoken")?.value;
  }

  // The photo.

  async usePhoto(photo, choice = ++this.choice) {
    if (photo.type && !photo.type.startsWith("image/")) {
      this.setStatus(this.getText("type"), true);
      return;
    }
    this.setStatus(this.getText("looking"));
    const small = await shrink(photo);
    if (choice !== this.choice) return;
    if (small.size > Number(this.text.maxBytes)) {
      this.setStatus(this.getText("size"), true);
      return;
    }
    await this.showPhoto(small);
    if (choice === this.choice) await this.searchPhoto();
  }

  async showPhoto(photo) {
    this.clear();
    await this.drawPhoto(photo);
  }

  async drawPhoto(photo) {
    this.photo = photo;
    rememberPhoto(true);
    const bitmap = await createImageBitmap(photo, { imageOrientation: "from-image" }).catch(() => null);
    if (photo !== this.photo) return; // another one was chosen meanwhile
    this.bitmap = bitmap;
    if (this.bitmap) this.image.src = URL.createObjectURL(photo);
  }

  fetchHeld(token) {
    return fetch(`${this.text.api}${encodeURIComponent(token)}/photo/`, { signal: withLimit() });
  }

  // Fetch the photo that the address names, if the server still holds it, and select the region of the address.
  async restorePhoto(token) {
    const choice = ++this.choice;
    this.setStatus(this.getText("looking"));
    let response;
    let photo;
    try {
      response = await this.fetchHeld(token);
      if (response.ok) photo = await response.blob();
    } catch {
      // without a connection
    }
    if (choice !== this.choice) return;
    if (!photo) {
      const gone = GONE.includes(response?.status);
      if (gone) this.updateAddress(null); // else it is there after a reload
      const refusal = { status: response?.status, wait: retryAfter(response) };
      this.setStatus(gone ? this.getText("gone") : explainRefusal(this.text, refusal), true);
      return;
    }
    await this.showPhoto(photo);
    if (choice !== this.choice) return;
    const wanted = new URL(location).searchParams.get("region");
    await this.searchPhoto(token);
    const box = choice === this.choice && this.regions.length && wanted ? parseBox(wanted) : null;
    if (!box) return;
    const known = this.regions.find((region) => !region.whole && overlap(region.box, box) > SAME_REGION_OVERLAP);
    if (known) this.select(known);
    else this.addDrawnRegion(box);
  }

  // Write photo and region to the address: results survive a reload and "back", and can be shared while the server
  // holds the photo.
  updateAddress(token, region = null) {
    const url = new URL(location);
    url.searchParams.delete("sample");
    if (token) url.searchParams.set("photo", token);
    else url.searchParams.delete("photo");
    if (token && region && !region.whole) {
      const { x, y, width, height } = region.box;
      url.searchParams.set("region", [x, y, width, height].map((side) => side.toFixed(3)).join(","));
    } else url.searchParams.delete("region");
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }

  // Use a picture of this page; the name of the text says what else if it cannot be fetched.
  async usePicture(url, failure) {
    const choice = ++this.choice;
    this.setStatus(this.getText("looking"));
    const photo = await fetchPicture(url).catch(() => null);
    if (choice !== this.choice) return;
    if (photo) await this.usePhoto(photo, choice);
    else this.setStatus(this.getText(failure), true);
  }

  clear() {
    this.request?.abort();
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    this.bitmap?.close();
    Object.assign(this, { regions: [], active: null, photo: null, bitmap: null, photoToken: null });
    this.setBusy(false);
    this.setDrawing(false);
    this.editor.show(null);
    this.dots.replaceChildren();
    this.chips.replaceChildren();
    this.list.replaceChildren();
    this.wider.hidden = true;
    this.closest.hidden = true;
    this.message.hidden = true;
    renderMessages(this.messages, []);
    this.retry.hidden = true;
    if (this.server) this.server.hidden = true; // rendered results of another photo
  }

  // Whether what was focused is hidden or removed. A visitor who is elsewhere by now, as in a search field, stays there.
  get lostFocus() {
    const place = document.activeElement;
    return !place || place === document.body || this.start.contains(place) || this.results.contains(place);
  }

  showStart() {
    this.clear();
    this.view.hidden = true;
    this.start.hidden = false;
  }

  reset({ focus = true } = {}) {
    this.choice += 1;
    this.showStart();
    this.file.value = "";
    this.updateAddress(null);
    rememberPhoto(false);
    this.setStatus("");
    if (focus) this.file.focus();
  }

  // Requests.

  fields() {
    const fields = [];
    for (const [name, value] of new FormData(this.form)) {
      if (typeof value === "string" && value.trim() && name !== "csrfmiddlewaretoken") fields.push([name, value.trim()]);
    }
    return fields;
  }

  // Post a request and abort the previous one. Return the answer, or null if a newer request replaced this one.
  async post(url, body) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.setBusy(true);
    let response;
    let answer;
    try {
      response = await fetch(url, {
        method: "POST",
        body,
        headers: { Accept: "application/json", ...(this.csrfToken && { "X-CSRFToken": this.csrfToken }) },
        signal: withLimit(request),
      });
      answer = await response.json();
    } catch {
      if (isCancelled(request) || this.request !== request) return null;
    }
    if (this.request !== request) return null;
    this.setBusy(false);
    return { ok: Boolean(response?.ok && answer), status: response?.status ?? 0, wait: retryAfter(response), ...answer };
  }

  // Search the whole photo for regions and hits. A ``token`` names a photo that the server already holds.
  async searchPhoto(token = null) {
    this.start.hidden = true;
    this.view.hidden = false;
    this.title.hidden = true;
    this.view.scrollIntoView({ block: "start", behavior: "instant" });
    this.setStatus(this.getText("looking"));
    const body = new FormData();
    const fields = this.fields();
    for (const [name, value] of fields) body.append(name, value);
    body.append("limit", this.text.limit);
    if (!token) body.append("image", this.photo, "photo");
    const answer = await this.post(token ? `${this.text.api}${encodeURIComponent(token)}/` : this.text.api, body);
    if (!answer) return;
    if (!answer.ok) {
      if (token && GONE.includes(answer.status)) this.updateAddress(null);
      this.showError(answer);
      return;
    }
    this.photoToken = answer.photo ?? token;
    if (!this.bitmap && this.photoToken) {
      // Only the server can read the photo, such as HEIC: show the JPEG that it holds.
      const { choice } = this;
      const held = await this.fetchHeld(this.photoToken).catch(() => null);
      const photo = held?.ok && (await held.blob().catch(() => null));
      if (choice !== this.choice) return; // another photo was chosen meanwhile
      if (photo) await this.drawPhoto(photo);
      if (choice !== this.choice) return;
    }
    this.regions = answer.regions.map((region) => ({
      ...region,
      foundBox: region.box,
      name: region.name || this.getText("box"),
      results: dropWeakFallback(region.results),
    }));
    this.regions.push({
      whole: true,
      box: WHOLE,
      foundBox: WHOLE,
      label: "",
      name: this.getText("whole"),
      results: dropWeakFallback(answer.results),
      closest: answer.closest,
      more: answer.more,
      token: answer.token,
    });
    renderMessages(this.messages, answer.messages);
    numberNames(this.regions);
    for (const region of this.regions) Object.assign(region, { foundLabel: region.label, foundName: region.name });
    this.showRegions();
    this.select(surest(this.regions.slice(0, -1)) ?? this.regions.find(hasOwn) ?? this.regions[0]);
    const count = this.regions.length - 1;
    const summary = count > 1 ? this.summarize(this.active) : this.count(this.active); // of one region the name is said already
    this.setStatus(count ? `${this.getText("seen")} ${this.regionNames()}. ${summary}` : this.getText("none"));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
    const chip = this.chips.querySelector("[aria-pressed=true]");
    if (this.lostFocus) chip.focus({ preventScroll: true });
    this.chips.scrollTo({ left: chip.offsetLeft - this.chips.offsetLeft - 8 });
    if (String(fields) !== String(this.fields())) this.refresh(); // a filter was changed meanwhile
  }

  // Search one region, without sending the photo again if the server still holds it.
  async search(region) {
    const place = region.isDrawn ? `${this.about(region, this.describeBox(region.box))}. ` : "";
    this.setStatus(place + this.getText("searching"));
    let answer = this.photoToken && (await this.searchRegion(region));
    if (region !== this.active) return; // another region, or another photo
    if (!this.photoToken) answer ||= await this.searchCrop(region);
    if (!answer || region !== this.active) return;
    if (!answer.ok) {
      this.showError(answer);
      return;
    }
    const { closest, more, token } = answer;
    Object.assign(region, { results: dropWeakFallback(answer.results), closest, more, token, stale: false });
    this.showResults(region);
    this.setStatus(this.editor.drawing ? this.getText("draw") : this.summarize(region));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
  }

  // Return null if the server no longer holds the photo.
  async searchRegion(region) {
    const { x, y, width, height } = region.box;
    const body = new FormData();
    for (const [name, value] of this.fields()) body.append(name, value);
    body.append("limit", this.text.limit);
    body.append("region", JSON.stringify([x, y, width, height]));
    if (region.label) body.append("label", region.label);
    const answer = await this.post(this.text.regionApi.replace("TOKEN", encodeURIComponent(this.photoToken)), body);
    if (answer?.status !== 410) return answer;
    this.photoToken = null; // it has expired
    return null;
  }

  // Return null if the visitor has moved the box, or left it, while it was cropped.
  async searchCrop(region) {
    const { box } = region;
    const body = new FormData();
    for (const [name, value] of this.fields()) body.append(name, value);
    body.append("limit", this.text.limit);
    try {
      body.append("image", region.whole ? this.photo : await crop(this.photo, box), "photo");
    } catch {
      return { ok: false, status: GONE[1], detail: this.getText("gone") }; // only the server could read the photo
    }
    return region === this.active && region.box === box ? this.post(this.text.searchApi, body) : null;
  }

  refresh() {
    for (const region of this.regions) region.stale = true;
    if (this.active) this.search(this.active);
  }

  // Regions.

  select(region, { focus = false } = {}) {
    const changed = region !== this.active;
    this.active = region;
    this.setDrawing(false);
    this.updateAddress(this.photoToken, region);
    this.editor.show(region.whole ? null : region.box);
    this.labelBox();
    for (const [element, marked] of this.marks) {
      element.toggleAttribute("data-active", marked === region);
      if (element.closest("[data-imagesim-chips]")) element.setAttribute("aria-pressed", String(marked === region));
    }
    if (focus && !region.whole) this.editor.element.focus({ preventScroll: true });
    if (region.stale || !region.results) this.search(region);
    else {
      this.request?.abort(); // of a region that was selected before, whose answer would end these results
      this.setBusy(false);
      this.showResults(region);
      if (changed) this.setStatus(this.summarize(region));
    }
  }

  moveTo(box) {
    const region = this.active;
    region.box = box;
    const stays = !region.isDrawn && overlap(box, region.foundBox) >= LABEL_OVERLAP;
    region.label = stays ? region.foundLabel : this.labelAt(box);
    region.name = stays ? region.foundName : this.getText("box");
    region.results = null;
    this.showRegions();
    this.select(region);
  }

  addDrawnRegion(box) {
    let region = this.regions.find((one) => one.isDrawn);
    if (!region) {
      region = { isDrawn: true, name: this.getText("box") };
      this.regions.splice(-1, 0, region);
    }
    Object.assign(region, { box, foundBox: box, label: this.labelAt(box), results: null });
    this.showRegions();
    this.select(region, { focus: true });
  }

  // The label of what was found where the box is; where there is nothing, the server infers it from hits.
  labelAt(box) {
    const shares = this.regions.map((one) => (one.foundLabel ? overlap(box, one.foundBox) : 0));
    const most = Math.max(...shares);
    return most >= LABEL_OVERLAP ? this.regions[shares.indexOf(most)].foundLabel : "";
  }

  // Start or stop drawing. A box appears at once, so that visitors who cannot drag move it with the arrow keys.
  toggleDrawing() {
    if (this.editor.drawing) this.setDrawing(false);
    else {
      const { box } = this.active ?? { box: WHOLE };
      this.addDrawnRegion(box.width * box.height < LARGE_AREA ? { ...box } : NEW_BOX);
      this.setDrawing(true);
      this.setStatus(this.getText("draw"));
    }
  }

  setDrawing(on) {
    this.editor.setDrawing(on);
    this.drawButton.setAttribute("aria-pressed", String(on));
  }

  boxAround(x, y) {
    const { naturalWidth: wide, naturalHeight: high } = this.image;
    const side = TAP_SIDE * Math.min(wide, high);
    const [width, height] = [side / wide, side / high];
    return {
      x: Math.min(Math.max(0, x - width / 2), 1 - width),
      y: Math.min(Math.max(0, y - height / 2), 1 - height),
      width,
      height,
    };
  }

  showRegions() {
    this.marks = new Map();
    const dots = this.regions.filter((region) => !region.whole).map((region) => this.createDot(region));
    const focused = [...this.chips.children].findIndex((item) => item.contains(document.activeElement));
    const chips = this.regions.map((region) => this.createChip(region));
    this.dots.replaceChildren(...dots);
    this.chips.replaceChildren(...chips);
    chips[focused]?.firstElementChild.focus();
  }

  // A dot in the photo, for pointers only: the buttons beside the photo do the same and are accessible.
  createDot(region) {
    const dot = document.createElement("button");
    dot.type = "button";
    dot.className = "imagesim-look__dot";
    dot.tabIndex = -1;
    dot.title = region.name;
    dot.style.setProperty("left", `${(region.box.x + region.box.width / 2) * 100}%`);
    dot.style.setProperty("top", `${(region.box.y + region.box.height / 2) * 100}%`);
    dot.addEventListener("click", () => this.select(region));
    this.marks.set(dot, region);
    return dot;
  }

  createChip(region) {
    const item = document.createElement("li");
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "imagesim-look__chip";
    if (this.bitmap) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = THUMBNAIL_SIDE;
      canvas.setAttribute("aria-hidden", "true");
      drawCropped(canvas, this.bitmap, region.box);
      chip.append(canvas);
    }
    const name = document.createElement("span");
    name.textContent = region.name;
    chip.append(name);
    chip.addEventListener("click", () => this.select(region));
    this.marks.set(chip, region);
    item.append(chip);
    return item;
  }

  regionNames() {
    return this.regions.filter((region) => !region.whole).map((region) => region.name).join(", ");
  }

  labelBox() {
    const { element } = this.editor;
    const { name, box } = this.active;
    const isOwn = name === this.getText("box"); // it is known by its place, not by what is in it
    element.setAttribute("aria-label", isOwn ? this.about(this.active, this.describeBox(box)) : `${this.getText("around")} ${name}`);
    element.dataset.name = name;
  }

  describeBox(box) {
    const percent = (value) => `${Math.round(value * 100)} %`;
    return this.getText("place")
      .replace("{left}", percent(box.x))
      .replace("{top}", percent(box.y))
      .replace("{width}", percent(box.width))
      .replace("{height}", percent(box.height));
  }

  // Results.

  showResults(region) {
    this.title.textContent = region.name;
    this.title.hidden = false;
    this.retry.hidden = true;
    const cells = region.results.map((hit, position) => {
      const cell = renderHit(this.template, hit);
      this.events.watch(cell, { token: region.token, item: hitKey(hit), position });
      return { cell, wider: Boolean(hit.stage) };
    });
    const own = cells.filter((cell) => !cell.wider).map((cell) => cell.cell);
    const wider = cells.filter((cell) => cell.wider).map((cell) => cell.cell);
    this.list.replaceChildren(...own);
    this.list.hidden = !own.length;
    this.widerList.replaceChildren(...wider);
    this.wider.hidden = !wider.length;
    const closest = cells.length ? [] : (region.closest ?? []);
    this.closestList.replaceChildren(...closest.map((hit) => renderHit(this.template, hit)));
    this.closest.hidden = !closest.length;
    this.message.removeAttribute("role");
    this.message.hidden = Boolean(own.length);
    this.message.textContent = own.length ? "" : this.getText(wider.length ? "onlyWider" : this.reasonForNone(region));
  }

  summarize(region) {
    return this.about(region, this.count(region));
  }

  // "Shoes: …", with the punctuation of the language.
  about(region, text) {
    return (this.getText("about") || "{name}: {text}").replace("{name}", () => region.name).replace("{text}", () => text);
  }

  count(region) {
    const { results, more } = region;
    return results.length ? countHits(this.text, results.length, more) : this.getText(this.reasonForNone(region));
  }

  // Return the name of the text for a region without hits; of the whole photo there is no box to move.
  reasonForNone(region) {
    return region.closest?.length ? "closest" : region.whole ? "nothingWhole" : "nothing";
  }

  setBusy(on) {
    // A tap or a box would end the search for regions before its answer.
    const looking = on && !this.regions.length;
    this.stage.toggleAttribute("data-busy", looking);
    this.stage.inert = looking;
    this.drawButton.disabled = looking;
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

  showError(answer) {
    const { status } = answer;
    const text = explainRefusal(this.text, answer);
    if (REJECTED.includes(status) && !this.regions.length) {
      this.reset({ focus: this.lostFocus }); // nothing to show or retry: go back to the file input, with the reason
      this.setStatus(text, true);
      return;
    }
    this.list.hidden = true;
    this.message.setAttribute("role", "alert"); // announced once, where it is visible
    this.message.textContent = text;
    this.message.hidden = false;
    this.retry.hidden = REJECTED.includes(status) || (GONE.includes(status) && this.regions.length > 0);
    // Until a retry has found the regions, a box would be the only one, and hide the button of the retry.
    if (!this.regions.length) this.stage.inert = this.drawButton.disabled = true;
    this.setStatus("");
  }

  setStatus(text, error = false) {
    this.status.toggleAttribute("data-error", error);
    this.status.textContent = text;
    if (error) this.status.scrollIntoView({ block: "nearest" }); // on a phone it is below the form
  }
}

// Whether a region has hits of its own category.
const hasOwn = (region) => region.results.some((hit) => !hit.stage);

// The region whose best hit of its own category is the most relevant one, if any has hits of its own.
function surest(regions) {
  const relevance = (region) => Math.max(...region.results.map((hit) => (hit.stage ? 0 : hit.relevance)));
  return regions.filter(hasOwn).reduce((best, region) => (!best || relevance(region) > relevance(best) ? region : best), null);
}

// Number regions of the same name ("Shoes", "Shoes 2"), so that a screen reader distinguishes them.
function numberNames(regions) {
  const count = new Map();
  for (const region of regions) {
    const number = (count.get(region.name) ?? 0) + 1;
    count.set(region.name, number);
    if (number > 1) region.name += ` ${number}`;
  }
}

// Drop hits of wider categories that score below the mean of the region's own category.
function dropWeakFallback(results) {
  const own = results.filter((hit) => !hit.stage);
  const mean = own.reduce((sum, hit) => sum + hit.score, 0) / own.length; // NaN without own hits: all hits are kept
  return results.filter((hit) => !hit.stage || !(hit.score < mean));
}

// Parse "0.1,0.2,0.3,0.4" into {x, y, width, height}; return null if it is not a box.
function parseBox(text) {
  const [x, y, width, height, ...rest] = text.split(",").map(Number);
  const valid = rest.length === 0 && [x, y, width, height].every((side) => side >= 0 && side <= 1);
  return valid && width > 0 && height > 0 && x + width <= 1.001 && y + height <= 1.001 ? { x, y, width, height } : null;
}

attach("[data-imagesim-look]", (root) => new ShopTheLook(root));
