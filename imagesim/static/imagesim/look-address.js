// The photo, the region and the filters in the URL of the page: results survive a reload and "back", and can be shared
// while the server holds the photo.

import { fieldsOf } from "./requests.js";

const OWN = ["photo", "region", "sample"];

export class LookAddress {
  // ``form``: its fields are the filters. Of these, the URL has the ones that were changed. ``facets``: the names of
  // further filters, which have a field only while there is something to choose; separated by commas.
  constructor(form, facets = "") {
    this.form = form;
    this.facets = facets.split(",");
  }

  read() {
    const fields = new URL(location).searchParams;
    return { token: fields.get("photo"), box: parseBox(fields.get("region") ?? "") };
  }

  // Set the filters to those in the URL.
  restoreFilters() {
    const given = new URL(location).searchParams;
    for (const field of this.filters.filter(({ name }) => given.has(name))) {
      const values = given.getAll(field.name);
      for (const choice of choicesOf(field)) choice.selected = values.includes(choice.value);
      if (isBox(field)) field.checked = values.includes(field.value);
      else if (!field.options) [field.value] = values;
    }
  }

  write(token, region = null) {
    const url = new URL(location);
    const fields = url.searchParams;
    for (const name of [...OWN, ...this.facets, ...this.filters.map((field) => field.name)]) fields.delete(name);
    if (token) {
      fields.set("photo", token);
      if (region && !region.whole) {
        const { x, y, width, height } = region.box;
        fields.set("region", [x, y, width, height].map((side) => side.toFixed(3)).join(","));
      }
      this.writeFilters(fields);
    }
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }

  writeFilters(fields) {
    const now = fieldsOf(this.form);
    for (const name of new Set(this.filters.map((field) => field.name))) {
      const values = now.filter(([field]) => field === name).map(([, value]) => value);
      const initial = this.filters.filter((field) => field.name === name).flatMap(initialValuesOf);
      if (String(values) === String(initial)) continue;
      for (const value of values.length ? values : [""]) fields.append(name, value);
    }
  }

  get filters() {
    const kinds = ["file", "hidden", "submit", "button", "fieldset"];
    return [...this.form.elements].filter(({ name, type }) => name && !OWN.includes(name) && !kinds.includes(type));
  }
}

const isBox = (field) => field.type === "checkbox" || field.type === "radio";
const choicesOf = (field) => [...(field.options ?? [])];

// The values that the page had from the server.
function initialValuesOf(field) {
  if (isBox(field)) return field.defaultChecked ? [field.value] : [];
  if (!field.options) return [field.defaultValue.trim()].filter(Boolean);
  const chosen = choicesOf(field).filter((choice) => choice.defaultSelected);
  const [first] = choicesOf(field);
  return (chosen.length || field.multiple || !first ? chosen : [first]).map(({ value }) => value).filter(Boolean);
}

// Parse "0.1,0.2,0.3,0.4" into {x, y, width, height}; return null if it is not a box.
function parseBox(text) {
  const [x, y, width, height, ...rest] = text.split(",").map(Number);
  const valid = rest.length === 0 && [x, y, width, height].every((side) => side >= 0 && side <= 1);
  return valid && width > 0 && height > 0 && x + width <= 1.001 && y + height <= 1.001 ? { x, y, width, height } : null;
}
