// Close the menus of {% refine %}, which are over the results: with Escape, when a click or the keyboard leaves them, and
// before "back" shows the page again. Without this script, their headings close them.

const closeMenus = (kept) => {
  for (const menu of document.querySelectorAll("[data-imagesim-menu][open]")) menu.open = menu === kept;
};

for (const type of ["pointerdown", "focusin"]) {
  addEventListener(type, ({ target }) => closeMenus(target.closest?.("[data-imagesim-menu]")));
}
addEventListener("pagehide", () => closeMenus());
addEventListener("keydown", ({ key, target }) => {
  if (key !== "Escape") return;
  target.closest?.("[data-imagesim-menu][open]")?.querySelector("summary").focus();
  closeMenus();
});
