// Settings: only what was touched is sent; each fault is shown beside its own field.
import { api, busy, clearErrors, t, toast, toastNext, Failure } from "./app.js";

const form = document.querySelector("form[data-settings]");
const touched = new Map();
const state = form.querySelector("[data-state]");

const textOf = (field) => (field.type === "checkbox" ? (field.checked ? "true" : "false") : field.value);
const before = new Map([...form.elements].filter((field) => field.name).map((field) => [field.name, textOf(field)]));

function look(field) {
  if (!field.name || field.name.startsWith("forget-")) return;
  if (textOf(field) === before.get(field.name)) touched.delete(field.name);
  else touched.set(field.name, textOf(field));
  showState();
}

function changes() {
  const found = Object.fromEntries(touched);
  form.querySelectorAll("[name^=forget-]:checked").forEach((box) => (found[box.name.slice(7)] = null));
  return found;
}

function showState() {
  const count = Object.keys(changes()).length;
  state.textContent = count ? t("{count} changed", { count }) : "";
  form.querySelector("[type=submit]").disabled = count === 0;
}

// A table of prices is judged while it is typed.
function judge(field) {
  if (field.dataset.json === undefined) return;
  let fault = "";
  try {
    const table = field.value.trim() ? JSON.parse(field.value) : {};
    if (typeof table !== "object" || table === null || Array.isArray(table)) fault = t("This must be a JSON object.");
    const wrong = fault || field.dataset.json !== "ratios" ? undefined : Object.entries(table).find(([, value]) => typeof value !== "number" || value < 0);
    if (wrong) fault = t("{name}: a ratio is a number of at least 0.", { name: wrong[0] });
  } catch (error) {
    fault = t("This is no JSON: {reason}", { reason: error.message });
  }
  form.querySelector(`[data-error="${field.name}"]`).textContent = fault;
  field.classList.toggle("is-invalid", fault !== "");
}

for (const kind of ["input", "change"]) {
  // On the document, after app.js has taken the old fault away.
  document.addEventListener(kind, (event) => {
    if (event.target.form !== form) return;
    look(event.target);
    judge(event.target);
    showState();
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  clearErrors(form);
  busy(button, true);
  try {
    const answer = await api(form.getAttribute("action"), { data: changes() });
    touched.clear();
    toastNext(answer.message);
    location.reload();
  } catch (error) {
    busy(button, false);
    if (!(error instanceof Failure)) throw error;
    toast(error.message, "danger");
    const faults = Object.entries(error.answer.errors || {});
    for (const [name, message] of faults) {
      form.querySelector(`[data-error="${name}"]`).textContent = message;
      form.elements[name].classList.add("is-invalid");
      form.elements[name].setAttribute("aria-invalid", "true");
    }
    if (faults.length) form.elements[faults[0][0]].focus();
  }
});

window.addEventListener("beforeunload", (event) => {
  if (touched.size) event.preventDefault();
});
showState();
