// Open the filters of the search page where there is room beside the results. Not a module: it runs before the browser
// has read what comes after the filters, so that nothing moves.
if (matchMedia("(min-width: 900px)").matches) document.currentScript.previousElementSibling.open = true;
