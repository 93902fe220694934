// Buttons beside a field that fill it in: amounts, and moments from now on.
import { localInput } from "./app.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-preset],[data-seconds]");
  if (!button) return;
  const form = button.form || button.closest("form");
  const field = form.elements[button.closest("[data-for]").dataset.for];
  const { preset, seconds } = button.dataset;
  if (preset !== undefined) field.value = preset;
  else field.value = seconds === "0" ? "" : localInput(new Date(Date.now() + Number(seconds) * 1000 + 59_999));
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

// A quota means nothing where there is no limit.
const unlimited = document.querySelector("[name=unlimited_quota]");
if (unlimited) {
  const place = document.querySelector("[data-quota]");
  const show = () => (place.hidden = unlimited.checked);
  unlimited.addEventListener("change", show);
  show();
}
