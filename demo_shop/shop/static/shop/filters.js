// Open the filters of the search page where there is room beside the results.
const filters = document.querySelector("[data-filters]");
if (filters && matchMedia("(min-width: 900px)").matches) filters.open = true;
