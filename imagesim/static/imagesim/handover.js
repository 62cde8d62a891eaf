// Hand a photo over to another page, in the session storage.

const KEY = "imagesim.photo";

// Store the photo and open the other page; return false if the photo cannot be stored.
export async function handOver(photo, url) {
  try {
    sessionStorage.setItem(KEY, await dataUrl(photo));
  } catch {
    return false; // storage is disabled or full
  }
  location.assign(url);
  return true;
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

// Not with fetch(): a content security policy usually forbids it data: URLs.
function parseDataUrl(url) {
  const [head, body] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
