// The form of a rule: only the fields of the chosen action are shown, and the preview is loaded into the page.
import { onChange, rowOf } from "./fields.js";

function start() {
  const fields = document.getElementById("rule-fields");
  const action = document.getElementById("id_action");
  const when = document.getElementById("id_when");
  if (fields && action) {
    const own = JSON.parse(fields.textContent);
    const every = new Set(Object.values(own).flat());
    const show = (name, shown) => {
      const field = document.getElementById(`id_${name}`);
      if (shown || !field.matches("[aria-invalid=true]")) rowOf(field).hidden = !shown;
    };
    const update = () => {
      every.forEach((name) => show(name, (own[action.value] || []).includes(name)));
      show("triggers", when.value !== "always");
    };
    onChange(action, update);
    onChange(when, update);
    update();
  }

  const button = document.getElementById("rule-preview-button");
  const place = document.getElementById("rule-preview");
  if (!button || !place) return;
  button.type = "button"; // the Enter key saves the rule, as elsewhere in the admin, except in the fields of the preview
  button.closest("fieldset").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches("[name=preview_words], [name=preview_product]")) return;
    event.preventDefault();
    button.click();
  });
  button.addEventListener("click", async () => {
    button.disabled = true;
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(button.formAction, { method: "POST", body: new FormData(button.form) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const results = page.getElementById("rule-preview-results");
      if (!results) throw new Error(String(answer.status));
      place.replaceChildren(results);
    } catch {
      const failed = document.createElement("p");
      failed.className = "errornote";
      failed.textContent = place.dataset.failed;
      place.replaceChildren(failed);
    } finally {
      button.disabled = false;
      place.removeAttribute("aria-busy");
    }
  });
}

start();
