// A result of the REST API in the shop's own hit.html.
export function cellFor(template, hit) {
  const cell = template.content.firstElementChild.cloneNode(true);
  const fill = (slot, act) => cell.querySelectorAll(`[data-imagesim-slot="${slot}"]`).forEach(act);
  fill("title", (element) => (element.textContent = hit.item.name));
  fill("link", (element) => hit.item.url && (element.href = hit.item.url));
  fill("similar", (element) => {
    if (hit.item.similar) element.href = hit.item.similar;
    element.hidden = !hit.item.similar;
  });
  fill("image", (element) => {
    if (hit.image.srcset) element.srcset = hit.image.srcset;
    const url = hit.image.thumbnail || hit.image.url;
    if (url) element.src = url;
  });
  // What Items.get_details() says, in elements of the shop's own hit.html; hidden where there is nothing to say.
  for (const [name, text] of Object.entries(hit.item.details)) {
    fill(name, (element) => {
      element.textContent = text;
      element.hidden = !text;
    });
  }
  return cell;
}

export const keyOf = (hit) => `${hit.item.model}:${hit.item.pk}`;
