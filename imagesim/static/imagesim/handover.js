// A photo that was chosen on one page is searched with on another: it waits in the session's storage meanwhile.

const KEY = "imagesim.photo";

// Whether the photo could be stored; if so, the other page is on its way.
export async function handOver(photo, url) {
  try {
    sessionStorage.setItem(KEY, await dataUrl(photo));
  } catch {
    return false; // no storage, or no room
  }
  location.assign(url);
  return true;
}

// The photo that waits, once; null if none does.
export async function takeOver() {
  try {
    const stored = sessionStorage.getItem(KEY);
    sessionStorage.removeItem(KEY);
    return stored && decoded(stored);
  } catch {
    return null;
  }
}

function dataUrl(photo) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(photo);
  });
}

// Without fetch(), which a content security policy keeps from data: addresses.
function decoded(url) {
  const [head, body] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
