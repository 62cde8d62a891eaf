// Open the filters of the search page if there is room next to the results. Not a module: it runs before the browser
// has read what follows the filters, so that nothing moves.
if (matchMedia("(min-width: 900px)").matches) document.currentScript.previousElementSibling.open = true;
