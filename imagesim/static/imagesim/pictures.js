// Shrink pictures before they are sent, which also drops their EXIF data; crop them, and fetch those of the page.

import { withLimit } from "./requests.js";

const LONGEST_SIDE = 1280; // pixels: more than the models use, and quick to send

const COMMON_TYPES = ["image/jpeg", "image/png", "image/webp"]; // formats that every server accepts

// A system that does not know HEIC gives such files no type.
const isPicture = (file) => file.type.startsWith("image/") || (!file.type && /\.hei[cf]$/i.test(file.name));

export function picturesIn(transfer) {
  return [...(transfer?.files ?? [])].filter(isPicture);
}

// Fetch a picture of the page; fails if its server denies access to scripts, as many image servers do.
export async function fetchPicture(url) {
  const response = await fetch(url, { signal: withLimit() });
  if (!response.ok) throw new Error(response.statusText);
  return response.blob();
}

// Whether a canvas returns what is drawn on it. A browser that resists fingerprinting, such as Tor Browser, returns noise.
export function isCanvasReadable() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 2;
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(200 130 70)";
  context.fillRect(0, 0, 2, 2);
  const { data } = context.getImageData(0, 0, 2, 2);
  return data.every((value, place) => Math.abs(value - [200, 130, 70, 255][place % 4]) < 16);
}

// Return a photo in the form in which it is sent, or the name of the text that says why it cannot be sent.
export async function prepare(photo, maxBytes) {
  if (photo.type && !photo.type.startsWith("image/")) return "type";
  const small = await shrink(photo);
  return small.size > Number(maxBytes) ? "size" : small;
}

// Convert a large photo, or one in a format such as HEIC or GIF, to a smaller upright JPEG. Return it unchanged if the
// browser cannot read it: the server may be able to.
async function shrink(photo) {
  try {
    if (!isCanvasReadable()) return photo;
    const bitmap = await decode(photo);
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    return scale === 1 && COMMON_TYPES.includes(photo.type) ? photo : await toJpeg(bitmap, { scale });
  } catch {
    return photo;
  }
}

// Decode the first frame, upright. Some browsers display formats that createImageBitmap() does not read.
async function decode(photo) {
  try {
    return await createImageBitmap(photo, { imageOrientation: "from-image" });
  } catch {
    const image = new Image();
    image.src = URL.createObjectURL(photo);
    try {
      await image.decode();
      return await createImageBitmap(image);
    } finally {
      URL.revokeObjectURL(image.src);
    }
  }
}

// Crop a photo to a box (x, y, width, height from 0 to 1).
export async function crop(photo, box) {
  if (!isCanvasReadable()) throw new Error("no canvas");
  const bitmap = await createImageBitmap(photo, { imageOrientation: "from-image" });
  return toJpeg(bitmap, { box });
}

// Draw a box of the bitmap so that it covers the canvas, centred.
export function drawCropped(canvas, bitmap, { x, y, width, height }) {
  const [left, top, wide, high] = [x * bitmap.width, y * bitmap.height, width * bitmap.width, height * bitmap.height];
  const scale = Math.max(canvas.width / wide, canvas.height / high);
  const [w, h] = [canvas.width / scale, canvas.height / scale];
  canvas
    .getContext("2d")
    .drawImage(bitmap, left + (wide - w) / 2, top + (high - h) / 2, w, h, 0, 0, canvas.width, canvas.height);
}

// Closes the bitmap: that of a phone's photo takes up to several hundred megabytes, which a browser might free much
// later.
async function toJpeg(bitmap, { scale = 1, box = { x: 0, y: 0, width: 1, height: 1 } }) {
  const [wide, high] = [box.width * bitmap.width, box.height * bitmap.height];
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(wide * scale));
  canvas.height = Math.max(1, Math.round(high * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // transparent pixels become white, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, box.x * bitmap.width, box.y * bitmap.height, wide, high, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no blob"))), "image/jpeg", 0.9),
  );
}
