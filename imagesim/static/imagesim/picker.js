// A photo that is chosen, dropped, pasted or taken. The elements are marked with data-imagesim-… in the template.
import { pictures } from "./pictures.js";

// A picture dragged from another site comes as an address, which this page may not read.
export const isForeign = (transfer) => ["text/uri-list", "text/html"].some((type) => transfer?.types.includes(type));

export class PhotoPicker {
  // use(blob) is called with each photo, refuse(what) with "type", "foreign" or "camera" where there is none.
  constructor(root, { use, refuse }) {
    const one = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.use = use;
    this.refuse = refuse;
    this.drop = one("drop");
    this.camera = one("camera");
    this.capture = one("capture");
    this.dialog = one("dialog");
    this.listenForDrops();
    document.addEventListener("paste", (event) => {
      const [photo] = pictures(event.clipboardData);
      if (photo) {
        event.preventDefault();
        this.use(photo);
      }
    });
    this.offerCamera();
  }

  listenForDrops() {
    let depth = 0; // dragenter and dragleave also come from the elements inside
    const over = (on) => this.drop.toggleAttribute("data-over", on);
    this.drop.addEventListener("dragenter", (event) => {
      event.preventDefault();
      over(++depth > 0);
    });
    this.drop.addEventListener("dragover", (event) => event.preventDefault());
    this.drop.addEventListener("dragleave", () => over(--depth > 0));
    this.drop.addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      over(false);
      const [photo] = pictures(event.dataTransfer);
      if (photo) this.use(photo);
      else this.refuse(isForeign(event.dataTransfer) ? "foreign" : "type");
    });
  }

  // A phone takes the photo with its own camera app (capture), anything else in a dialog.
  offerCamera() {
    if (!this.camera) return;
    if (this.capture && matchMedia("(pointer: coarse) and (hover: none)").matches) {
      this.camera.hidden = false;
      this.camera.addEventListener("click", () => this.capture.click());
      this.capture.addEventListener("change", () => this.capture.files[0] && this.use(this.capture.files[0]));
      return;
    }
    if (!navigator.mediaDevices?.getUserMedia || !this.dialog) return;
    const video = this.dialog.querySelector("video");
    const stop = () => {
      for (const track of video.srcObject?.getTracks() ?? []) track.stop();
      video.srcObject = null;
    };
    this.camera.hidden = false;
    this.camera.addEventListener("click", async () => {
      try {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
        this.dialog.showModal();
        await video.play();
      } catch {
        stop();
        if (this.dialog.open) this.dialog.close();
        this.refuse("camera");
      }
    });
    this.dialog.addEventListener("close", stop);
    this.dialog.querySelector("[data-imagesim-close]").addEventListener("click", () => this.dialog.close());
    this.dialog.querySelector("[data-imagesim-shoot]").addEventListener("click", () => {
      const canvas = document.createElement("canvas");
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      canvas.getContext("2d").drawImage(video, 0, 0);
      this.dialog.close();
      canvas.toBlob((blob) => blob && this.use(blob), "image/jpeg", 0.9);
    });
  }
}
