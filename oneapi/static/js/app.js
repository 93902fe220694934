// What every page has: fetches, toasts, confirmations, forms, copying, moments, selects. See oneapi/admin/view.py.

const texts = JSON.parse(document.getElementById("texts")?.textContent || "{}");
const language = document.documentElement.lang;

/** The text in the reader's language; `{name}` is filled in. */
export function t(text, values = {}) {
  return (texts[text] || text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** An element: el("a", {href: "/x", class: "btn"}, "text", child). Text is text, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";
const icons = document.querySelector("meta[name=icons]")?.content;

export function icon(name, css = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${css}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${icons}#${name}`);
  svg.append(use);
  return svg;
}

// ---- asking the server ----

export class Failure extends Error {
  constructor(message, field, status, answer = {}) {
    super(message);
    this.field = field;
    this.status = status;
    this.answer = answer;
  }
}

const csrf = () => document.querySelector("meta[name=csrf-token]")?.content || "";

/** Sends JSON and gives the answer's object; throws a Failure with the server's words. */
export async function api(address, { method = "POST", data, signal } = {}) {
  const headers = { Accept: "application/json", "X-CSRFToken": csrf(), "Accept-Language": language };
  if (data !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address, { method, headers, signal, body: data === undefined ? undefined : JSON.stringify(data) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(t("The server cannot be reached."), null, 0);
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401 && answer.location) {
    location.assign(answer.location);
    return new Promise(() => {});
  }
  if (!response.ok || answer.success === false) {
    throw new Failure(answer.message || t("The server answered {status}.", { status: response.status }),
      answer.field || response.headers.get("X-Refused-Field"), response.status, answer);
  }
  return answer;
}

// ---- telling ----

const TOAST_ICONS = { success: "circle-check", danger: "alert-circle", info: "info-circle" };

/** A short notice in the corner. Failures stay until they are closed. */
export function toast(message, kind = "success") {
  const box = document.getElementById("toasts");
  const close = el("button", { type: "button", class: "btn-close ms-auto", "aria-label": t("Close") });
  const shown = el("div", { class: `toast-note toast-${kind}`, role: kind === "danger" ? "alert" : "status" },
    icon(TOAST_ICONS[kind]), el("div", {}, message), close);
  const remove = () => shown.remove();
  close.addEventListener("click", remove);
  box.append(shown);
  if (kind !== "danger") setTimeout(remove, 5000);
}

/** Shows a toast on the page that comes next. */
export function toastNext(message) {
  if (message) sessionStorage.setItem("toast", message);
}

/** Asks before something that cannot be taken back; resolves to true or false. With `typed`, that text must be typed. */
export function confirm(message, { label = t("Delete"), kind = "danger", typed = "" } = {}) {
  const dialog = document.getElementById("confirm");
  const button = dialog.querySelector("[value=yes]");
  const input = dialog.querySelector("input");
  dialog.querySelector("[data-message]").textContent = message;
  button.textContent = label;
  button.className = `btn btn-${kind}`;
  input.parentElement.hidden = !typed;
  input.value = "";
  dialog.querySelector("[data-typed]").textContent = typed ? t("Type “{typed}” to confirm.", { typed }) : "";
  const check = () => (button.disabled = typed !== "" && input.value !== typed);
  input.oninput = check;
  check();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export function busy(button, is) {
  button.toggleAttribute("disabled", is);
  button.classList.toggle("btn-loading", is);
}

// ---- copying ----

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS there is no clipboard; the old way needs something selected, within the topmost dialog.
    const area = el("textarea", { class: "visually-hidden", readonly: true, "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) {
      toast(t("Copying did not work; please select the text yourself."), "danger");
      return;
    }
  }
  toast(t("Copied."));
}

// ---- forms ----

/** A form's fields as an object. `data-kind` makes numbers ("int", "float"), lists ("list") and truths of texts. */
export function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.name === "csrf_token") continue;
    if (field.type === "checkbox") found[field.name] = field.checked;
    else if (field.type === "radio") { if (field.checked) found[field.name] = field.value; }
    else if (field.multiple) found[field.name] = [...field.selectedOptions].map((option) => option.value);
    else if (field.dataset.kind === "int") { if (field.value !== "") found[field.name] = Math.round(Number(field.value)); }
    else if (field.dataset.kind === "float") { if (field.value !== "") found[field.name] = Number(field.value); }
    else if (field.dataset.kind === "time") found[field.name] = field.value ? Math.floor(new Date(field.value).getTime() / 1000) : -1;
    else if (field.tagName !== "BUTTON") found[field.name] = field.value;
  }
  return found;
}

export function clearErrors(form) {
  form.querySelectorAll(".is-invalid").forEach((field) => {
    field.classList.remove("is-invalid");
    field.removeAttribute("aria-invalid");
  });
  form.querySelectorAll("[data-error]").forEach((place) => (place.textContent = ""));
}

/** Shows a failure beside its field, or else above the form's buttons. */
export function showError(form, failure) {
  const field = failure.field && form.elements[failure.field];
  const place = field && form.querySelector(`[data-error="${failure.field}"]`);
  if (place) {
    field.classList.add("is-invalid");
    field.setAttribute("aria-invalid", "true");
    place.textContent = failure.message;
    field.focus();
    return;
  }
  const general = form.querySelector('[data-error=""]');
  if (general) {
    general.textContent = failure.message;
    general.scrollIntoView({ block: "nearest" });
  } else toast(failure.message, "danger");
}

function follow(answer) {
  if (answer.location) {
    toastNext(answer.message);
    location.assign(answer.location);
  } else {
    toastNext(answer.message);
    location.reload();
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !("ajax" in form.dataset)) return;
  event.preventDefault();
  const button = event.submitter || form.querySelector("[type=submit]");
  clearErrors(form);
  busy(button, true);
  try {
    const answer = await api(form.getAttribute("action") || location.pathname, { data: values(form) });
    // A page that wants to go on by itself listens to "done" and prevents the default.
    const goesOn = form.dispatchEvent(new CustomEvent("done", { detail: answer, bubbles: true, cancelable: true }));
    if (goesOn) follow(answer);
    else busy(button, false);
  } catch (error) {
    busy(button, false);
    if (!(error instanceof Failure)) throw error;
    showError(form, error);
  }
});

document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.classList?.contains("is-invalid")) return;
  field.classList.remove("is-invalid");
  field.removeAttribute("aria-invalid");
  const place = field.form?.querySelector(`[data-error="${field.name}"]`);
  if (place) place.textContent = "";
});

// ---- clicks ----

document.addEventListener("click", async (event) => {
  const target = event.target.closest?.("[data-copy],[data-post],[data-set-theme],[data-language],[data-reveal],[data-open],[data-close]");
  if (!target) return;
  const data = target.dataset;
  if ("copy" in data) copy(data.copy || document.querySelector(data.copyFrom).textContent);
  else if ("setTheme" in data) window.setTheme(data.setTheme);
  else if ("language" in data) {
    document.cookie = `language=${data.language};path=/;max-age=31536000;samesite=lax`;
    location.reload();
  } else if ("reveal" in data) {
    const field = target.closest(".input-group").querySelector("input");
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    target.setAttribute("aria-pressed", String(!shown));
  } else if ("open" in data) document.querySelector(data.open).showModal();
  else if ("close" in data) target.closest("dialog").close();
  else {
    event.preventDefault();
    if (data.confirm && !(await confirm(data.confirm, { label: data.confirmLabel || target.textContent.trim() || undefined,
      kind: data.confirmKind || "danger", typed: data.confirmTyped || "" }))) return;
    busy(target, true);
    try {
      follow(await api(data.post, { data: data.body ? JSON.parse(data.body) : {} }));
    } catch (error) {
      busy(target, false);
      if (!(error instanceof Failure)) throw error;
      toast(error.message, "danger");
    }
  }
});

// A click beside a dialog closes it, as Escape does.
document.addEventListener("mousedown", (event) => {
  if (event.target instanceof HTMLDialogElement && !("stays" in event.target.dataset)) event.target.close();
});

// ---- moments ----

const DATE = language === "zh-CN" ? "short" : "medium"; // 2026/11/25, Nov 25, 2026
const FORMATS = {
  time: new Intl.DateTimeFormat(language, { dateStyle: DATE, timeStyle: "short" }),
  date: new Intl.DateTimeFormat(language, { dateStyle: DATE }),
  recent: new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
  exact: new Intl.DateTimeFormat(language, { dateStyle: DATE, timeStyle: "medium" }),
};
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];

export function ago(date) {
  let amount = (date - Date.now()) / 1000;
  for (const [size, unit] of STEPS) {
    if (Math.abs(amount) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return "";
}

/** A moment in a style of FORMATS, or "ago"; "recent" tells the year only where it is another one. */
function written(moment, style) {
  if (style === "ago") return ago(moment);
  const isOld = style === "recent" && moment.getFullYear() !== new Date().getFullYear();
  return FORMATS[isOld ? "exact" : style].format(moment);
}

/** Writes the moments within an element in the reader's time zone. */
export function localize(within = document) {
  within.querySelectorAll("time[data-when]").forEach((element) => {
    const moment = new Date(element.dateTime);
    element.title = FORMATS.exact.format(moment);
    element.textContent = written(moment, element.dataset.when);
  });
  within.querySelectorAll("input[data-unix]").forEach((field) => {
    const unix = Number(field.dataset.unix);
    if (unix > 0) field.value = localInput(new Date(unix * 1000));
  });
}

/** The value of a datetime-local field. */
export function localInput(date) {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

// ---- money ----

const unit = Number(document.body.dataset.quotaPerUnit || 500000);
const inCurrency = document.body.dataset.inCurrency === "true";
const compact = new Intl.NumberFormat(language === "zh-CN" ? "en" : language, { notation: "compact", maximumFractionDigits: 1 });

export function money(quota, places = 2) {
  if (!inCurrency) return count(quota);
  const dollars = quota / unit;
  if (Math.abs(dollars) >= 1e7) return `${dollars < 0 ? "-" : ""}$${compact.format(Math.abs(dollars))}`;
  return `${dollars < 0 ? "-" : ""}$${Math.abs(dollars).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places })}`;
}

/** Decimal places with which an amount of money, however small, is told. */
export function placesOf(quota) {
  const dollars = Math.abs(quota) / unit;
  return dollars > 0 && dollars < 1 ? Math.min(6, 2 + Math.floor(-Math.log10(dollars))) : 2;
}

export function count(number) {
  return Math.abs(number) < 10000 ? number.toLocaleString("en") : compact.format(number);
}

// ---- selects ----

let selects;

/** Makes `<select data-select>` searchable; loads the library at the first one. Options: data-create, data-max. */
export async function enhance(within = document) {
  const found = [...within.querySelectorAll("select[data-select]:not(.tomselected)")];
  if (!found.length) return;
  selects ||= loadSelects();
  await selects;
  for (const select of found) {
    const plugins = select.multiple ? { remove_button: { title: t("Remove") } } : {};
    // What stands in its place has its label; the field itself is for forms only.
    select.setAttribute("aria-hidden", "true");
    new window.TomSelect(select, {
      create: "create" in select.dataset,
      plugins,
      maxOptions: 2000,
      refreshThrottle: 0, // else Enter pressed by a quick typist takes what was marked before
      hideSelected: select.multiple,
      closeAfterSelect: !select.multiple,
      dropdownParent: select.closest("dialog") ? null : "body",
      placeholder: select.getAttribute("placeholder") || undefined,
      render: {
        option_create: (data, escape) => `<div class="create">${escape(t("Add"))} <strong>${escape(data.input)}</strong>…</div>`,
        no_results: () => `<div class="no-results">${t("Nothing found")}</div>`,
      },
    });
  }
}

function loadSelects() {
  const { selectScript, selectStyle } = document.body.dataset;
  const loaded = (element) => new Promise((resolve, reject) => {
    element.onload = resolve;
    element.onerror = reject;
    document.head.append(element);
  });
  return Promise.all([
    loaded(el("link", { rel: "stylesheet", href: selectStyle })),
    loaded(el("script", { src: selectScript })),
  ]);
}

// ---- the start ----

const waiting = sessionStorage.getItem("toast");
if (waiting) {
  sessionStorage.removeItem("toast");
  toast(waiting);
}
for (const note of document.querySelectorAll("[data-flash]")) toast(note.textContent, note.dataset.flash);
localize();
enhance();
