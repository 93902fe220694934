// The list of tokens: switching, deleting, and how a token is used.
import { api, copy, el, icon, t, toast } from "./app.js";
import { confirmDelete, forEach, once, reload, rowOf, selected } from "./list.js";

const status = (row, to) => api("/api/token/?status_only=1", { method: "PUT", data: { id: row.id, status: to } });
const remove = (row) => api(`/api/token/${row.id}`, { method: "DELETE" });
const keyOf = async (row) => `sk-${(await api(`/api/token/${row.id}`, { method: "GET" })).data.key}`;

const BULK = {
  enable: async (rows) => (await forEach(rows, t("Enabling tokens"), (row) => status(row, 1).then(() => ""))) && reload(),
  disable: async (rows) => (await forEach(rows, t("Disabling tokens"), (row) => status(row, 2).then(() => ""))) && reload(),
  delete: async (rows) => {
    if (!(await confirmDelete(t(rows.length === 1 ? "the token" : "tokens"), rows))) return;
    if (await forEach(rows, t("Deleting tokens"), (row) => remove(row).then(() => ""))) reload();
  },
};
const ROW = {
  copy: async (row) => copy(await keyOf(row)),
  use: async (row) => use(row.name, await keyOf(row)),
  enable: (row) => status(row, 1).then(() => reload(t("{name} is enabled.", row))),
  disable: (row) => status(row, 2).then(() => reload(t("{name} is disabled.", row))),
  delete: async (row) => {
    if (await confirmDelete(t("the token"), [row])) await remove(row).then(() => reload(t("{name} is deleted.", row)));
  },
};

// ---- how a token is used ----

const place = document.querySelector("[data-use]");
const field = (id) => document.getElementById(id);

/** The address people call: the configured one, unless it is the default, which nobody elsewhere reaches. */
function server() {
  const configured = place.dataset.server.replace(/\/+$/, "");
  return configured && !configured.includes("localhost") ? configured : location.origin;
}

/** Links as clients understand them. Source: One API's own menu. */
function clients(key, url) {
  const settings = JSON.stringify({ key, url });
  const lobe = JSON.stringify({ keyVaults: { openai: { apiKey: key, baseURL: `${url}/v1` } } });
  const found = [
    ["ChatGPT Next Web", `${(place.dataset.chat || "https://app.nextchat.dev").replace(/\/+$/, "")}/#/?settings=${encodeURIComponent(settings)}`],
    ["AMA", `ama://set-api-key?server=${encodeURIComponent(url)}&key=${encodeURIComponent(key)}`],
    ["OpenCat", `opencat://team/join?domain=${encodeURIComponent(url)}&token=${encodeURIComponent(key)}`],
    ["LobeChat", `https://lobehub.com/?settings=${encodeURIComponent(lobe)}`],
  ];
  return found;
}

const SNIPPETS = {
  curl: (key, url, model) => `curl ${url}/v1/chat/completions \\
  -H "Authorization: Bearer ${key}" \\
  -H "Content-Type: application/json" \\
  -d '${JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }] }).replaceAll("'", "'\\''")}'`,
  python: (key, url, model) => `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(`${url}/v1`)}, api_key=${JSON.stringify(key)})
answer = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": "Hello!"}],
)
print(answer.choices[0].message.content)`,
  node: (key, url, model) => `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(`${url}/v1`)}, apiKey: ${JSON.stringify(key)} });
const answer = await client.chat.completions.create({
  model: ${JSON.stringify(model)},
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(answer.choices[0].message.content);`,
};
let language = "curl";

const snippet = (key) => SNIPPETS[language](key, server(), field("use-model").value);
const isShown = () => field("use-key").type === "text";
const masked = (key) => `${key.slice(0, 6)}…${key.slice(-4)}`;

function showSnippet() {
  const key = field("use-key").value;
  place.querySelector("[data-snippet-text]").textContent = snippet(isShown() ? key : masked(key));
  place.querySelectorAll("[data-snippet]").forEach((tab) => {
    const is = tab.dataset.snippet === language;
    tab.classList.toggle("active", is);
    tab.setAttribute("aria-selected", String(is));
  });
}

function use(name, key) {
  field("use-title").textContent = t("Use “{name}”", { name });
  field("use-base").value = `${server()}/v1`;
  field("use-key").value = key;
  field("use-key").type = "password";
  place.querySelector("[data-use-links]").replaceChildren(...clients(key, server()).map(([client, link]) =>
    el("div", { class: "btn-group" },
      el("a", { class: "btn btn-sm", href: link, target: "_blank", rel: "noopener noreferrer" }, icon("external-link"), client),
      el("button", { type: "button", class: "btn btn-sm btn-icon", "data-copy": link, "aria-label": t("Copy the link: {client}", { client }) }, icon("copy")))));
  showSnippet();
  field("use").showModal();
}

place.addEventListener("click", (event) => {
  const button = event.target.closest("[data-use-copy],[data-use-both],[data-snippet],[data-snippet-copy],[data-reveal]");
  if (!button) return;
  const key = field("use-key").value;
  if (button.dataset.useCopy) copy(field(button.dataset.useCopy).value);
  else if ("useBoth" in button.dataset) copy(`${field("use-base").value}\n${key}`);
  else if (button.dataset.snippet) { language = button.dataset.snippet; showSnippet(); }
  else if ("snippetCopy" in button.dataset) copy(snippet(key));
  else setTimeout(showSnippet);
});
field("use-model").addEventListener("change", showSnippet);
field("use").addEventListener("close", () => {
  field("use-key").value = "";
  place.querySelector("[data-use-links]").replaceChildren();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-bulk],[data-row]");
  if (!button) return;
  if (button.dataset.bulk) BULK[button.dataset.bulk](selected());
  else once(button, () => ROW[button.dataset.row](rowOf(button)));
});

// A token that was made a moment ago is shown at once.
const made = new URLSearchParams(location.search).get("use");
if (made) {
  history.replaceState(null, "", location.pathname);
  const row = document.querySelector(`tr[data-id="${CSS.escape(made)}"]`);
  if (row) keyOf({ id: Number(made) }).then((key) => use(row.dataset.name, key), (error) => toast(error.message, "danger"));
}
