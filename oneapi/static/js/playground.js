// A chat with a model, over /v1 as any program would: streamed, with its time, its tokens and its cost.

import { api, count, el, icon, money, t } from "./app.js";
import { render } from "./markdown.js";

const $ = (id) => document.getElementById(id);
const talk = $("talk");
const messages = [];
const keys = new Map(); // of tokens, fetched when first needed, gone with the page
let running = null;

const model = () => $("field-model").value;

async function key(id) {
  if (!keys.has(id)) {
    const { data } = await api(`/api/token/${id}`, { method: "GET" });
    keys.set(id, data.key);
  }
  return keys.get(id);
}

function bubble(role, text) {
  talk.querySelector(".empty")?.remove();
  const body = el("div", { class: "bubble-text" });
  if (role === "user") body.textContent = text;
  const note = el("div", { class: "bubble-note" });
  const made = el("div", { class: `bubble bubble-${role}` }, body, note);
  talk.append(made);
  follow();
  return { made, body, note };
}

/** Stays at the end while the reader is there. */
function follow(force = true) {
  const isAtEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 80;
  if (force || isAtEnd) talk.scrollTop = talk.scrollHeight;
}

function body() {
  const asked = { model: model(), messages: [...messages], stream: $("field-stream").checked };
  const system = $("field-system").value.trim();
  if (system) asked.messages.unshift({ role: "system", content: system });
  if ($("field-temperature").value !== "") asked.temperature = Number($("field-temperature").value);
  if ($("field-max_tokens").value !== "") asked.max_tokens = Number($("field-max_tokens").value);
  if (asked.stream) asked.stream_options = { include_usage: true };
  return asked;
}

/** Calls `take` with each event of a stream of server-sent events. */
async function events(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const lines = waiting.split("\n");
    waiting = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") take(JSON.parse(line.slice(5)));
    }
  }
}

async function ask(text) {
  messages.push({ role: "user", content: text });
  bubble("user", text);
  const answer = bubble("assistant", "");
  answer.made.classList.add("is-waiting");
  const began = performance.now();
  let first = null, content = "", reasoning = "", usage = null, pending = false;
  running = new AbortController();
  toggle(true);

  const thought = el("details", { class: "bubble-thought", hidden: true }, el("summary", {}, t("Reasoning")), el("div", {}));
  answer.made.prepend(thought);
  const paint = () => {
    pending = false;
    thought.hidden = !reasoning;
    thought.lastElementChild.textContent = reasoning;
    answer.body.replaceChildren(...render(content));
    follow(false);
  };
  const add = (piece) => {
    const more = piece?.content || "", thinking = piece?.reasoning_content || piece?.reasoning || "";
    if (!more && !thinking) return;
    first ??= performance.now() - began;
    answer.made.classList.remove("is-waiting");
    content += more;
    reasoning += thinking;
    if (!pending) {
      pending = true;
      requestAnimationFrame(paint);
    }
  };

  let response = null, failure = "";
  try {
    response = await fetch("/v1/chat/completions", {
      method: "POST",
      credentials: "omit",
      signal: running.signal,
      headers: { "Content-Type": "application/json", Authorization: `Bearer sk-${await key($("field-token").value)}` },
      body: JSON.stringify(body()),
    });
    if (!response.ok) {
      const refused = await response.json().catch(() => null);
      failure = refused?.error?.message || t("The server answered {status}.", { status: response.status });
    } else if ((response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
      await events(response, (event) => {
        if (event.error) failure = event.error.message;
        usage = event.usage || usage;
        add(event.choices?.[0]?.delta);
      });
    } else {
      const whole = await response.json();
      usage = whole.usage;
      add(whole.choices?.[0]?.message);
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error.message || t("The server cannot be reached.");
  }
  paint();
  const stopped = running.signal.aborted;
  running = null;
  toggle(false);
  answer.made.classList.remove("is-waiting");
  if (failure) {
    answer.made.classList.add("is-failed");
    answer.body.append(el("div", { class: "field-error", role: "alert" }, failure));
  }
  if (content) messages.push({ role: "assistant", content });
  else messages.pop(); // an answer that never came leaves no question behind it

  const total = performance.now() - began;
  const parts = [model()];
  if (first !== null) parts.push(t("first token {seconds} s", { seconds: (first / 1000).toFixed(2) }));
  parts.push(t("{seconds} s in all", { seconds: (total / 1000).toFixed(2) }));
  if (usage) parts.push(t("{input} + {output} tokens", { input: count(usage.prompt_tokens ?? 0), output: count(usage.completion_tokens ?? 0) }));
  if (stopped) parts.push(t("stopped"));
  answer.note.textContent = parts.join(" · ");
  if (content) {
    const copy = el("button", { class: "btn btn-icon btn-sm btn-ghost", "data-copy": content, "aria-label": t("Copy"), type: "button" }, icon("copy"));
    answer.note.append(copy);
  }
  const id = response?.headers.get("X-Oneapi-Request-Id");
  if (id && !failure) price(id, answer.note);
  follow(false);
}

/** The cost from the log: the last byte of an answer comes after its bill, but a stopped one is billed a moment later. */
async function price(id, note, tries = 4) {
  const { data } = await api(`/api/log/self?request_id=${encodeURIComponent(id)}`, { method: "GET" }).catch(() => ({ data: [] }));
  if (data?.length) {
    note.prepend(el("a", { href: `/admin/log/?request_id=${encodeURIComponent(id)}`, class: "bubble-cost" }, money(data[0].quota, 6)), " · ");
  } else if (tries > 1) setTimeout(() => price(id, note, tries - 1), 700);
}

function toggle(is) {
  $("send").hidden = is;
  $("stop").hidden = !is;
  talk.setAttribute("aria-busy", String(is));
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text || running) return;
  $("message").value = "";
  ask(text);
});
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
$("stop").addEventListener("click", () => running?.abort());
$("clear").addEventListener("click", () => {
  running?.abort();
  messages.length = 0;
  talk.replaceChildren();
  $("message").focus();
});
if (matchMedia("(max-width: 767.98px)").matches) $("settings").open = false;
$("settings").dataset.ready = ""; // until here a phone shows them as folded already, so that nothing moves
const wanted = new URLSearchParams(location.search).get("model");
if (wanted && [...$("field-model").options].some((option) => option.value === wanted)) $("field-model").value = wanted;
