// Groups: a ratio is saved when its field is left, limits in a dialog; a group that goes is named first.
import { api, clearErrors, confirm, t, toast } from "./app.js";
import { once, reload } from "./list.js";

document.addEventListener("change", async (event) => {
  const field = event.target;
  if (!field.matches("[data-ratio]")) return;
  const saved = await once(field, () => api("/admin/group/save", { data: { name: field.dataset.ratio, ratio: field.value } }));
  if (saved) {
    field.defaultValue = field.value;
    toast(saved.message);
  } else field.value = field.defaultValue;
});

const dialog = document.getElementById("group-limits");

function openLimits({ limits, fields }) {
  const form = dialog.querySelector("form");
  clearErrors(form);
  form.reset();
  form.elements.name.value = limits;
  dialog.querySelector("[data-limits-of]").textContent = limits;
  for (const [name, most] of Object.entries(JSON.parse(fields))) form.elements[name].value = most;
  dialog.showModal();
}

document.addEventListener("click", async (event) => {
  const opener = event.target.closest("[data-limits]");
  if (opener) openLimits(opener.dataset);
  const button = event.target.closest("[data-remove]");
  if (!button) return;
  const name = button.dataset.remove;
  if (!(await confirm(t("Remove the group “{name}”? Channels that serve it stay as they are.", { name }), { label: t("Remove") }))) return;
  const removed = await once(button, () => api("/admin/group/remove", { data: { name } }));
  if (removed) reload(removed.message);
});
