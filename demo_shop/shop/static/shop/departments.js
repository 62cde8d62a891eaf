// Scroll the page's department into view, in browsers that do not know scroll-initial-target. Not a module: it runs
// before the browser has read what follows the list, so that nothing moves.
{
  const list = document.currentScript.previousElementSibling;
  const chosen = list.querySelector("[aria-current]");
  const hidden = chosen ? chosen.getBoundingClientRect().right - list.getBoundingClientRect().right : 0;
  if (hidden > 0) list.scrollLeft += hidden + parseFloat(getComputedStyle(list).scrollPaddingRight || 0);
}
