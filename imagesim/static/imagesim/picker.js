// Accept photos that visitors drop, paste or take. The template marks the elements with data-imagesim-… attributes.
import { listen } from "./attach.js";
import { isCanvasReadable, picturesIn } from "./pictures.js";

// What is dragged within this page: null, or an object with the URL of its picture, if it has one. A dropped link, such
// as a card, arrives without its picture.
let dragged = null;
addEventListener(
  "dragstart",
  ({ target }) => {
    const picture = target.matches?.("img") ? target : target.querySelector?.("img"); // dragged words are a text node
    dragged = { picture: picture?.currentSrc || picture?.src };
  },
  true,
);
addEventListener("dragend", () => (dragged = null), true);
export const isOwn = () => Boolean(dragged);
export const ownPicture = () => dragged?.picture;

// Whether a picture was dragged from another site: it arrives as a URL that this page cannot read.
export const isFromOtherSite = (transfer) => ["text/uri-list", "text/html"].some((type) => transfer?.types.includes(type));

// Return the picture that is pasted, if any. Office programs copy text together with a picture of it: in a field, the
// text is pasted.
export function pastedPicture({ clipboardData, target }) {
  const isText = ["text/plain", "text/html"].every((type) => clipboardData?.types.includes(type));
  if (isText && target.closest?.("input, textarea, [contenteditable]")) return undefined;
  return picturesIn(clipboardData)[0];
}

export class PhotoPicker {
  // onPhoto(blob) is called for each photo, onPicture(url) for a picture of this page that is dragged, and onError(name)
  // with "type", "foreign" or "camera" if there is none.
  constructor(root, { onPhoto, onPicture, onError }) {
    const find = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.onPhoto = onPhoto;
    this.onPicture = onPicture;
    this.onError = onError;
    this.drop = find("drop");
    this.camera = find("camera");
    this.capture = find("capture");
    this.dialog = find("dialog");
    this.listenForDrops();
    listen(root, "paste", (event) => {
      // Of several widgets, the one with the focus takes the photo, or else the first.
      const focused = event.target.closest?.("[data-imagesim-look], [data-imagesim-search]");
      if (event.defaultPrevented || (focused && focused !== root)) return;
      const photo = pastedPicture(event);
      if (!photo) return;
      event.preventDefault();
      this.onPhoto(photo);
    });
    this.setUpCamera();
  }

  listenForDrops() {
    let depth = 0; // dragenter and dragleave also bubble from child elements
    const highlight = (on) => this.drop.toggleAttribute("data-over", on);
    this.drop.addEventListener("dragenter", (event) => {
      event.preventDefault();
      highlight(++depth > 0);
    });
    this.drop.addEventListener("dragover", (event) => event.preventDefault());
    this.drop.addEventListener("dragleave", () => highlight(--depth > 0));
    this.drop.addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      highlight(false);
      const [photo] = picturesIn(event.dataTransfer);
      if (photo) this.onPhoto(photo);
      else if (ownPicture()) this.onPicture(ownPicture());
      else this.onError(!isOwn() && isFromOtherSite(event.dataTransfer) ? "foreign" : "type");
    });
  }

  // A phone takes the photo with its camera app (capture), other devices in a dialog.
  setUpCamera() {
    if (!this.camera) return;
    if (this.capture && matchMedia("(pointer: coarse) and (hover: none)").matches) {
      this.camera.hidden = false;
      this.camera.addEventListener("click", () => this.capture.click());
      this.capture.addEventListener("change", () => this.capture.files[0] && this.onPhoto(this.capture.files[0]));
      return;
    }
    if (!navigator.mediaDevices?.getUserMedia || !this.dialog) return;
    const video = this.dialog.querySelector("video");
    const stop = () => {
      for (const track of video.srcObject?.getTracks() ?? []) track.stop();
      video.srcObject = null;
    };
    let asking = false; // two clicks would open two streams, one of which would never be stopped
    this.camera.hidden = false;
    this.camera.addEventListener("click", async () => {
      if (asking) return;
      asking = true;
      try {
        if (!isCanvasReadable()) throw new Error("no canvas");
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        this.dialog.showModal();
      } catch {
        this.onError("camera");
      }
      asking = false;
    });
    this.dialog.addEventListener("close", stop);
    this.dialog.querySelector("[data-imagesim-close]").addEventListener("click", () => this.dialog.close());
    this.dialog.querySelector("[data-imagesim-shoot]").addEventListener("click", () => {
      if (!video.videoWidth) return; // the camera has no picture yet
      const canvas = document.createElement("canvas");
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      canvas.getContext("2d").drawImage(video, 0, 0);
      this.dialog.close();
      canvas.toBlob((blob) => blob && this.onPhoto(blob), "image/jpeg", 0.9);
    });
  }
}
