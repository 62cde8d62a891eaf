// A box over a photo that visitors move, resize or draw, by pointer or keyboard.
// Coordinates are shares of the photo, 0 to 1.

const MIN_SIDE = 0.05;
const KEY_STEP = 0.02;
const DRAG_PIXELS = 8; // a shorter movement is a tap
const NAME_HEIGHT = 34; // pixels, above or below the box
const SMALL_SIDE = 84; // pixels; a box with a shorter side has its handles outside
const TAP_SIDE = 1 / 3; // side of the box around a tapped point, as a share of the photo's shorter side
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const clamp = (value, min, max) => Math.min(Math.max(value, min), max);

export const sameBox = (a, b) => ["x", "y", "width", "height"].every((side) => Math.abs(a[side] - b[side]) < 1e-6);

// Intersection over union.
export function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (a.width * a.height + b.width * b.height - width * height);
}

// The box around a point of an image element.
export function boxAround({ x, y }, { naturalWidth: wide, naturalHeight: high }) {
  const side = TAP_SIDE * Math.min(wide, high);
  const [width, height] = [side / wide, side / high];
  return { x: clamp(x - width / 2, 0, 1 - width), y: clamp(y - height / 2, 0, 1 - height), width, height };
}

export class BoxEditor extends EventTarget {
  // Events, with the box or the point as ``detail``: "change" during a movement, "commit" at its end, "draw" for a new
  // box, "cancel", and "tap" for a click outside the box. In drawing mode, two taps on its corners make a new box.
  constructor(stage, element) {
    super();
    this.stage = stage;
    this.element = element;
    this.box = null;
    this.drawing = false;
    this.corner = null; // of a box that is drawn by two taps
    this.dragged = false;
    stage.addEventListener("pointerdown", (event) => this.onPointerDown(event));
    stage.addEventListener("click", (event) => this.onClick(event));
    element.addEventListener("keydown", (event) => this.onKeyDown(event));
  }

  show(box) {
    this.box = box && { ...box };
    this.element.hidden = !box;
    if (box) this.place();
  }

  // ``name`` is shown next to the box, ``label`` is read to visitors who do not see it.
  label(name, label) {
    this.element.dataset.name = name;
    this.element.setAttribute("aria-label", label);
  }

  setDrawing(on) {
    this.drawing = on;
    this.corner = null;
    this.stage.toggleAttribute("data-drawing", on);
  }

  place() {
    const { style } = this.element;
    for (const [side, name] of [["x", "left"], ["y", "top"], ["width", "width"], ["height", "height"]]) {
      style.setProperty(name, `${this.box[side] * 100}%`);
    }
    this.placeName();
  }

  // Place the name above the box, or below or inside it if there is no room; move the handles of a small box outside.
  placeName() {
    const { x, y, width, height } = this.box;
    const area = this.stage.getBoundingClientRect();
    const vertical = y * area.height > NAME_HEIGHT ? "above" : (1 - y - height) * area.height > NAME_HEIGHT ? "below" : "within";
    this.element.dataset.tag = `${vertical} ${x + width / 2 < 0.5 ? "left" : "right"}`;
    this.element.toggleAttribute("data-tight", Math.min(width * area.width, height * area.height) < SMALL_SIDE);
  }

  set(box) {
    this.box = box;
    this.place();
    this.emit("change");
  }

  emit(type, detail = this.box) {
    this.dispatchEvent(new CustomEvent(type, { detail: { ...detail } }));
  }

  pointOf(event) {
    const area = this.stage.getBoundingClientRect();
    return {
      x: clamp((event.clientX - area.left) / area.width, 0, 1),
      y: clamp((event.clientY - area.top) / area.height, 0, 1),
    };
  }

  onPointerDown(event) {
    this.dragged = false;
    if (event.button || !event.isPrimary || event.target.closest("button")) return;
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    const inside = this.element.contains(event.target) && (handle || !this.drawing); // otherwise it draws, even over the box
    // A finger on the photo scrolls the page, unless it is on the box or in drawing mode.
    if (!inside && event.pointerType === "touch" && !this.drawing) return;
    event.preventDefault();
    if (inside) this.element.focus({ preventScroll: true });
    const start = this.pointOf(event);
    const [startX, startY] = [event.clientX, event.clientY];
    const first = this.box && { ...this.box };
    let moved = false;
    this.stage.setPointerCapture(event.pointerId);
    const move = (next) => {
      moved ||= Math.hypot(next.clientX - startX, next.clientY - startY) >= DRAG_PIXELS;
      if (!moved) return;
      const now = this.pointOf(next);
      if (!inside) {
        this.element.hidden = false;
        this.set(boxBetween(start, now));
      } else if (handle) this.set(resizeBox(first, handle, now.x - start.x, now.y - start.y));
      else this.set(moveBox(first, now.x - start.x, now.y - start.y));
    };
    const end = (last) => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
      if (!moved) return;
      this.dragged = true; // ignore the click that follows
      if (last.type === "pointercancel") this.emit("cancel");
      else this.emit(inside ? "commit" : "draw");
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  onClick(event) {
    const dragged = this.dragged;
    this.dragged = false;
    if (dragged || event.target.closest("button") || (!this.drawing && this.element.contains(event.target))) return;
    const point = this.pointOf(event);
    if (!this.drawing) this.emit("tap", point);
    else if (this.corner) this.emit("draw", boxBetween(this.corner, point));
    else {
      this.corner = point;
      this.show(boxBetween(point, point));
    }
  }

  onKeyDown(event) {
    const move = MOVES[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (move) {
      const [right, down] = move.map((step) => step * KEY_STEP);
      this.set(event.shiftKey ? resizeBox(this.box, "se", right, down) : moveBox(this.box, right, down));
    } else if (event.key === "Enter") this.emit("commit");
    else if (event.key === "Escape") this.emit("cancel");
    else return;
    event.preventDefault();
  }
}

function moveBox(box, right, down) {
  return { ...box, x: clamp(box.x + right, 0, 1 - box.width), y: clamp(box.y + down, 0, 1 - box.height) };
}

function resizeBox(box, handle, right, down) {
  let [left, top, end, bottom] = [box.x, box.y, box.x + box.width, box.y + box.height];
  if (handle.includes("w")) left = clamp(left + right, 0, Math.max(end - MIN_SIDE, 0));
  if (handle.includes("e")) end = clamp(end + right, left + MIN_SIDE, 1);
  if (handle.includes("n")) top = clamp(top + down, 0, Math.max(bottom - MIN_SIDE, 0));
  if (handle.includes("s")) bottom = clamp(bottom + down, top + MIN_SIDE, 1);
  return { x: left, y: top, width: end - left, height: bottom - top };
}

function boxBetween(a, b) {
  const width = Math.max(Math.abs(a.x - b.x), MIN_SIDE);
  const height = Math.max(Math.abs(a.y - b.y), MIN_SIDE);
  return { x: Math.min(a.x, b.x, 1 - width), y: Math.min(a.y, b.y, 1 - height), width, height };
}
