// Render a hit of the REST API with the shop's template hit.html.
export function renderHit(template, hit) {
  const cell = template.content.firstElementChild.cloneNode(true);
  cell.dataset.imagesimItem = hitKey(hit);
  const fill = (slot, update) => cell.querySelectorAll(`[data-imagesim-slot="${slot}"]`).forEach(update);
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
  // Fill the elements of hit.html that Items.get_details() names; hide those without a text.
  for (const [name, text] of Object.entries(hit.item.details)) {
    fill(name, (element) => {
      element.textContent = text;
      element.hidden = !text;
    });
  }
  return cell;
}

// Show the shop's messages about an answer. A page with an older template has no place for them.
export function renderMessages(place, messages) {
  place?.replaceChildren(
    ...(messages ?? []).map(({ text, url }) => {
      const paragraph = document.createElement("p");
      paragraph.className = "imagesim__message";
      const inner = url ? document.createElement("a") : paragraph;
      inner.textContent = text;
      if (url) {
        inner.href = url;
        paragraph.append(inner);
      }
      return paragraph;
    }),
  );
}

// "6 results", in the plural form of the language of the texts: each form comes with a number that takes it.
export function countHits({ textResults }, count, more = false) {
  const { language, forms } = JSON.parse(textResults ?? '{"language":"en","forms":[[2,"{count}"]]}'); // an older template has none
  const rules = new Intl.PluralRules(language);
  const [, form] = forms.findLast(([number]) => rules.select(number) === rules.select(count)) ?? forms.at(-1);
  return form.replace("{count}", `${count}${more ? "+" : ""}`);
}

// Return the cells of a further page whose items are not in the list yet: if items or rules change between two pages,
// items that were shown can move to the later one.
export function withoutShown(cells, list) {
  const shown = new Set([...list.children].map((cell) => cell.dataset.imagesimItem));
  return cells.filter(({ dataset: { imagesimItem: item } }) => !item || !shown.has(item)); // an older template names no items
}

export const hitKey = (hit) => `${hit.item.model}:${hit.item.pk}`;
