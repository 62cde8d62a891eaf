// The products of a rule: found by name, shown with their pictures, moved and removed. The text fields hold them.
import { Suggestions } from "../imagesim/suggestions.js";
import { onChange } from "./fields.js";

const PIN = /^\s*(\d+)\s*:\s*(\S.*?)\s*$/;
const LAST = 48; // position
const LEFT = 300; // milliseconds after a field was left: a button that is being clicked must not move away from the pointer

// How the lines of a field are read and written: as "position: key", or as the key alone. A line that is neither is
// kept as it is, for the server to report.
const pins = {
  read: (text) => lines(text).map((line) => {
    const pin = PIN.exec(line);
    return pin ? { place: Number(pin[1]), key: pin[2] } : { key: line };
  }),
  write: (rows) => rows.map(({ place, key }) => (place === undefined ? key : `${place}: ${key}`)).join("\n"),
  add(rows, key) {
    const taken = new Set(rows.map((row) => row.place));
    let place = 1;
    while (taken.has(place)) place += 1;
    return place > LAST ? rows : [...rows, { place, key }];
  },
};
const keys = {
  read: (text) => lines(text).map((key) => ({ key })),
  write: (rows) => rows.map(({ key }) => key).join("\n"),
  add: (rows, key) => [...rows, { key }],
};
const one = { ...keys, add: (rows, key) => [{ key }] };

function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

class Products {
  constructor(field, format, template, url) {
    this.field = field;
    this.format = format;
    this.url = url;
    this.known = new Map();
    this.isComplete = false; // whether the server has said which of the keys are products
    this.root = template.content.firstElementChild.cloneNode(true);
    this.list = this.root.querySelector(".rule-chosen");
    this.row = this.root.querySelector("[data-rule-chosen]");
    const options = this.root.querySelector("[data-imagesim-bar-suggestions]");
    options.id = `${field.id}-products`;
    this.input = this.root.querySelector("[data-imagesim-bar-words]");
    const column = document.createElement("div"); // the versions of Django's admin place a field differently in its row
    field.replaceWith(column);
    column.append(field, this.root);
    new Suggestions(this.root, url, (found) => this.add(found));
    this.input.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
    field.addEventListener("change", () => setTimeout(() => this.show(), LEFT));
    this.render(); // without names, so that nothing moves when they arrive
    this.show();
  }

  get rows() {
    return this.format.read(this.field.value);
  }

  set rows(rows) {
    this.field.value = this.format.write([...rows].sort((a, b) => (a.place ?? 0) - (b.place ?? 0)));
    this.show();
  }

  add(found) {
    this.known.set(found.key, found);
    if (!this.rows.some((row) => row.key === found.key)) this.rows = this.format.add(this.rows, found.key);
    this.input.value = "";
    this.input.focus();
  }

  remove(key) {
    this.rows = this.rows.filter((row) => row.key !== key);
    this.input.focus();
  }

  // Move a product by one position; it swaps places with a product that is there.
  move(key, step) {
    const rows = this.rows;
    const own = rows.find((row) => row.key === key);
    const place = own.place + step;
    if (place < 1 || place > LAST) return;
    const other = rows.find((row) => row.place === place);
    if (other) other.place = own.place;
    own.place = place;
    this.rows = rows;
    const button = step < 0 ? "earlier" : "later";
    this.list.querySelector(`[data-key="${CSS.escape(key)}"] [data-slot=${button}]`)?.focus();
  }

  async show() {
    const missing = this.rows.map((row) => row.key).filter((key) => !this.known.has(key));
    if (!missing.length) return this.render();
    const url = new URL(this.url, location.href);
    missing.forEach((key) => url.searchParams.append("key", key));
    try {
      const answer = await fetch(url);
      this.isComplete = answer.ok;
      if (answer.ok) for (const found of (await answer.json()).suggestions) {
        this.known.set(found.key, found);
        const pk = found.key.slice(found.key.indexOf(":") + 1);
        if (missing.includes(pk)) this.known.set(pk, found);
      }
    } catch {
      // The keys are shown without names.
    }
    this.render();
  }

  render() {
    this.list.replaceChildren(...this.rows.map((row) => this.line(row)));
  }

  line({ key, place }) {
    const found = this.known.get(key);
    const line = this.row.content.firstElementChild.cloneNode(true);
    const slot = (name) => line.querySelector(`[data-slot=${name}]`);
    const title = found?.text ?? key;
    line.dataset.key = key;
    slot("title").textContent = place ? `${place}. ${title}` : title;
    slot("missing").hidden = !this.isComplete || Boolean(found);
    if (found?.image?.url) slot("image").src = found.image.url;
    else slot("image").removeAttribute("src"); // its place stays
    for (const [name, action] of [["earlier", () => this.move(key, -1)], ["later", () => this.move(key, 1)], ["remove", () => this.remove(key)]]) {
      const button = slot(name);
      button.setAttribute("aria-label", `${button.textContent.trim()}: ${title}`);
      button.hidden = name !== "remove" && place === undefined;
      button.addEventListener("click", action);
    }
    return line;
  }
}

function start() {
  const template = document.getElementById("rule-products");
  if (!template) return;
  const url = template.dataset.url;
  const fields = [["id_pins", pins], ["id_triggers", keys], ["preview-product", one]];
  for (const [id, format] of fields) {
    const field = document.getElementById(id);
    if (!field) continue;
    const products = new Products(field, format, template, url);
    if (id !== "id_triggers") continue;
    const when = document.getElementById("id_when");
    const update = () => {
      products.root.hidden = when.value !== "product";
    };
    onChange(when, update);
    update();
  }
}

start();
