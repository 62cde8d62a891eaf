// Close the menus of {% refine %}, which cover the results: on Escape, when a click or the focus leaves them, and
// before "back" shows the page again. Without this script, their headings close them.

const closeMenus = (kept) => {
  for (const menu of document.querySelectorAll("[data-imagesim-menu][open]")) menu.open = menu === kept;
};

for (const type of ["pointerdown", "focusin"]) {
  addEventListener(type, ({ target }) => closeMenus(target.closest?.("[data-imagesim-menu]")));
}
addEventListener("toggle", ({ target }) => {  // a menu that would extend past the page is aligned with the end of its heading
  if (!target.matches?.("[data-imagesim-menu][open]")) return;
  const menu = target.querySelector("ul");
  menu.removeAttribute("data-end");
  const { left, right } = menu.getBoundingClientRect();
  menu.toggleAttribute("data-end", right > document.documentElement.clientWidth || left < 0);
}, true);
addEventListener("pagehide", () => closeMenus());
addEventListener("keydown", ({ key, target }) => {
  if (key !== "Escape") return;
  target.closest?.("[data-imagesim-menu][open]")?.querySelector("summary").focus();
  closeMenus();
});
