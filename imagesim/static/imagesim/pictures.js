// Pictures in the browser: made smaller before they are sent (which also drops their EXIF data), and cut.

const LONGEST_SIDE = 1280; // pixels; the models look at far fewer, and a phone's photo would take long to send

const PLAIN = ["image/jpeg", "image/png", "image/webp"]; // what every server reads

// Where the system knows no HEIC, it has no type but its name.
const isPicture = (file) => file.type.startsWith("image/") || (!file.type && /\.hei[cf]$/i.test(file.name));

export function pictures(transfer) {
  return [...(transfer?.files ?? [])].filter(isPicture);
}

// A large photo, or one of a format such as HEIC or GIF, as a smaller JPEG, upright; as it is where the browser cannot
// read it, for the server to judge.
export async function shrink(photo) {
  try {
    const bitmap = await decoded(photo);
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    return scale === 1 && PLAIN.includes(photo.type) ? photo : await jpeg(bitmap, { scale });
  } catch {
    return photo;
  }
}

// The first frame, upright. Some browsers show what they make no bitmap of.
async function decoded(photo) {
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

// The part of a photo within a box (x, y, width, height from 0 to 1).
export async function cut(photo, box) {
  const bitmap = await createImageBitmap(photo, { imageOrientation: "from-image" });
  return jpeg(bitmap, { box });
}

// Drawn so that it fills the canvas, what does not fit cut off evenly.
export function drawCropped(canvas, bitmap, { x, y, width, height }) {
  const [left, top, wide, high] = [x * bitmap.width, y * bitmap.height, width * bitmap.width, height * bitmap.height];
  const scale = Math.max(canvas.width / wide, canvas.height / high);
  const [w, h] = [canvas.width / scale, canvas.height / scale];
  canvas
    .getContext("2d")
    .drawImage(bitmap, left + (wide - w) / 2, top + (high - h) / 2, w, h, 0, 0, canvas.width, canvas.height);
}

async function jpeg(bitmap, { scale = 1, box = { x: 0, y: 0, width: 1, height: 1 } }) {
  const [wide, high] = [box.width * bitmap.width, box.height * bitmap.height];
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(wide * scale));
  canvas.height = Math.max(1, Math.round(high * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent becomes white, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, box.x * bitmap.width, box.y * bitmap.height, wide, high, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) =>
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no blob"))), "image/jpeg", 0.9),
  );
}
