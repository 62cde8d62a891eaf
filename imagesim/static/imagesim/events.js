// Report which hits were seen and clicked, in batches. Nothing is sent for an answer without a token, which means that
// the shop does not store events. The events do not identify the visitor.

import { attach } from "./attach.js";

const SEND_DELAY = 2000; // milliseconds until collected events are sent
const MAX_BATCH = 100; // in one batch
const VISIBLE_SHARE = 0.5; // share of a hit that must be in view

const unsent = new Set(); // ResultEvents that have collected some, including those of a replaced part of the page
const sendAll = () => unsent.forEach((events) => events.send());
addEventListener("visibilitychange", () => document.visibilityState === "hidden" && sendAll());
addEventListener("pagehide", sendAll);

export class ResultEvents {
  constructor(url, csrfHeader) {
    this.url = url;
    this.csrfHeader = csrfHeader;
    this.waiting = [];
    this.details = new WeakMap();
    this.timer = 0;
    if (!url) return;
    this.observer = new IntersectionObserver((entries) => this.onIntersect(entries), { threshold: VISIBLE_SHARE });
  }

  // Report when a hit is seen or clicked. ``item`` is a key such as "shop.product:7"; ``position`` counts from 0.
  watch(element, { token, item, position }) {
    if (!this.url || !token) return;
    this.details.set(element, { token, item, position });
    this.observer.observe(element);
    const clicked = (event) => event.target.closest("a") && this.add(element, "click");
    element.addEventListener("click", clicked);
    element.addEventListener("auxclick", (event) => event.button === 1 && clicked(event)); // the right button opens a menu
  }

  onIntersect(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      this.add(target, "view");
    }
  }

  add(element, kind) {
    this.waiting.push({ ...this.details.get(element), kind });
    unsent.add(this);
    if (kind === "click" || this.waiting.length >= MAX_BATCH) this.send();
    else this.timer ||= setTimeout(() => this.send(), SEND_DELAY);
  }

  send() {
    clearTimeout(this.timer);
    this.timer = 0;
    unsent.delete(this);
    while (this.waiting.length) {
      const events = this.waiting.splice(0, MAX_BATCH);
      // keepalive: the request survives the page, as with sendBeacon, but can carry the CSRF token.
      fetch(this.url, {
        method: "POST",
        keepalive: true,
        headers: { "Content-Type": "application/json", ...this.csrfHeader },
        body: JSON.stringify({ events }),
      }).catch(() => undefined);
    }
  }
}

// The hits that {% similar_products %} rendered.
attach("[data-imagesim-events]", (root) => {
  const { imagesimEvents: url, csrf, csrfHeader = "X-CSRFToken" } = root.dataset;
  const events = new ResultEvents(url, csrf && { [csrfHeader]: csrf });
  for (const element of root.querySelectorAll("[data-imagesim-item]")) {
    const { imagesimItem: item, imagesimPosition: position } = element.dataset;
    events.watch(element, { token: root.dataset.token, item, position: Number(position) });
  }
});
