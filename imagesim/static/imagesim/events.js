// Which results were seen and clicked, told to the shop in batches. Nothing is sent where an answer has no token:
// the shop has not asked for it. Nothing says who the visitor is.

const WAIT = 2000; // milliseconds in which events gather
const MOST = 100; // in one batch
const SEEN = 0.5; // of a result must be in view

export class ResultEvents {
  constructor(url, csrfToken = "") {
    this.url = url;
    this.csrfToken = csrfToken;
    this.waiting = [];
    this.about = new WeakMap();
    this.timer = 0;
    if (!url) return;
    this.observer = new IntersectionObserver((entries) => this.saw(entries), { threshold: SEEN });
    addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.send());
    addEventListener("pagehide", () => this.send());
  }

  // token: of the answer; item: "shop.product:7"; position: from 0.
  watch(element, { token, item, position }) {
    if (!this.url || !token) return;
    this.about.set(element, { token, item, position });
    this.observer.observe(element);
    const clicked = (event) => event.target.closest("a") && this.add(element, "click");
    element.addEventListener("click", clicked);
    element.addEventListener("auxclick", clicked);
  }

  saw(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.observer.unobserve(target);
      this.add(target, "view");
    }
  }

  add(element, kind) {
    this.waiting.push({ ...this.about.get(element), kind });
    if (kind === "click" || this.waiting.length >= MOST) this.send();
    else this.timer ||= setTimeout(() => this.send(), WAIT);
  }

  send() {
    clearTimeout(this.timer);
    this.timer = 0;
    while (this.waiting.length) {
      const events = this.waiting.splice(0, MOST);
      // It outlives the page, as sendBeacon does, and can carry the CSRF token of a visitor who is signed in.
      fetch(this.url, {
        method: "POST",
        keepalive: true,
        headers: { "Content-Type": "application/json", ...(this.csrfToken && { "X-CSRFToken": this.csrfToken }) },
        body: JSON.stringify({ events }),
      }).catch(() => undefined);
    }
  }
}

// What the server rendered with a token: {% similar_products %}.
for (const root of document.querySelectorAll("[data-imagesim-events]")) {
  const events = new ResultEvents(root.dataset.imagesimEvents, root.dataset.csrf);
  for (const element of root.querySelectorAll("[data-imagesim-item]")) {
    const { imagesimItem: item, imagesimPosition: position } = element.dataset;
    events.watch(element, { token: root.dataset.token, item, position: Number(position) });
  }
}
