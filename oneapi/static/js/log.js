// The list of logs: receipts without leaving it, the sum of what is listed, and clearing away what is old.
import { api, confirm, el, localize, money, t, Failure } from "./app.js";
import { once, reload } from "./list.js";

const dialog = document.getElementById("receipt");
const place = dialog.querySelector("[data-receipt]");

async function showReceipt(id) {
  const response = await fetch(`/admin/log/receipt/${id}`);
  if (!response.ok) throw new Failure(t("The server answered {status}.", { status: response.status }), null, response.status);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  place.replaceChildren(...document.importNode(page.body, true).childNodes);
  localize(place);
  dialog.showModal();
}

/** The filters of the page, as /api names them. */
function asked() {
  const query = new URLSearchParams(location.search);
  const names = { type: "type", start: "start_timestamp", end: "end_timestamp", model: "model_name", token: "token_name", username: "username", channel: "channel", request_id: "request_id" };
  const found = new URLSearchParams();
  for (const [ours, theirs] of Object.entries(names)) if (query.get(ours)) found.set(theirs, query.get(ours));
  return found;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-receipt-of],[data-sum],[data-prune]");
  if (!button) return;
  if (button.dataset.receiptOf) once(button, () => showReceipt(button.dataset.receiptOf));
  else if (button.dataset.sum) {
    once(button, async () => {
      const { data } = await api(`${button.dataset.sum}?${asked()}`, { method: "GET" });
      button.after(el("strong", { class: "ms-2" }, money(data.quota, 6)));
      button.hidden = true;
    });
  } else document.getElementById("prune").showModal();
});

document.querySelector("[data-prune-form]")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.elements.before;
  const before = Math.floor(new Date(field.value).getTime() / 1000);
  if (!before) return;
  document.getElementById("prune").close();
  const date = new Date(before * 1000).toLocaleString(document.documentElement.lang);
  if (!(await confirm(t("Delete all logs of requests and tests from before {date}? This cannot be undone.", { date }), { label: t("Delete") }))) return;
  await once(event.submitter, async () => {
    const { data } = await api(`/api/log/?target_timestamp=${before}`, { method: "DELETE" });
    reload(t("{count} rows were deleted.", { count: data ?? 0 }));
  });
});
