// The regions of a photo, {box, foundBox, label, name, results, …}: those found in an answer of the REST API, then the
// whole photo; and the marks by which visitors select one.

import { overlap } from "./box-editor.js";
import { drawCropped } from "./pictures.js";

export const WHOLE = { x: 0, y: 0, width: 1, height: 1 };
const LABEL_OVERLAP = 0.4; // a box has the label of a found box if they overlap by at least this
const SAME_OVERLAP = 0.9; // a box with at least this overlap is the found one
const THUMBNAIL_SIDE = 96; // pixels
const UNLABELLED = ["", "item"];

export function regionsOf(answer, texts) {
  const regions = answer.regions.map((region) => ({
    ...region,
    foundBox: region.box,
    name: region.name || texts.get("box"),
    results: dropWeakFallback(region.results),
  }));
  const { closest, more, token, facets } = answer;
  const results = dropWeakFallback(answer.results);
  const whole = { whole: true, box: WHOLE, foundBox: WHOLE, label: "", name: texts.get("whole") };
  regions.push({ ...whole, results, closest, more, token, facets });
  numberNames(regions);
  for (const region of regions) Object.assign(region, { foundLabel: region.label, foundName: region.name });
  return regions;
}

// Update a region with the REST API's answer for it.
export function update(region, { results, closest, more, token, facets }) {
  Object.assign(region, { results: dropWeakFallback(results), closest, more, token, facets, stale: false });
}

// Move a region; it keeps its label and name near the place where it was found.
export function move(region, box, regions, texts) {
  const stays = !region.isDrawn && overlap(box, region.foundBox) >= LABEL_OVERLAP;
  Object.assign(region, {
    box,
    label: stays ? region.foundLabel : labelAt(box, regions),
    name: stays ? region.foundName : texts.get("box"),
    results: null,
  });
}

// Return the region of a box that a visitor draws; there is only one such region.
export function drawnRegion(box, regions, texts) {
  let region = regions.find((one) => one.isDrawn);
  if (!region) {
    region = { isDrawn: true, name: texts.get("box") };
    regions.splice(-1, 0, region);
  }
  return Object.assign(region, { box, foundBox: box, label: labelAt(box, regions), results: null });
}

export function regionAt(box, regions) {
  return regions.find((region) => !region.whole && overlap(region.box, box) > SAME_OVERLAP);
}

// Return the region whose best hit in its own category is the most relevant. Return the whole photo if no other region
// has such hits, or if the best is a thing without a label and the whole has more relevant hits: that thing may be a
// part of what is meant.
export function surest(regions) {
  const relevance = (region) => Math.max(...region.results.map((hit) => (hit.stage ? 0 : hit.relevance)));
  const own = regions.filter((region) => region.results.some((hit) => !hit.stage));
  const found = own.filter((region) => !region.whole);
  const best = found.reduce((one, other) => (relevance(other) > relevance(one) ? other : one), found[0]);
  const whole = own.find((region) => region.whole);
  if (best && whole && UNLABELLED.includes(best.label) && relevance(whole) > relevance(best)) return whole;
  return best ?? own[0] ?? regions[0];
}

// Return the label of what was found where the box is; if there is nothing, the server infers one from hits.
function labelAt(box, regions) {
  const shares = regions.map((one) => (one.foundLabel ? overlap(box, one.foundBox) : 0));
  const most = Math.max(...shares);
  return most >= LABEL_OVERLAP ? regions[shares.indexOf(most)].foundLabel : "";
}

// Number regions of the same name ("Shoes", "Shoes 2"), so that a screen reader distinguishes them.
function numberNames(regions) {
  const count = new Map();
  for (const region of regions) {
    const number = (count.get(region.name) ?? 0) + 1;
    count.set(region.name, number);
    if (number > 1) region.name += ` ${number}`;
  }
}

// Drop hits of wider categories that score below the mean of the region's own category.
function dropWeakFallback(results) {
  const own = results.filter((hit) => !hit.stage);
  const mean = own.reduce((sum, hit) => sum + hit.score, 0) / own.length; // NaN without own hits: all hits are kept
  return results.filter((hit) => !hit.stage || !(hit.score < mean));
}

// A dot in the photo and a chip next to it for each region.
export class RegionMarks {
  constructor(dots, chips, onSelect) {
    this.dots = dots;
    this.chips = chips;
    this.onSelect = onSelect;
    this.regions = new Map(); // by mark
  }

  // ``bitmap``: the photo, for thumbnails; null if the browser cannot read it.
  show(regions, bitmap) {
    this.regions.clear();
    const dots = regions.filter((region) => !region.whole).map((region) => this.createDot(region));
    const focused = [...this.chips.children].findIndex((item) => item.contains(document.activeElement));
    const chips = regions.map((region) => this.createChip(region, bitmap));
    this.dots.replaceChildren(...dots);
    this.chips.replaceChildren(...chips);
    chips[focused]?.firstElementChild.focus();
  }

  clear() {
    this.regions.clear();
    this.dots.replaceChildren();
    this.chips.replaceChildren();
  }

  select(region) {
    for (const [mark, marked] of this.regions) {
      mark.toggleAttribute("data-active", marked === region);
      if (this.chips.contains(mark)) mark.setAttribute("aria-pressed", String(marked === region));
    }
  }

  scrollToSelected({ focus }) {
    const chip = this.chips.querySelector("[aria-pressed=true]");
    if (focus) chip.focus({ preventScroll: true });
    this.chips.scrollTo({ left: chip.offsetLeft - this.chips.offsetLeft - 8 });
  }

  // A dot is for pointers only: the chips do the same and are accessible.
  createDot(region) {
    const dot = this.createMark("imagesim-look__dot", region);
    dot.tabIndex = -1;
    dot.title = region.name;
    dot.style.setProperty("left", `${(region.box.x + region.box.width / 2) * 100}%`);
    dot.style.setProperty("top", `${(region.box.y + region.box.height / 2) * 100}%`);
    return dot;
  }

  createChip(region, bitmap) {
    const item = document.createElement("li");
    const chip = this.createMark("imagesim-look__chip", region);
    if (bitmap) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = THUMBNAIL_SIDE;
      canvas.setAttribute("aria-hidden", "true");
      drawCropped(canvas, bitmap, region.box);
      chip.append(canvas);
    }
    const name = document.createElement("span");
    name.textContent = region.name;
    chip.append(name);
    item.append(chip);
    return item;
  }

  createMark(name, region) {
    const mark = document.createElement("button");
    mark.type = "button";
    mark.className = name;
    mark.addEventListener("click", () => this.onSelect(region));
    this.regions.set(mark, region);
    return mark;
  }
}
