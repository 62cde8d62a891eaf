// Keep the page "Visual index" up to date: fetch its state from the server and update its texts. Intervals in
// milliseconds.

import { withLimit } from "../requests.js";

const RUNNING_INTERVAL = 1500; // while a job is running
const IDLE_INTERVAL = 10000;
const MAX_INTERVAL = 60000; // the longest one, while the server does not respond

const page = document.querySelector("[data-visual-index]");
const offline = page.querySelector("[data-offline]");
const loggedOut = page.querySelector("[data-logged-out]");
let wait = IDLE_INTERVAL;
let timer = 0;

function update(answer) {
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
      bar.removeAttribute("value"); // indeterminate
    }
  }
}

async function refresh() {
  let problem = offline;
  try {
    const response = await fetch(page.dataset.statusUrl, {
      headers: { Accept: "application/json" },
      signal: withLimit(),
      redirect: "manual", // to the login page, if the session has ended
    });
    if (response.type === "opaqueredirect" || response.status === 403) problem = loggedOut;
    if (!response.ok) throw new Error(response.statusText);
    const answer = await response.json();
    update(answer);
    problem = null;
    wait = answer.running ? RUNNING_INTERVAL : IDLE_INTERVAL;
  } catch {
    wait = Math.min(wait * 2, MAX_INTERVAL);
  }
  for (const each of [offline, loggedOut]) each.hidden = each !== problem;
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
refresh();
