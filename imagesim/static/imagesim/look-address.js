// The photo and the region in the URL of the page: results survive a reload and "back", and can be shared while the
// server holds the photo.

export function readAddress() {
  const fields = new URL(location).searchParams;
  return { token: fields.get("photo"), box: parseBox(fields.get("region") ?? "") };
}

export function writeAddress(token, region = null) {
  const url = new URL(location);
  url.searchParams.delete("sample");
  if (token) url.searchParams.set("photo", token);
  else url.searchParams.delete("photo");
  if (token && region && !region.whole) {
    const { x, y, width, height } = region.box;
    url.searchParams.set("region", [x, y, width, height].map((side) => side.toFixed(3)).join(","));
  } else url.searchParams.delete("region");
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}

// Parse "0.1,0.2,0.3,0.4" into {x, y, width, height}; return null if it is not a box.
function parseBox(text) {
  const [x, y, width, height, ...rest] = text.split(",").map(Number);
  const valid = rest.length === 0 && [x, y, width, height].every((side) => side >= 0 && side <= 1);
  return valid && width > 0 && height > 0 && x + width <= 1.001 && y + height <= 1.001 ? { x, y, width, height } : null;
}
