// The row of a field: the largest element around it that contains no other field. Themes of the admin name rows
// differently, so it is not found by a class.
export function rowOf(field) {
  const isAlone = (element) => [...element.querySelectorAll("[name]")].every((each) => each === field);
  let row = field;
  while (isAlone(row.parentElement)) row = row.parentElement;
  return row;
}

// Call a function when a field changes, also by Select2, which some themes put on every <select>: it announces changes
// to jQuery only.
export function onChange(field, changed) {
  field.addEventListener("change", changed);
  for (const jQuery of [window.jQuery, window.django?.jQuery]) jQuery?.(field).on("change", changed);
}
