// The list of users.
import { api, confirm, t } from "./app.js";
import { confirmDelete, forEach, once, reload, rowOf, selected } from "./list.js";

const manage = (row, action) => api("/api/user/manage", { data: { username: row.name, action } });
const remove = (row) => api(`/api/user/${row.id}`, { method: "DELETE" });

const BULK = {
  enable: async (rows) => (await forEach(rows, t("Enabling users"), (row) => manage(row, "enable").then(() => ""))) && reload(),
  disable: async (rows) => (await forEach(rows, t("Disabling users"), (row) => manage(row, "disable").then(() => ""))) && reload(),
  delete: async (rows) => {
    if (!(await confirmDelete(t(rows.length === 1 ? "the user" : "users"), rows))) return;
    if (await forEach(rows, t("Deleting users"), (row) => remove(row).then(() => ""))) reload();
  },
};
const ROW = {
  enable: (row) => manage(row, "enable").then(() => reload(t("{name} is enabled.", row))),
  disable: (row) => manage(row, "disable").then(() => reload(t("{name} is disabled.", row))),
  promote: async (row) => {
    const agreed = await confirm(t("Make {name} an administrator? Administrators see all channels, users and logs.", row), { label: t("Make administrator"), kind: "primary" });
    if (agreed) await manage(row, "promote").then(() => reload(t("{name} is an administrator now.", row)));
  },
  demote: (row) => manage(row, "demote").then(() => reload(t("{name} is a common user now.", row))),
  delete: async (row) => {
    if (await confirmDelete(t("the user"), [row])) await remove(row).then(() => reload(t("{name} is deleted.", row)));
  },
  "top-up": (row) => {
    const dialog = document.getElementById("top-up");
    const form = dialog.querySelector("form");
    form.reset();
    form.elements.id.value = row.id;
    dialog.querySelector("[data-top-up-name]").textContent = row.name;
    dialog.showModal();
    form.elements.quota.focus();
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-bulk],[data-row]");
  if (!button) return;
  if (button.dataset.bulk) BULK[button.dataset.bulk](selected());
  else once(button, async () => ROW[button.dataset.row](rowOf(button)));
});
