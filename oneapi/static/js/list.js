// What lists share: selection, work on many rows with its progress, filters. See oneapi/templates/lists.html.
import { api, busy, confirm, el, icon, t, toast, toastNext, Failure } from "./app.js";

const checks = () => [...document.querySelectorAll("[data-check]")];

export function selected() {
  return checks().filter((box) => box.checked).map((box) => ({ id: Number(box.value), name: box.dataset.name }));
}

function showSelection() {
  const bar = document.querySelector("[data-bulk-bar]");
  if (!bar) return;
  const count = selected().length;
  bar.hidden = count === 0;
  bar.querySelector("[data-bulk-count]").textContent = count;
  const all = document.querySelector("[data-check-all]");
  all.checked = count > 0 && count === checks().length;
  all.indeterminate = count > 0 && !all.checked;
}

document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.matches("[data-check-all]")) checks().forEach((box) => (box.checked = field.checked));
  if (field.matches("[data-check], [data-check-all]")) showSelection();
  if (field.matches("select[data-submits]")) field.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-filters-toggle]");
  if (toggle) {
    const shown = toggle.nextElementSibling.classList.toggle("show");
    toggle.setAttribute("aria-expanded", String(shown));
  }
  if (!event.target.closest("[data-bulk-clear]")) return;
  checks().forEach((box) => (box.checked = false));
  showSelection();
});

// Empty boxes do not make the address longer, and moments travel as Unix seconds.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-filters]")) return;
  for (const field of [...form.elements]) {
    if (!field.name) continue;
    if (field.dataset.kind === "time" && field.value) {
      form.append(el("input", { type: "hidden", name: field.name, value: Math.floor(new Date(field.value).getTime() / 1000) }));
      field.disabled = true;
    } else if (!field.value) field.disabled = true;
  }
  setTimeout(() => [...form.elements].forEach((field) => (field.disabled = false)));
});

/** Does something for each row, three at a time, in a dialog that tells how each went. Resolves when it is closed. */
export async function forEach(rows, title, work) {
  const dialog = document.getElementById("progress");
  const [bar, summary, results] = [".progress-bar", "[data-summary]", "[data-results]"].map((one) => dialog.querySelector(one));
  dialog.querySelector("[data-title]").textContent = title;
  results.replaceChildren();
  let stopped = false;
  let done = 0;
  let failed = 0;
  const show = () => {
    const percent = rows.length ? Math.round((100 * done) / rows.length) : 100;
    bar.style.width = `${percent}%`;
    bar.setAttribute("aria-valuenow", percent);
    summary.textContent = t("{done} of {all} done, {failed} failed", { done, all: rows.length, failed });
  };
  const stop = () => dialog.close();
  dialog.querySelectorAll("[data-stop]").forEach((button) => (button.onclick = stop));
  const closed = new Promise((resolve) =>
    dialog.addEventListener("close", () => { stopped = true; resolve(); }, { once: true }));
  show();
  dialog.showModal();
  const waiting = [...rows];
  const one = async () => {
    for (let row = waiting.shift(); row && !stopped; row = waiting.shift()) {
      let line;
      try {
        const text = await work(row);
        line = el("li", {}, icon("circle-check", "text-green"), el("span", {}, row.name || `#${row.id}`), el("span", { class: "result-text" }, text || t("done")));
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failed += 1;
        line = el("li", {}, icon("circle-x", "text-red"), el("span", {}, row.name || `#${row.id}`), el("span", { class: "result-text" }, error.message));
      }
      done += 1;
      results.prepend(line);
      show();
    }
  };
  await Promise.all([one(), one(), one()]);
  await closed;
  return done - failed;
}

/** One row's action: the button waits, a failure is told. */
export async function once(button, work) {
  busy(button, true);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    toast(error.message, "danger");
    return undefined;
  } finally {
    busy(button, false);
  }
}

/** Whoever deletes is told what it is that goes. */
export function confirmDelete(what, rows) {
  const names = rows.slice(0, 5).map((row) => `“${row.name}”`).join(", ") + (rows.length > 5 ? "…" : "");
  return confirm(rows.length === 1 ? t("Delete {what} {name}? This cannot be undone.", { what, name: names })
    : t("Delete {count} {what}: {names}? This cannot be undone.", { count: rows.length, what, names }),
  { label: t("Delete"), typed: rows.length > 20 ? String(rows.length) : "" });
}

export function reload(message) {
  toastNext(message);
  location.reload();
}

export const rowOf = (element) => {
  const { id, name, status } = element.closest("tr").dataset;
  return { id: Number(id), name, status: Number(status) };
};

export { api };
