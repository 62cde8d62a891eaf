// The texts of {% shop_the_look %}, which the template writes in the language of the page.

import { countHits } from "./hits.js";

export class LookTexts {
  // ``data``: the data attributes of the widget.
  constructor(data) {
    this.data = data;
  }

  get(name) {
    return this.data[`text${name[0].toUpperCase()}${name.slice(1)}`] ?? "";
  }

  // "Shoes: …", with the punctuation of the language.
  about(region, text) {
    return (this.get("about") || "{name}: {text}").replace("{name}", () => region.name).replace("{text}", () => text);
  }

  // Where a box is.
  place(box) {
    const percent = (value) => `${Math.round(value * 100)} %`;
    return this.get("place")
      .replace("{left}", percent(box.x))
      .replace("{top}", percent(box.y))
      .replace("{width}", percent(box.width))
      .replace("{height}", percent(box.height));
  }

  // A box that the visitor drew is described by its place, not by what is in it.
  aboutBox(region) {
    const isOwn = region.name === this.get("box");
    return isOwn ? this.about(region, this.place(region.box)) : `${this.get("around")} ${region.name}`;
  }

  // Describe what was found in a photo, and for the selected region.
  found(regions, selected) {
    const names = regions.filter((region) => !region.whole).map((region) => region.name);
    if (!names.length) return this.summary(selected);
    const results = names.length > 1 ? this.summary(selected) : this.count(selected); // the only name was already mentioned
    return `${this.get("seen")} ${names.join(", ")}. ${results}`;
  }

  count({ results, more }) {
    return countHits(this.data, results.length, more);
  }

  summary(region) {
    return this.about(region, this.count(region));
  }

  // Return why a region has no hits, for its results; the whole photo has no box to move.
  reasonForNone(region) {
    return this.get(region.closest?.length ? "closest" : region.whole ? "nothingWhole" : "nothing");
  }
}
