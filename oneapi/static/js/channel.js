// The list of channels: tests, balances, switches, priority and weight.
import { api, confirm, count, el, t, toast } from "./app.js";
import { confirmDelete, forEach, once, reload, rowOf, selected } from "./list.js";

const get = (address) => api(address, { method: "GET" });
const put = (data) => api("/api/channel/", { method: "PUT", data });

async function test(row, model = "") {
  const answer = await get(`/api/channel/test/${row.id}${model ? `?model=${encodeURIComponent(model)}` : ""}`);
  show(row.id, "test", t("{seconds} s", { seconds: Number(answer.time || 0).toFixed(2) }), answer.time);
  return [answer.modelName, t("{seconds} s", { seconds: Number(answer.time || 0).toFixed(2) })].filter(Boolean).join(" · ");
}

async function balance(row) {
  const answer = await get(`/api/channel/update_balance/${row.id}`);
  const amount = Number(answer.balance ?? answer.data ?? 0).toFixed(2);
  const cell = document.querySelector(`tr[data-id="${row.id}"] [data-cell=balance] button`);
  if (cell) cell.firstChild.textContent = amount;
  return amount;
}

function show(id, name, text, seconds) {
  const cell = document.querySelector(`tr[data-id="${id}"] [data-cell=${name}]`);
  if (!cell) return;
  const colour = seconds <= 1 ? "green" : seconds <= 3 ? "lime" : seconds <= 5 ? "yellow" : "red";
  cell.replaceChildren(el("span", { class: `badge bg-${colour}-lt` }, text), el("div", { class: "cell-note" }, t("just now")));
}

const failedTest = (row) => (error) => {
  show(row.id, "test", t("failed"), Infinity);
  throw error;
};
const remove = (row) => api(`/api/channel/${row.id}`, { method: "DELETE" });

const BULK = {
  test: async (rows) => {
    await forEach(rows, t("Testing channels"), (row) => test(row).catch(failedTest(row)));
  },
  balance: async (rows) => {
    await forEach(rows, t("Asking for balances"), balance);
  },
  enable: async (rows) => {
    if (await forEach(rows, t("Enabling channels"), (row) => put({ id: row.id, status: 1 }).then(() => ""))) reload();
  },
  disable: async (rows) => {
    if (await forEach(rows, t("Disabling channels"), (row) => put({ id: row.id, status: 2 }).then(() => ""))) reload();
  },
  delete: async (rows) => {
    if (!(await confirmDelete(t(rows.length === 1 ? "the channel" : "channels"), rows))) return;
    if (await forEach(rows, t("Deleting channels"), (row) => remove(row).then(() => ""))) reload();
  },
};

async function listed(extra = "") {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of new URLSearchParams(extra)) query.set(name, value);
  return (await get(`/admin/channel/ids?${query}`)).data;
}

const ALL = {
  test: async () => BULK.test(await listed()),
  "test-disabled": async () => BULK.test([...(await listed("status=2")), ...(await listed("status=3"))]),
  balance: async () => BULK.balance(await listed()),
  "delete-disabled": async () => {
    const doomed = [...(await listed("status=2")), ...(await listed("status=3"))];
    if (!doomed.length) return toast(t("No channel is disabled."), "info");
    await BULK.delete(doomed);
  },
};

let testing;
const ROW = {
  test: (row) => test(row).catch(failedTest(row)).then((text) => toast(`${row.name}: ${text}`)),
  balance: (row) => balance(row),
  enable: (row) => put({ id: row.id, status: 1 }).then(() => reload(t("{name} is enabled.", { name: row.name }))),
  disable: (row) => put({ id: row.id, status: 2 }).then(() => reload(t("{name} is disabled.", { name: row.name }))),
  delete: async (row) => {
    if (await confirmDelete(t("the channel"), [row])) await remove(row).then(() => reload(t("{name} is deleted.", { name: row.name })));
  },
  "test-model": async (row) => {
    const { data } = await get(`/admin/channel/models/${row.id}`);
    const select = document.getElementById("test-model-choice");
    select.replaceChildren(...data.models.map((model) => el("option", { value: model, selected: model === data.chosen }, model)));
    testing = row;
    document.getElementById("test-model").showModal();
  },
};

document.querySelector("[data-test-model]").addEventListener("submit", (event) => {
  event.preventDefault();
  const model = event.target.elements.model.value;
  once(event.submitter, () => test(testing, model).catch(failedTest(testing)).then((text) => {
    toast(`${testing.name}: ${text}`);
    document.getElementById("test-model").close();
  }));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-bulk],[data-row],[data-all]");
  if (!button) return;
  const { bulk, row, all } = button.dataset;
  if (bulk) BULK[bulk](selected());
  else if (row) once(button, () => ROW[row](rowOf(button)));
  else once(button, () => ALL[all]());
});

// Priority and weight are saved when the field is left or Enter is pressed.
document.addEventListener("change", async (event) => {
  const field = event.target;
  if (!field.matches("[data-inline]")) return;
  const row = rowOf(field);
  const saved = await once(field, () => put({ id: row.id, [field.dataset.inline]: Number(field.value) }));
  if (saved) {
    field.defaultValue = field.value;
    toast(t("Saved: {name}", { name: `${row.name}, ${field.getAttribute("aria-label").split(" ")[0]} ${count(Number(field.value))}` }));
  } else field.value = field.defaultValue;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("[data-inline]")) event.target.blur();
  if (event.key === "Escape" && event.target.matches("[data-inline]")) event.target.value = event.target.defaultValue;
});
