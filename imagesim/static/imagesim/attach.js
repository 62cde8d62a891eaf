// Give every widget of the page its behaviour, also those that are inserted later, as by htmx or Turbo: the script of a
// module runs once only, however often its element is inserted.
export function attach(selector, start) {
  const started = new WeakSet();
  const startNew = () => {
    for (const root of document.querySelectorAll(selector)) {
      if (started.has(root)) continue;
      started.add(root);
      start(root);
    }
  };
  startNew();
  new MutationObserver(startNew).observe(document, { childList: true, subtree: true });
}
