// Hand a photo over to another page, in the session storage.

const KEY = "imagesim.photo";
const LOST = "#imagesim-lost";

// Store the photo and open the other page; return false if the photo cannot be stored. With ``always`` the other page
// is opened anyway, and asks for the photo again.
export async function handOver(photo, url, { always = false } = {}) {
  let target = url;
  try {
    sessionStorage.setItem(KEY, await dataUrl(photo));
  } catch {
    if (!always) return false; // storage is disabled or full
    target = new URL(LOST, url);
  }
  const [former] = location.href.split("#");
  location.assign(target);
  if (location.href === `${former}${LOST}`) location.reload(); // on that page already: only the fragment has changed
  return true;
}

// Return whether a photo was lost: storing it failed, or this page had one before a reload or "back". True only once.
export function isPhotoLost() {
  const lost = location.hash === LOST || Boolean(history.state?.imagesimPhoto);
  if (location.hash === LOST) history.replaceState(history.state, "", location.href.replace(LOST, ""));
  rememberPhoto(false);
  return lost;
}

// Resolves when the browser has filled in the fields of a page that "back" loads again: Chromium does so after "load".
// A widget that is inserted later has nothing to wait for.
export const fieldsRestored =
  document.readyState === "complete"
    ? Promise.resolve()
    : new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));

// Note in this history entry whether its page has a photo; the photo itself does not outlive the page.
export function rememberPhoto(has) {
  if (has || history.state?.imagesimPhoto) history.replaceState({ ...history.state, imagesimPhoto: has }, "");
}

// Return the stored photo and remove it; null if there is none.
export async function receivePhoto() {
  try {
    const stored = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return stored && parseDataUrl(stored);
  } catch {
    return null;
  }
}

function dataUrl(photo) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(photo);
  });
}

// Not with fetch(): a content security policy usually forbids data: URLs there.
function parseDataUrl(url) {
  const [head, body] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
