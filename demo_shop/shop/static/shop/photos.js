// Show one picture of the product at a time, chosen by its thumbnail. Without this script, all are shown in a column.
for (const photos of document.querySelectorAll("[data-photos]")) {
  const slides = [...photos.querySelectorAll(".photos__slide")];
  const thumbs = [...photos.querySelectorAll("[data-thumb]")];
  const show = (id) => {
    slides.forEach((slide) => slide.classList.toggle("is-shown", slide.id === id));
    thumbs.forEach((thumb) => {
      if (thumb.hash === `#${id}`) thumb.setAttribute("aria-current", "true");
      else thumb.removeAttribute("aria-current");
    });
  };
  for (const thumb of thumbs) {
    thumb.addEventListener("click", (event) => {
      event.preventDefault();
      show(thumb.hash.slice(1));
    });
  }
  if (slides.length) {
    photos.classList.add("photos--live");
    show(slides.some((slide) => `#${slide.id}` === location.hash) ? location.hash.slice(1) : slides[0].id);
  }
}
