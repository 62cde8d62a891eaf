// Keeps the page "Visual index" current: asks the server how it stands and writes the answer into the page.

const SOON = 1500; // while something is running
const LATER = 10000;
const LATEST = 60000; // while the server cannot be reached

const page = document.querySelector("[data-visual-index]");
const offline = page.querySelector("[data-offline]");
let wait = LATER;
let timer = 0;

function show(answer) {
  for (const element of page.querySelectorAll("[data-field]")) {
    const text = answer.fields[element.dataset.field] ?? "";
    if (element.textContent !== text) element.textContent = text;
  }
  for (const element of page.querySelectorAll("[data-shown]")) {
    element.hidden = !answer.shown[element.dataset.shown];
  }
  for (const bar of page.querySelectorAll("[data-bar]")) {
    const range = answer.bars[bar.dataset.bar];
    if (range) {
      bar.max = range[1];
      bar.value = range[0];
    } else {
      bar.removeAttribute("value"); // at work, no one knows how far
    }
  }
}

async function ask() {
  try {
    const response = await fetch(page.dataset.statusUrl, {
      headers: { Accept: "application/json" },
      redirect: "error", // the session is over: the login page is no answer
    });
    if (!response.ok) throw new Error(response.statusText);
    const answer = await response.json();
    show(answer);
    offline.hidden = true;
    wait = answer.running ? SOON : LATER;
  } catch {
    offline.hidden = false;
    wait = Math.min(wait * 2, LATEST);
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, wait);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
ask();
