// Navigate the gallery without page loads: the chosen picture moves to the centre, and its neighbours appear around it.
// Without this script, every picture is an ordinary link to the same page.
import { getPage } from "../imagesim/requests.js";

const root = document.querySelector("[data-gallery]");
const status = document.querySelector("[data-gallery-status]");

// Name the pictures, so that a view transition moves those that are on both pages instead of cross-fading.
const nameItems = () => {
  for (const element of root.querySelectorAll("[data-item]")) {
    element.style.viewTransitionName = `item-${element.dataset.item}`;
  }
};

const whenLoaded = (images) =>
  Promise.all([...images].map((image) => image.decode().catch(() => undefined)));

let latestRequest = 0;

const show = async (url, { push }) => {
  const request = ++latestRequest;
  let page;
  try {
    page = await getPage(url);
  } catch {
    location.assign(url);
    return;
  }
  const next = page?.querySelector("[data-gallery]");
  if (request !== latestRequest) return;
  if (!next) {
    location.assign(url);
    return;
  }
  const children = [...document.importNode(next, true).childNodes];
  const holder = document.createElement("div");
  holder.append(...children);
  await Promise.race([whenLoaded(holder.querySelectorAll(".ring img")), new Promise((done) => setTimeout(done, 800))]);
  if (request !== latestRequest) return;
  const swap = () => {
    root.replaceChildren(...holder.childNodes);
    nameItems();
  };
  if (push) history.pushState({}, "", url);
  document.title = page.title;
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (document.startViewTransition && !reducedMotion) await document.startViewTransition(swap).updateCallbackDone;
  else swap();
  const heading = root.querySelector("#centre");
  heading.focus({ preventScroll: true });
  status.textContent = `${heading.textContent}. ${status.dataset.textNeighbours} ${root.querySelectorAll(".ring__cell").length}`;
};

root.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-move]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link.href, { push: true });
});

document.addEventListener("keydown", (event) => {
  const inside = root.contains(document.activeElement);
  if (event.altKey || event.ctrlKey || event.metaKey || !(inside || document.activeElement === document.body)) return;
  if (!inside && ["ArrowUp", "ArrowDown"].includes(event.key)) return; // the page scrolls
  const cells = [...root.querySelectorAll(".ring__cell a")];
  const current = cells.indexOf(document.activeElement);
  const right = getComputedStyle(root).direction === "rtl" ? -1 : 1;
  const step = { ArrowRight: right, ArrowDown: 1, ArrowLeft: -right, ArrowUp: -1 }[event.key];
  if (step && cells.length) {
    event.preventDefault();
    const target = current < 0 ? (step > 0 ? 0 : cells.length - 1) : (current + step + cells.length) % cells.length;
    cells[target].focus();
  } else if (event.key === "Backspace" && root.querySelector(".trail a")) {
    event.preventDefault();
    history.back();
  }
});

addEventListener("popstate", () => show(location.href, { push: false }));
nameItems();
