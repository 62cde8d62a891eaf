// The results of the selected region of {% shop_the_look %}.

import { ResultEvents } from "./events.js";
import { hitKey, renderHit } from "./hits.js";
import { LookFacets } from "./look-facets.js";

const SKELETONS = 8; // at most

export class LookResults {
  // ``onChange`` is called when the visitor chooses a value of a facet.
  constructor(root, texts, csrfHeader, onChange) {
    const find = (name) => root.querySelector(`[data-imagesim-${name}]`);
    this.texts = texts;
    this.section = find("results");
    this.title = find("title");
    this.list = find("list");
    this.wider = find("wider");
    this.widerList = find("wider-list");
    this.closest = find("closest");
    this.closestList = find("closest-list");
    this.message = find("message");
    this.retry = find("retry");
    this.template = find("template");
    this.skeleton = find("skeleton");
    this.limit = Number(root.dataset.limit);
    this.events = new ResultEvents(root.dataset.events, csrfHeader);
    this.facets = new LookFacets(root, texts, onChange);
  }

  show(region) {
    this.title.textContent = region.name;
    this.title.hidden = false;
    this.facets.show(region.facets);
    this.retry.hidden = true;
    const cells = region.results.map((hit, position) => {
      const cell = renderHit(this.template, hit);
      this.events.watch(cell, { token: region.token, item: hitKey(hit), position });
      return { cell, wider: Boolean(hit.stage) };
    });
    const own = cells.filter((cell) => !cell.wider).map((cell) => cell.cell);
    const wider = cells.filter((cell) => cell.wider).map((cell) => cell.cell);
    this.list.replaceChildren(...own);
    this.list.hidden = !own.length;
    this.widerList.replaceChildren(...wider);
    this.wider.hidden = !wider.length;
    const closest = cells.length ? [] : (region.closest ?? []);
    this.closestList.replaceChildren(...closest.map((hit) => renderHit(this.template, hit)));
    this.closest.hidden = !closest.length;
    this.message.removeAttribute("role");
    this.message.hidden = Boolean(cells.length);
    this.message.textContent = cells.length ? "" : this.texts.reasonForNone(region);
  }

  showError(text, { canRetry }) {
    this.list.hidden = true;
    this.message.setAttribute("role", "alert"); // announced once, where it is visible
    this.message.textContent = text;
    this.message.hidden = false;
    this.retry.hidden = !canRetry;
  }

  setBusy(on) {
    if (on) {
      this.section.setAttribute("aria-busy", "true");
      this.hideAll();
      this.list.hidden = false;
      const count = Math.min(this.limit, SKELETONS);
      this.list.replaceChildren(...Array.from({ length: count }, () => this.skeleton.content.cloneNode(true)));
    } else {
      this.section.removeAttribute("aria-busy");
      this.list.replaceChildren();
    }
  }

  clear() {
    this.hideAll();
    this.facets.clear();
    this.list.replaceChildren();
  }

  hideAll() {
    for (const part of [this.message, this.retry, this.wider, this.closest]) part.hidden = true;
  }
}
