// The dashboard's charts, for a period, a split and, for administrators, everybody or themselves.

import { api, count, el, Failure, money, placesOf, t, toast } from "./app.js";
import { chart, legend } from "./charts.js";

const language = document.documentElement.lang;
const $ = (id) => document.getElementById(id);
const state = { span: "7d", by: "model", scope: $("scope") ? "all" : "own", metric: "quota" };
const FORMATS = { quota: (value, step = value) => money(value, placesOf(step)), requests: count, tokens: count };
const OTHERS = 8;
let shown = null;
let asked = 0;

const seconds = (ms, step = ms) => (ms === null ? "–" : `${(ms / 1000).toFixed(step < 1000 ? 2 : step < 10000 ? 1 : 0)} s`);
const percent = (share, step = share / 10) => `${(share * 100).toFixed(step && step < 0.01 ? 1 : 0)}%`;
const failed = (sums) => (sums.failures ? sums.failures / (sums.requests + sums.failures) : 0);

async function load() {
  const mine = ++asked;
  $("usage").setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ span: state.span, by: state.by, scope: state.scope, zone: -new Date().getTimezoneOffset() });
  try {
    const { data } = await api(`/admin/usage?${query}`, { method: "GET" });
    if (mine !== asked) return;
    shown = data;
    show();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    toast(error.message, "danger");
  } finally {
    $("usage").setAttribute("aria-busy", "false");
  }
}

function show() {
  const { steps, total, by_step, parts } = shown;
  $("figure-quota").textContent = money(total.quota);
  $("figure-requests").textContent = count(total.requests);
  $("figure-tokens").textContent = count(total.tokens);
  $("figure-failures").textContent = percent(failed(total));
  $("figure-latency").textContent = seconds(total.latency_ms);

  const hours = shown.step_s < 86400;
  const format = new Intl.DateTimeFormat(language, hours ? { hour: "2-digit", minute: "2-digit", hour12: false } : { month: "short", day: "numeric" });
  const labels = steps.map((begin) => format.format(new Date(begin * 1000)));

  const metric = state.metric;
  const series = parts.map((part, index) => ({ name: part.name, colour: index, values: part.by_step.map((sums) => sums[metric]) }));
  const rest = by_step.map((sums, index) => sums[metric] - series.reduce((sum, one) => sum + one.values[index], 0));
  if (rest.some((value) => value > 0)) series.push({ name: t("Others"), colour: OTHERS, values: rest });
  const summary = t("Usage over time: {total} in all", { total: FORMATS[metric](total[metric]) });
  chart($("usage"), { labels, series, format: FORMATS[metric], least: metric === "quota" ? 0 : 1, summary });
  legend($("usage-legend"), series);

  const times = [
    { name: t("Whole answer"), colour: 0, values: by_step.map((sums) => sums.latency_ms) },
    { name: t("First token of streams"), colour: 2, values: by_step.map((sums) => sums.first_token_ms) },
  ];
  chart($("latency"), { labels, series: times, kind: "lines", format: seconds, summary: t("Average time to answer") });
  legend($("latency-legend"), times);
  const shares = [{ name: t("Failed"), colour: 3, values: by_step.map(failed) }];
  chart($("failures"), { labels, series: shares, kind: "bars", format: percent, summary: t("Share of failed requests") });

  $("parts-title").textContent = $("by").selectedOptions[0].textContent;
  const most = Math.max(1, ...parts.map((part) => part.total.quota));
  $("parts").replaceChildren(...parts.map((part, index) => {
    const meter = el("progress", { class: `share share-${index}`, max: most, value: Math.max(0, part.total.quota), "aria-hidden": "true" });
    return el("tr", {},
      el("td", {}, el("div", { class: "part-name" }, el("span", { class: `dot series-${index}` }), part.name), meter),
      el("td", { class: "text-end" }, count(part.total.requests)),
      el("td", { class: "text-end d-none d-md-table-cell" }, count(part.total.tokens)),
      el("td", { class: "text-end" }, money(part.total.quota, 4)),
      el("td", { class: "text-end d-none d-md-table-cell" }, percent(failed(part.total))),
      el("td", { class: "text-end d-none d-md-table-cell" }, seconds(part.total.latency_ms)));
  }));
  const isUsed = total.requests + total.failures > 0;
  $("charts").hidden = $("parts-table").hidden = !isUsed;
  $("parts-empty").hidden = isUsed;
}

$("spans").addEventListener("click", (event) => {
  const button = event.target.closest("[data-span]");
  if (!button) return;
  for (const other of $("spans").children) {
    other.classList.toggle("active", other === button);
    other.setAttribute("aria-pressed", String(other === button));
  }
  state.span = button.dataset.span;
  load();
});
$("by").addEventListener("change", () => { state.by = $("by").value; load(); });
$("metric").addEventListener("change", () => { state.metric = $("metric").value; show(); });
$("scope")?.addEventListener("change", () => {
  state.scope = $("scope").value;
  // Who uses what is not asked of oneself.
  for (const option of $("by").querySelectorAll("[data-all]")) option.hidden = option.disabled = state.scope === "own";
  if ($("by").selectedOptions[0].disabled) $("by").value = state.by = "model";
  load();
});
load();
