// A box over a photo that is moved, resized or drawn, by pointer and by keyboard. Coordinates run from 0 to 1.

const SMALLEST = 0.05;
const STEP = 0.02;
const DRAG_PIXELS = 8; // less is a tap
const TAG = 34; // pixels that the name of the box takes above or below it
const TIGHT = 84; // pixels of a side under which the corners are taken from outside
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

export const same = (a, b) => ["x", "y", "width", "height"].every((side) => Math.abs(a[side] - b[side]) < 1e-6);

// Common area divided by the area of both together.
export function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (a.width * a.height + b.width * b.height - width * height);
}

export class BoxEditor extends EventTarget {
  // Events: "change" while it moves, "commit" when it is to be searched, "cancel", "draw" with a new box, "tap".
  constructor(stage, element) {
    super();
    this.stage = stage;
    this.element = element;
    this.box = null;
    this.drawing = false;
    this.drew = false;
    stage.addEventListener("pointerdown", (event) => this.pressed(event));
    stage.addEventListener("click", (event) => this.clicked(event));
    element.addEventListener("keydown", (event) => this.keyed(event));
  }

  show(box) {
    this.box = box && { ...box };
    this.element.hidden = !box;
    if (box) this.place();
  }

  draws(on) {
    this.drawing = on;
    this.stage.toggleAttribute("data-drawing", on);
  }

  place() {
    const { style } = this.element;
    for (const [side, name] of [["x", "left"], ["y", "top"], ["width", "width"], ["height", "height"]]) {
      style.setProperty(name, `${this.box[side] * 100}%`);
    }
    this.dress();
  }

  // The name stands above the box, or below it, or within it where neither has room; corners of small boxes lie outside.
  dress() {
    const { x, y, width, height } = this.box;
    const area = this.stage.getBoundingClientRect();
    const vertical = y * area.height > TAG ? "above" : (1 - y - height) * area.height > TAG ? "below" : "within";
    this.element.dataset.tag = `${vertical} ${x + width / 2 < 0.5 ? "left" : "right"}`;
    this.element.toggleAttribute("data-tight", Math.min(width * area.width, height * area.height) < TIGHT);
  }

  set(box) {
    this.box = box;
    this.place();
    this.tell("change");
  }

  tell(type, detail = this.box) {
    this.dispatchEvent(new CustomEvent(type, { detail: { ...detail } }));
  }

  point(event) {
    const area = this.stage.getBoundingClientRect();
    return {
      x: clamp((event.clientX - area.left) / area.width, 0, 1),
      y: clamp((event.clientY - area.top) / area.height, 0, 1),
    };
  }

  pressed(event) {
    this.drew = false;
    if (event.button || !event.isPrimary || event.target.closest("button")) return;
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    const inside = this.element.contains(event.target) && (handle || !this.drawing); // else it draws, over the box too
    // A finger that slides over the photo scrolls the page, unless the box or the drawing mode says otherwise.
    if (!inside && event.pointerType === "touch" && !this.drawing) return;
    event.preventDefault();
    if (inside) this.element.focus({ preventScroll: true });
    const start = this.point(event);
    const [startX, startY] = [event.clientX, event.clientY];
    const first = this.box && { ...this.box };
    let moved = false;
    this.stage.setPointerCapture(event.pointerId);
    const move = (next) => {
      moved ||= Math.hypot(next.clientX - startX, next.clientY - startY) >= DRAG_PIXELS;
      if (!moved) return;
      const now = this.point(next);
      if (!inside) {
        this.element.hidden = false;
        this.set(between(start, now));
      } else if (handle) this.set(resized(first, handle, now.x - start.x, now.y - start.y));
      else this.set(shifted(first, now.x - start.x, now.y - start.y));
    };
    const end = (last) => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
      if (!moved) return;
      this.drew = true; // the click that follows is none
      if (last.type === "pointercancel") this.tell("cancel");
      else this.tell(inside ? "commit" : "draw");
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  clicked(event) {
    const drew = this.drew;
    this.drew = false;
    if (drew || event.target.closest("button") || this.element.contains(event.target)) return;
    this.tell("tap", this.point(event));
  }

  keyed(event) {
    const move = MOVES[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (move) {
      const [right, down] = move.map((step) => step * STEP);
      this.set(event.shiftKey ? resized(this.box, "se", right, down) : shifted(this.box, right, down));
    } else if (event.key === "Enter") this.tell("commit");
    else if (event.key === "Escape") this.tell("cancel");
    else return;
    event.preventDefault();
  }
}

function shifted(box, right, down) {
  return { ...box, x: clamp(box.x + right, 0, 1 - box.width), y: clamp(box.y + down, 0, 1 - box.height) };
}

function resized(box, handle, right, down) {
  let [left, top, end, bottom] = [box.x, box.y, box.x + box.width, box.y + box.height];
  if (handle.includes("w")) left = clamp(left + right, 0, end - SMALLEST);
  if (handle.includes("e")) end = clamp(end + right, left + SMALLEST, 1);
  if (handle.includes("n")) top = clamp(top + down, 0, bottom - SMALLEST);
  if (handle.includes("s")) bottom = clamp(bottom + down, top + SMALLEST, 1);
  return { x: left, y: top, width: end - left, height: bottom - top };
}

function between(a, b) {
  const width = Math.max(Math.abs(a.x - b.x), SMALLEST);
  const height = Math.max(Math.abs(a.y - b.y), SMALLEST);
  return { x: Math.min(a.x, b.x, 1 - width), y: Math.min(a.y, b.y, 1 - height), width, height };
}
