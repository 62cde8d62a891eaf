// The life cycle of the widgets in a page whose parts are replaced, for example by htmx or Turbo.

const STARTED = "data-imagesim-started";
const AS_IT_IS = "[data-imagesim-bar], [data-imagesim-search] *"; // a morph takes little from a bar; a search restarts with its parts
const WITH_PHOTO =
  "[data-imagesim-look]:has(> [data-imagesim-view]:not([hidden])), [data-imagesim-search]:has([data-imagesim-preview]:not([hidden]))";

const selectors = []; // of the widgets
const listeners = new WeakMap(); // of each widget: a map from the type of an event to its listeners
const heard = new Set(); // types

// Give every widget of the page its behaviour, including those that are inserted later: a module's script runs only
// once, however often its element is inserted.
export function attach(selector, start) {
  const started = new WeakSet();
  const startNew = () => {
    for (const root of document.querySelectorAll(selector)) {
      if (started.has(root)) continue;
      started.add(root);
      start(root);
      if (!root.matches(AS_IT_IS)) restartWhenMorphed(root);
    }
  };
  selectors.push(selector);
  startNew();
  new MutationObserver(startNew).observe(document, { childList: true, subtree: true });
}

// Start again when the page is morphed: that keeps the elements of the widget, but removes what its script has added or
// shown, and with it the attribute.
function restartWhenMorphed(root) {
  root.setAttribute(STARTED, "");
  new MutationObserver((_records, observer) => {
    if (root.hasAttribute(STARTED)) return;
    observer.disconnect();
    const copy = root.cloneNode(true);
    const [former, file] = [root, copy].map((each) => each.querySelector("[name=image]"));
    if (former?.files.length) file.files = former.files; // the copy searches it again
    root.replaceWith(copy);
  }).observe(root, { attributeFilter: [STARTED] });
}

// Turbo asks first: the results of a photo, which the server does not render, stay as they are.
addEventListener("turbo:before-morph-element", (event) => event.target.matches(WITH_PHOTO) && event.preventDefault());

// Call a listener for the events of the window while the widget is in the page. Otherwise the window would keep the
// widget for ever, and with it the whole page that was replaced.
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
