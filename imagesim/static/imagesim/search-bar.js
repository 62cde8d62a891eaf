// The behaviour of {% search_bar %}: open the search page with a photo that is chosen, taken, dropped or pasted on the
// page, and show suggestions while words are typed.

import { attach, listen } from "./attach.js";
import { handOver } from "./handover.js";
import { isFromOtherSite, isOwn, ownPicture, pastedPicture } from "./picker.js";
import { fetchPicture, picturesIn, prepare } from "./pictures.js";
import { Suggestions } from "./suggestions.js";

export class SearchBar {
  constructor(root) {
    const find = (name) => root.querySelector(`[data-imagesim-bar-${name}]`);
    this.root = root;
    this.text = root.dataset;
    this.camera = find("camera");
    this.file = find("file");
    this.status = find("status");
    this.overlay = find("overlay");
    if (this.text.suggest) new Suggestions(root, this.text.suggest);
    if (this.camera) this.listenForPhotos();
  }

  listenForPhotos() {
    this.camera.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.file.click(); // a phone offers its camera and its photos
    });
    this.camera.setAttribute("role", "button"); // it opens no page
    this.camera.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      this.camera.click();
    });
    this.file.addEventListener("change", () => {
      const [photo] = this.file.files;
      this.file.value = "";
      if (photo) this.usePhoto(photo);
    });
    this.listenForDrops();
    this.listenForDismissal();
    listen(this.root, "paste", (event) => {
      // Other widgets of the page handle pasted photos themselves.
      if (document.querySelector("[data-imagesim-look], [data-imagesim-search]")) return;
      const photo = pastedPicture(event);
      if (!photo || event.defaultPrevented) return;
      event.preventDefault();
      this.usePhoto(photo);
    });
  }

  listenForDrops() {
    let depth = 0; // dragenter and dragleave also bubble from child elements
    // Words, links and pictures of this page are dragged for other reasons, unless a picture is over the search bar.
    const hasPicture = ({ dataTransfer, target }) =>
      isOwn()
        ? ownPicture() && this.root.contains(target)
        : dataTransfer?.types.includes("Files") || isFromOtherSite(dataTransfer);
    const showOverlay = (on) => (this.overlay.hidden = !on || isOwn());
    listen(this.root, "dragenter", (event) => hasPicture(event) && showOverlay(++depth > 0));
    listen(this.root, "dragleave", (event) => hasPicture(event) && showOverlay((depth = Math.max(0, depth - 1)) > 0));
    listen(this.root, "dragover", (event) => hasPicture(event) && event.preventDefault());
    listen(this.root, "drop", (event) => {
      if (!hasPicture(event)) return;
      showOverlay((depth = 0) > 0);
      if (event.defaultPrevented) return; // another widget has handled it
      event.preventDefault();
      const [photo] = picturesIn(event.dataTransfer);
      if (photo) this.usePhoto(photo);
      else if (ownPicture()) this.usePicture(ownPicture());
      else this.setStatus(isFromOtherSite(event.dataTransfer) ? "foreign" : "type");
    });
  }

  // The status disappears with the visitor's next action, because it covers part of the page. A page that "back"
  // restores from memory is as it was left.
  listenForDismissal() {
    const hide = () => (this.status.textContent = "");
    listen(this.root, "pointerdown", (event) => this.status.contains(event.target) || hide());
    listen(this.root, "keydown", (event) => event.key === "Escape" && hide());
    this.root.addEventListener("input", hide);
    listen(this.root, "pagehide", hide);
  }

  async usePicture(url) {
    this.setStatus("looking");
    const photo = await fetchPicture(url).catch(() => null);
    if (photo) await this.usePhoto(photo);
    else this.setStatus("foreign");
  }

  async usePhoto(photo) {
    this.setStatus("looking");
    const small = await prepare(photo, this.text.maxBytes);
    if (typeof small === "string") this.setStatus(small);
    else await handOver(small, this.camera.href, { always: true });
  }

  setStatus(name) {
    this.status.textContent = this.text[`text${name[0].toUpperCase()}${name.slice(1)}`] ?? "";
  }
}

attach("[data-imagesim-bar]", (root) => new SearchBar(root));
