// The form of a channel: fields by type, models, the mapping.
import { api, busy, clearErrors, el, icon, showError, t, toast, values, Failure } from "./app.js";

const form = document.querySelector("form[data-channel]");
const types = JSON.parse(document.getElementById("channel-types").textContent);
const models = form.elements.models;
const isNew = form.elements.id.value === "0";

const one = (name) => form.querySelector(`[data-${name}]`);
const chosen = () => [...models.selectedOptions].map((option) => option.value);

// tom-select keeps its own list; before it is there, the plain select is enough.
function setModels(names) {
  const select = models.tomselect;
  if (!select) {
    models.replaceChildren(...names.map((name) => el("option", { value: name, selected: true }, name)));
  } else {
    names.forEach((name) => select.addOption({ value: name, text: name }));
    select.setValue(names);
  }
  showCount();
}

function showCount() {
  one("model-count").textContent = t("{count} chosen.", { count: chosen().length });
}

// ---- the type ----

let previous;

function showType() {
  const type = form.elements.type.value;
  const declared = types[type];
  form.querySelectorAll("[data-for-type]").forEach((fields) => {
    fields.hidden = fields.disabled = fields.dataset.forType !== type;
  });
  const [note, retired] = [one("note"), one("retired")];
  note.textContent = declared.note;
  note.hidden = !declared.note;
  retired.textContent = declared.retired;
  retired.hidden = !declared.retired;
  const key = form.elements.key;
  key.placeholder = declared.key_hint;
  key.toggleAttribute("required", isNew && !declared.has_secrets);
  form.elements.base_url.placeholder = declared.base_url;
  form.elements.base_url.toggleAttribute("required", !declared.base_url && !declared.has_secrets);
  form.querySelectorAll("[data-pool]").forEach((part) => (part.hidden = declared.has_secrets));
  one("models-card").hidden = !declared.needs_models;
  one("fetch").hidden = !declared.may_list;
  // Of the type chosen before nothing may stay behind that was filled in by it.
  const untouched = previous !== undefined && String(chosen().sort()) === String([...types[previous].models].sort());
  if (isNew && previous === undefined && !chosen().length) setModels([]);
  else if (isNew && untouched && chosen().length) setModels(declared.models);
  const select = models.tomselect;
  if (select) declared.models.forEach((name) => select.addOption({ value: name, text: name }));
  else declared.models.forEach((name) => {
    if (![...models.options].some((option) => option.value === name)) models.append(el("option", { value: name }, name));
  });
  previous = type;
}

form.elements.type.addEventListener("change", showType);
models.addEventListener("change", showCount);
one("fill").addEventListener("click", () => setModels([...new Set([...chosen(), ...types[form.elements.type.value].models])]));
one("clear").addEventListener("click", () => setModels([]));

// A pasted list of names becomes entries of their own.
form.addEventListener("paste", (event) => {
  const select = models.tomselect;
  if (!select || !select.control.contains(event.target)) return;
  const names = event.clipboardData.getData("text").split(/[\s,，]+/).filter(Boolean);
  if (names.length < 2) return;
  event.preventDefault();
  setModels([...new Set([...chosen(), ...names])]);
});

// ---- what the provider lists ----

const dialog = document.getElementById("offered");
const offered = dialog.querySelector("[data-offered]");
const boxes = () => [...offered.querySelectorAll("input")];

function countOffered() {
  dialog.querySelector("[data-offered-count]").textContent = t("{count} chosen.", { count: boxes().filter((box) => box.checked).length });
}

one("fetch").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  clearErrors(form);
  busy(button, true);
  try {
    const { data } = await api(button.dataset.fetch, { data: values(form) });
    if (!data.length) return toast(t("The provider lists no model."), "info");
    const present = new Set(chosen());
    offered.replaceChildren(...data.map((name) => el("label", { "data-name": name.toLowerCase() },
      el("input", { type: "checkbox", class: "form-check-input", value: name, checked: present.size === 0 || present.has(name) }), name)));
    countOffered();
    dialog.showModal();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    toast(error.message, "danger");
  } finally {
    busy(button, false);
  }
});
dialog.querySelector("[data-offered-search]").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  offered.querySelectorAll("label").forEach((label) => (label.hidden = !label.dataset.name.includes(text)));
});
const check = (is) => () => {
  boxes().forEach((box) => { if (!box.parentElement.hidden) box.checked = is; });
  countOffered();
};
dialog.querySelector("[data-offered-all]").addEventListener("click", check(true));
dialog.querySelector("[data-offered-none]").addEventListener("click", check(false));
offered.addEventListener("change", countOffered);
dialog.querySelector("[data-offered-take]").addEventListener("click", () => {
  const listed = new Set(boxes().map((box) => box.value));
  const kept = chosen().filter((name) => !listed.has(name));
  setModels([...kept, ...boxes().filter((box) => box.checked).map((box) => box.value)]);
  dialog.close();
});

// ---- the mapping: lines, or their JSON ----

const text = form.elements.model_mapping;
const rows = one("mapping-rows");
const mappingError = one("mapping-error");

function addRow(from = "", to = "") {
  const remove = el("button", { type: "button", class: "btn btn-icon btn-sm btn-ghost", "aria-label": t("Remove the line") }, icon("x"));
  const line = el("div", { class: "mapping-row" },
    el("input", { class: "form-control form-control-sm", value: from, "aria-label": t("Asked for"), placeholder: "gpt-4" }), icon("arrow-right"),
    el("input", { class: "form-control form-control-sm", value: to, "aria-label": t("Asked of the provider"), placeholder: "gpt-4o" }), remove);
  remove.addEventListener("click", () => { line.remove(); fromRows(); });
  line.addEventListener("input", fromRows);
  rows.append(line);
  return line;
}

function fromRows() {
  const pairs = [...rows.children].map((line) => [...line.querySelectorAll("input")].map((field) => field.value.trim()));
  const filled = pairs.filter(([from]) => from);
  const twice = filled.find(([from], at) => filled.findIndex(([other]) => other === from) !== at);
  mappingError.textContent = twice ? t("{name} stands there twice; the last line counts.", { name: twice[0] }) : "";
  text.value = filled.length ? JSON.stringify(Object.fromEntries(filled), null, 2) : "";
}

/** Shows the JSON as lines, where it is an object of texts; says what is wrong where it is not. */
function fromText() {
  let mapping = {};
  try {
    mapping = text.value.trim() ? JSON.parse(text.value) : {};
    if (typeof mapping !== "object" || Array.isArray(mapping) || Object.values(mapping).some((value) => typeof value !== "string")) {
      throw new Error(t("it must be an object of texts"));
    }
  } catch (error) {
    mappingError.textContent = t("This is no mapping: {reason}", { reason: error.message });
    return;
  }
  mappingError.textContent = "";
  rows.replaceChildren();
  for (const [from, to] of Object.entries(mapping)) addRow(from, to);
}

text.addEventListener("input", fromText);
one("mapping-add").addEventListener("click", () => addRow().querySelector("input").focus());
one("mapping-json").addEventListener("click", (event) => {
  const place = one("mapping-text");
  place.hidden = !place.hidden;
  event.currentTarget.setAttribute("aria-expanded", String(!place.hidden));
});

// ---- the stored key ----

one("reveal-key")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  busy(button, true);
  try {
    const { data } = await api(button.dataset.revealKey);
    const place = one("revealed");
    place.textContent = data;
    place.hidden = false;
    button.hidden = true;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    showError(form, error);
  } finally {
    busy(button, false);
  }
});

fromText();
showType();
showCount();
