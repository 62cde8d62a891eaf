// The life of the widgets in a page whose parts are replaced, as by htmx or Turbo.

const selectors = []; // of the widgets
const listeners = new WeakMap(); // of each widget: a map from the type of an event to its listeners
const heard = new Set(); // types

// Give every widget of the page its behaviour, also those that are inserted later: the script of a module runs once only,
// however often its element is inserted.
export function attach(selector, start) {
  const started = new WeakSet();
  const startNew = () => {
    for (const root of document.querySelectorAll(selector)) {
      if (started.has(root)) continue;
      started.add(root);
      start(root);
    }
  };
  selectors.push(selector);
  startNew();
  new MutationObserver(startNew).observe(document, { childList: true, subtree: true });
}

// Call a listener for the events of the window while the widget is in the page. The window itself would keep the widget
// for ever, and with it the whole page that was replaced.
export function listen(root, type, listener) {
  if (!listeners.has(root)) listeners.set(root, new Map());
  const own = listeners.get(root);
  own.set(type, [...(own.get(type) ?? []), listener]);
  if (heard.has(type)) return;
  heard.add(type);
  addEventListener(type, (event) => {
    for (const each of document.querySelectorAll(selectors)) {
      for (const call of listeners.get(each)?.get(type) ?? []) call(event);
    }
  });
}
