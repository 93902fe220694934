// The list of redemption codes.
import { api, copy, t } from "./app.js";
import { confirmDelete, forEach, once, reload, rowOf, selected } from "./list.js";

const status = (row, to) => api("/api/redemption/?status_only=1", { method: "PUT", data: { id: row.id, status: to } });
const remove = (row) => api(`/api/redemption/${row.id}`, { method: "DELETE" });

const BULK = {
  enable: async (rows) => (await forEach(rows, t("Enabling codes"), (row) => status(row, 1).then(() => ""))) && reload(),
  disable: async (rows) => (await forEach(rows, t("Disabling codes"), (row) => status(row, 2).then(() => ""))) && reload(),
  delete: async (rows) => {
    if (!(await confirmDelete(t(rows.length === 1 ? "the code" : "codes"), rows))) return;
    if (await forEach(rows, t("Deleting codes"), (row) => remove(row).then(() => ""))) reload();
  },
};
const ROW = {
  copy: async (row) => copy((await api(`/admin/redemption/code/${row.id}`, { method: "GET" })).data),
  enable: (row) => status(row, 1).then(() => reload(t("{name} is enabled.", row))),
  disable: (row) => status(row, 2).then(() => reload(t("{name} is disabled.", row))),
  delete: async (row) => {
    if (await confirmDelete(t("the code"), [row])) await remove(row).then(() => reload(t("{name} is deleted.", row)));
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-bulk],[data-row]");
  if (!button) return;
  if (button.dataset.bulk) BULK[button.dataset.bulk](selected());
  else once(button, () => ROW[button.dataset.row](rowOf(button)));
});
