// What {% search_bar %} does with JavaScript: a photo that is chosen, taken, dropped or pasted anywhere on the page is
// searched with on the page of photos, and suggestions appear while words are typed.

import { handOver } from "./handover.js";
import { isForeign } from "./picker.js";
import { pictures, shrink } from "./pictures.js";
import { Suggestions } from "./suggestions.js";

export class SearchBar {
  constructor(root) {
    const one = (name) => root.querySelector(`[data-imagesim-bar-${name}]`);
    this.root = root;
    this.text = root.dataset;
    this.camera = one("camera");
    this.file = one("file");
    this.status = one("status");
    this.overlay = one("overlay");
    if (this.text.suggest) new Suggestions(root, this.text.suggest);
    if (this.camera) this.listenForPhotos();
  }

  listenForPhotos() {
    this.camera.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.file.click(); // on a phone it offers the camera and the photos
    });
    this.file.addEventListener("change", () => {
      const [photo] = this.file.files;
      this.file.value = "";
      if (photo) this.use(photo);
    });
    this.listenForDrops();
    // A page that takes photos itself has them pasted there.
    if (document.querySelector("[data-imagesim-look], [data-imagesim-search]")) return;
    document.addEventListener("paste", (event) => {
      const [photo] = pictures(event.clipboardData);
      if (!photo) return;
      event.preventDefault();
      this.use(photo);
    });
  }

  listenForDrops() {
    let depth = 0; // dragenter and dragleave also come from the elements inside
    const carries = (event) => event.dataTransfer?.types.includes("Files") || isForeign(event.dataTransfer);
    const over = (on) => (this.overlay.hidden = !on);
    addEventListener("dragenter", (event) => carries(event) && over(++depth > 0));
    addEventListener("dragleave", (event) => carries(event) && over((depth = Math.max(0, depth - 1)) > 0));
    addEventListener("dragover", (event) => carries(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!carries(event)) return;
      over((depth = 0) > 0);
      if (event.defaultPrevented) return; // a part of the page has it
      event.preventDefault();
      const [photo] = pictures(event.dataTransfer);
      if (photo) this.use(photo);
      else this.say(isForeign(event.dataTransfer) ? "foreign" : "type");
    });
  }

  async use(photo) {
    if (photo.type && !photo.type.startsWith("image/")) {
      this.say("type");
      return;
    }
    this.say("looking");
    const small = await shrink(photo);
    if (small.size > Number(this.text.maxBytes)) this.say("size");
    else if (!(await handOver(small, this.camera.href))) location.assign(this.camera.href);
  }

  say(what) {
    this.status.textContent = this.text[`text${what[0].toUpperCase()}${what.slice(1)}`] ?? "";
    this.status.hidden = false;
  }
}

for (const root of document.querySelectorAll("[data-imagesim-bar]")) new SearchBar(root);
