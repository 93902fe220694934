// Models and prices: found as one types.
import { t } from "./app.js";

const search = document.querySelector("[data-model-search]");
const rows = [...document.querySelectorAll("tr[data-model]")];
const found = document.querySelector("[data-found]");

function show() {
  const text = search.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = !row.dataset.model.includes(text);
    if (!row.hidden) count += 1;
  }
  found.textContent = t("{count} models", { count });
}
search?.addEventListener("input", show);
document.querySelector("select[name=group]")?.addEventListener("change", (event) => event.target.form.requestSubmit());
if (search) show();
