// The behaviour of {% shop_the_look %}: send the photo to the REST API, mark the regions that it returns, and show the
// results of the selected one. A box that the visitor moves or draws is searched without sending the photo again while
// the server holds it; after that, the region is cropped here and sent as a picture. Without this script, the form is
// posted to the server.

import { attach } from "./attach.js";
import { BoxEditor, boxAround, sameBox } from "./box-editor.js";
import { fieldsRestored, isPhotoLost, receivePhoto, rememberPhoto } from "./handover.js";
import { renderMessages } from "./hits.js";
import { LookAddress } from "./look-address.js";
import { RegionMarks, WHOLE, drawnRegion, move, regionAt, regionsOf, surest, update } from "./look-regions.js";
import { LookRequests } from "./look-requests.js";
import { LookResults } from "./look-results.js";
import { LookTexts } from "./look-texts.js";
import { PhotoPicker } from "./picker.js";
import { crop, fetchPicture, prepare } from "./pictures.js";
import { explainRefusal, retryAfter } from "./refusals.js";
import { csrfHeaderOf, fieldsOf } from "./requests.js";

const NEW_BOX = { x: 0.3, y: 0.3, width: 0.4, height: 0.4 };
const LARGE_AREA = 0.5; // share of the photo; a new box starts at the active one unless that is larger
const REJECTED = [400, 413, 415]; // statuses that a retry cannot change
const GONE = [404, 410]; // statuses of a photo that the server does not hold, or no longer
const ANNOUNCE_DELAY = 400; // milliseconds after the last key until the position of the box is announced

export class ShopTheLook {
  constructor(root) {
    if (!root.dataset.api) return;
    const find = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.root = root;
    this.form = root.querySelector("form");
    this.file = this.form.elements.namedItem("image");
    this.start = find("start");
    this.view = find("view");
    this.stage = find("stage");
    this.image = find("photo");
    this.drawButton = find("draw");
    this.status = find("status");
    this.messages = find("messages"); // those of the shop
    this.server = find("server");
    this.texts = new LookTexts(root.dataset);
    this.address = new LookAddress(this.form, root.dataset.facets);
    this.requests = new LookRequests(root.dataset, this.form, (on) => this.setBusy(on));
    this.results = new LookResults(root, this.texts, csrfHeaderOf(this.form), () => this.refresh());
    this.marks = new RegionMarks(find("dots"), find("chips"), (region) => this.select(region));
    this.editor = new BoxEditor(this.stage, find("box"));
    this.regions = []; // the whole photo comes last
    this.active = null;
    this.photo = null; // the chosen Blob
    this.bitmap = null;
    this.photoToken = null; // names the photo while the server holds it
    this.choice = 0; // counts the photos chosen: only the last one is shown, however long another takes to read
    this.bindEvents(find);
    this.bindBoxEvents();
    this.restore();
  }

  bindEvents(find) {
    for (const element of this.root.querySelectorAll("[data-imagesim-script]")) element.hidden = false;
    for (const element of this.root.querySelectorAll("[data-imagesim-noscript]")) element.hidden = true;
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
    this.results.retry.addEventListener("click", () => {
      this.results.section.focus({ preventScroll: true }); // the button is hidden while the search runs
      if (this.regions.length) this.search(this.active);
      else this.searchPhoto();
    });
    this.drawButton.addEventListener("click", () => this.toggleDrawing());
    new PhotoPicker(this.root, {
      onPhoto: (photo) => this.usePhoto(photo),
      onPicture: (url) => this.usePicture(url, "foreign"),
      onError: (name) => this.setStatus(this.texts.get(name), true),
    });
  }

  bindBoxEvents() {
    let pause = 0;
    this.editor.addEventListener("change", ({ detail }) => {
      clearTimeout(pause);
      pause = setTimeout(() => this.setStatus(this.texts.place(detail)), ANNOUNCE_DELAY);
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
      if (!region.whole) this.setStatus(this.texts.place(region.box));
    });
    this.editor.addEventListener("draw", ({ detail }) => {
      clearTimeout(pause);
      this.draw(detail);
    });
    this.editor.addEventListener("tap", ({ detail }) => this.draw(boxAround(detail, this.image)));
  }

  // The photo.

  // Use the photo that another page handed over, that the URL names, or that the browser restored after "back".
  async restore() {
    if (!this.view.hidden) this.showStart(); // the copy of the page that htmx or Turbo shows after "back"
    const received = await receivePhoto();
    const { token } = this.address.read();
    const lost = isPhotoLost();
    if (received) return this.usePhoto(received);
    if (token) return this.restorePhoto(token);
    await fieldsRestored;
    if (this.choice) return; // the visitor has chosen a photo meanwhile
    if (this.file.files[0]) await this.usePhoto(this.file.files[0]);
    else if (lost) this.setStatus(this.texts.get("again"), true);
  }

  // Fetch the photo that the URL names, if the server still holds it, and select the URL's region.
  async restorePhoto(token) {
    const choice = ++this.choice;
    this.address.restoreFilters();
    this.setStatus(this.texts.get("looking"));
    let response;
    let photo;
    try {
      response = await this.requests.fetchHeld(token);
      if (response.ok) photo = await response.blob();
    } catch {
      // without a connection
    }
    if (choice !== this.choice) return;
    if (!photo) {
      const gone = GONE.includes(response?.status);
      if (gone) this.address.write(null); // otherwise it would still be there after a reload
      const refusal = { status: response?.status, wait: retryAfter(response) };
      this.setStatus(gone ? this.texts.get("gone") : explainRefusal(this.texts.data, refusal), true);
      return;
    }
    await this.showPhoto(photo);
    if (choice !== this.choice) return;
    this.results.facets.restore(new URL(location).searchParams);
    const { box } = this.address.read();
    await this.searchPhoto(token);
    if (choice !== this.choice || !this.regions.length || !box) return;
    const known = regionAt(box, this.regions);
    if (known) this.select(known);
    else this.draw(box);
  }

  // Use a picture of this page; ``failure`` names the text to show if it cannot be fetched.
  async usePicture(url, failure) {
    const choice = ++this.choice;
    this.setStatus(this.texts.get("looking"));
    const photo = await fetchPicture(url).catch(() => null);
    if (choice !== this.choice) return;
    if (photo) await this.usePhoto(photo, choice);
    else this.setStatus(this.texts.get(failure), true);
  }

  async usePhoto(photo, choice = ++this.choice) {
    this.setStatus(this.texts.get("looking"));
    const small = await prepare(photo, this.texts.data.maxBytes);
    if (choice !== this.choice) return;
    if (typeof small === "string") {
      this.setStatus(this.texts.get(small), true);
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
    if (photo !== this.photo) return; // another photo was chosen meanwhile
    this.bitmap = bitmap;
    if (this.bitmap) this.image.src = URL.createObjectURL(photo);
  }

  clear() {
    this.requests.cancel();
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    this.bitmap?.close();
    Object.assign(this, { regions: [], active: null, photo: null, bitmap: null, photoToken: null });
    this.setDrawing(false);
    this.editor.show(null);
    this.marks.clear();
    this.results.clear();
    renderMessages(this.messages, []);
    if (this.server) this.server.hidden = true; // rendered results of another photo
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
    this.address.write(null);
    rememberPhoto(false);
    this.setStatus("");
    if (focus) this.file.focus();
  }

  // Searches.

  // Search the whole photo for regions and hits. A ``token`` names a photo that the server already holds.
  async searchPhoto(token = null) {
    this.start.hidden = true;
    this.view.hidden = false;
    this.results.title.hidden = true;
    this.view.scrollIntoView({ block: "start", behavior: "instant" });
    this.setStatus(this.texts.get("looking"));
    const filters = String(fieldsOf(this.form));
    const answer = await (token ? this.requests.findHeldRegions(token) : this.requests.findRegions(this.photo));
    if (!answer) return;
    if (!answer.ok) {
      if (token && GONE.includes(answer.status)) this.address.write(null);
      this.showError(answer);
      return;
    }
    this.photoToken = answer.photo ?? token;
    if (!this.bitmap && this.photoToken && !(await this.drawHeldPhoto())) return;
    this.regions = regionsOf(answer, this.texts);
    renderMessages(this.messages, answer.messages);
    this.marks.show(this.regions, this.bitmap);
    this.select(surest(this.regions));
    this.setStatus(this.texts.found(this.regions, this.active));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
    this.marks.scrollToSelected({ focus: this.lostFocus });
    if (filters !== String(fieldsOf(this.form))) this.refresh(); // filters were changed meanwhile
  }

  // Only the server can read the photo (HEIC): show the JPEG that it holds. Return whether the photo is still wanted.
  async drawHeldPhoto() {
    const { choice } = this;
    const held = await this.requests.fetchHeld(this.photoToken).catch(() => null);
    const photo = held?.ok && (await held.blob().catch(() => null));
    if (photo && choice === this.choice) await this.drawPhoto(photo);
    return choice === this.choice;
  }

  // Search one region, without sending the photo again if the server still holds it.
  async search(region) {
    const place = region.isDrawn ? `${this.texts.about(region, this.texts.place(region.box))}. ` : "";
    this.setStatus(place + this.texts.get("searching"));
    let answer = this.photoToken && (await this.requests.searchRegion(this.photoToken, region));
    if (region !== this.active) return; // another region, or another photo
    if (answer?.status === 410) {
      this.photoToken = null; // it has expired
      answer = null;
    }
    if (!this.photoToken) answer ||= await this.searchCrop(region);
    if (!answer || region !== this.active) return;
    if (!answer.ok) {
      this.showError(answer);
      return;
    }
    update(region, answer);
    this.results.show(region);
    this.setStatus(this.editor.drawing ? this.texts.get("draw") : this.texts.summary(region));
    this.root.dispatchEvent(new CustomEvent("imagesim:results", { bubbles: true, detail: answer }));
  }

  // Return null if the visitor has moved the box, or left it, while it was cropped.
  async searchCrop(region) {
    const { box } = region;
    let picture;
    try {
      picture = region.whole ? this.photo : await crop(this.photo, box);
    } catch {
      return { ok: false, status: GONE[1], detail: this.texts.get("gone") }; // only the server could read the photo
    }
    return region === this.active && region.box === box ? this.requests.searchPicture(picture) : null;
  }

  refresh() {
    for (const region of this.regions) region.stale = true;
    if (!this.active) return;
    this.address.write(this.photoToken, this.active);
    this.search(this.active);
  }

  // The selected region.

  select(region, { focus = false } = {}) {
    const changed = region !== this.active;
    this.active = region;
    this.setDrawing(false);
    this.address.write(this.photoToken, region);
    this.editor.show(region.whole ? null : region.box);
    this.editor.label(region.name, this.texts.aboutBox(region));
    this.marks.select(region);
    if (focus && !region.whole) this.editor.element.focus({ preventScroll: true });
    if (region.stale || !region.results) this.search(region);
    else {
      this.requests.cancel(); // of a region that was selected before: its answer would replace these results
      this.results.show(region);
      if (changed) this.setStatus(this.texts.summary(region));
    }
  }

  moveTo(box) {
    const region = this.active;
    move(region, box, this.regions, this.texts);
    this.marks.show(this.regions, this.bitmap);
    this.select(region);
  }

  draw(box) {
    const region = drawnRegion(box, this.regions, this.texts);
    this.marks.show(this.regions, this.bitmap);
    this.select(region, { focus: true });
  }

  // Start or stop drawing. A box appears immediately, so that visitors who cannot drag can move it with the arrow keys.
  toggleDrawing() {
    if (this.editor.drawing) this.setDrawing(false);
    else {
      const { box } = this.active ?? { box: WHOLE };
      this.draw(box.width * box.height < LARGE_AREA ? { ...box } : NEW_BOX);
      this.setDrawing(true);
      this.setStatus(this.texts.get("draw"));
    }
  }

  setDrawing(on) {
    this.editor.setDrawing(on);
    this.drawButton.setAttribute("aria-pressed", String(on));
  }

  // Messages to visitors.

  setBusy(on) {
    // A tap or a box would cancel the search for regions before its answer.
    const looking = on && !this.regions.length;
    this.stage.toggleAttribute("data-busy", looking);
    this.stage.inert = looking;
    this.drawButton.disabled = looking;
    this.results.setBusy(on);
  }

  showError(answer) {
    const { status } = answer;
    const text = explainRefusal(this.texts.data, answer);
    if (REJECTED.includes(status) && !this.regions.length) {
      this.reset({ focus: this.lostFocus }); // nothing to show or retry: go back to the file input, with the reason
      this.setStatus(text, true);
      return;
    }
    const isFinal = REJECTED.includes(status) || (GONE.includes(status) && this.regions.length > 0);
    this.results.showError(text, { canRetry: !isFinal });
    // Until a retry has found the regions, a box would be the only region, and would hide the retry button.
    if (!this.regions.length) this.stage.inert = this.drawButton.disabled = true;
    this.setStatus("");
  }

  setStatus(text, error = false) {
    this.status.toggleAttribute("data-error", error);
    this.status.textContent = text;
    if (error) this.status.scrollIntoView({ block: "nearest" }); // on a phone it is below the form
  }

  // Whether the focused element was hidden or removed. A visitor who is elsewhere by now, such as in a search field,
  // stays there.
  get lostFocus() {
    const place = document.activeElement;
    const parts = [this.start, this.results.section];
    return !place || place === document.body || parts.some((part) => part.contains(place));
  }
}

attach("[data-imagesim-look]", (root) => new ShopTheLook(root));
