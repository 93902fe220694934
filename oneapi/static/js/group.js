// Groups: a ratio is saved when its field is left; a group that goes is named first.
import { api, confirm, t, toast } from "./app.js";
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

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-remove]");
  if (!button) return;
  const name = button.dataset.remove;
  if (!(await confirm(t("Remove the group “{name}”? Channels that serve it stay as they are.", { name }), { label: t("Remove") }))) return;
  const removed = await once(button, () => api("/admin/group/remove", { data: { name } }));
  if (removed) reload(removed.message);
});
