// The facets of {% shop_the_look %}: menus with the values of the selected region's results, and their counts. Each value
// is a checkbox, and thereby a filter of the form: it is sent with every request, and part of the URL of the page.

const MAX_CHOICES = 20; // in a menu

export class LookFacets {
  // ``onChange`` is called when the visitor chooses a value, or no longer does.
  constructor(root, texts, onChange) {
    this.texts = texts;
    this.template = root.querySelector("[data-imagesim-choice]");
    this.menus = this.template ? [...root.querySelectorAll("[data-imagesim-facet]")] : [];
    for (const menu of this.menus) {
      menu.addEventListener("change", ({ target }) => {
        for (const input of inputsOf(menu)) input.checked &&= input === target; // one value, as of other filters
        this.mark(menu);
        onChange();
      });
    }
  }

  // Show the facets of an answer of the REST API, by field. A value that is chosen stays, even if no result has it.
  show(facets = {}) {
    const found = new Map(Object.entries(facets));
    for (const menu of this.menus) {
      const facet = found.get(menu.dataset.imagesimFacet);
      this.fill(menu, new Map(facet?.values.map(({ value, count }) => [value, count])), facet ? 0 : "");
    }
  }

  // Choose the values that the URL of the page names.
  restore(fields) {
    for (const menu of this.menus) {
      const value = fields.get(menu.dataset.imagesimFacet);
      if (!value) continue;
      this.fill(menu, new Map([[value, ""]]), "");
      menu.querySelector("input").checked = true;
      this.mark(menu);
    }
  }

  clear() {
    for (const menu of this.menus) {
      menu.querySelector("ul").replaceChildren();
      this.mark(menu);
    }
  }

  // ``counts``: how many results have each value; ``none``: the count of a chosen value that is not among them.
  fill(menu, counts, none) {
    const list = menu.querySelector("ul");
    const inputs = inputsOf(menu);
    const chosen = inputs.filter((input) => input.checked).map((input) => input.value);
    const values = new Set([...[...counts.keys()].slice(0, MAX_CHOICES), ...chosen]);
    const items = [...values].map((value) => {
      const item = inputs.find((input) => input.value === value)?.closest("li") ?? this.createChoice(menu, value);
      item.querySelector("[data-imagesim-count]").textContent = counts.get(value) ?? none;
      return item;
    });
    const focused = document.activeElement;
    list.replaceChildren(...items);
    if (list.contains(focused)) focused.focus({ preventScroll: true }); // as an element that moves loses it
    this.mark(menu);
  }

  createChoice(menu, value) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    Object.assign(item.querySelector("input"), { name: menu.dataset.imagesimFacet, value });
    const names = new Map(Object.entries(JSON.parse(menu.dataset.names))); // an object itself also has "constructor"
    item.querySelector("[data-imagesim-name]").textContent = names.get(value) ?? value;
    if ("palette" in menu.dataset) item.querySelector("[data-imagesim-swatch]").dataset.colour = value;
    return item;
  }

  // Show the chosen value in place of the title of a menu. A menu with nothing to choose is hidden.
  mark(menu) {
    const summary = menu.querySelector("summary");
    const inputs = inputsOf(menu);
    const chosen = inputs.find((input) => input.checked)?.closest("li").querySelector("[data-imagesim-name]").textContent;
    const { label } = menu.dataset;
    menu.querySelector("[data-imagesim-heading]").textContent = chosen ?? label;
    summary.setAttribute("aria-label", chosen ? this.texts.about({ name: label }, chosen) : label);
    summary.toggleAttribute("data-chosen", Boolean(chosen));
    menu.toggleAttribute("data-empty", inputs.length < 2 && !chosen);
    if (menu.hasAttribute("data-empty")) menu.open = false;
  }
}

const inputsOf = (menu) => [...menu.querySelectorAll("input")];
