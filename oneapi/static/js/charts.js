// Bars that are stacked, and lines, as SVG: colours are classes, so a change of theme needs no redrawing.

import { el } from "./app.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 260;
const LEFT = 56, RIGHT = 8, TOP = 10, BOTTOM = 26;
export const COLOURS = 9; // classes series-0 … series-8, the last of which is for "others"

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** From one mark of the axis to the next: a round number, at least `least`, with three to five of them below `highest`. */
function markStep(highest, least) {
  const about = Math.max(highest / 4, least, Number.MIN_VALUE);
  const size = 10 ** Math.floor(Math.log10(about));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= about * 0.999);
}

/**
 * Draws into a place: `labels` under the axis, `series` [{name, values, colour}], `kind` "bars" or "lines",
 * `format(value, step)` of a value beside others that are `step` apart, and `least`, the smallest such step. Draws again
 * when the place changes its width.
 */
export function chart(place, { labels, series, kind = "bars", format, least = 0, summary }) {
  place.classList.add("chart");
  const draw = () => {
    const width = place.clientWidth;
    if (width) place.replaceChildren(...drawn(width, { labels, series, kind, format, least, summary }));
  };
  place.chartObserver?.disconnect();
  place.chartObserver = new ResizeObserver(draw);
  place.chartObserver.observe(place);
  draw();
}

function drawn(width, { labels, series, kind, format, least, summary }) {
  const inner = width - LEFT - RIGHT;
  const tall = HEIGHT - TOP - BOTTOM;
  const totals = labels.map((_, index) => series.reduce((sum, one) => sum + (one.values[index] || 0), 0));
  const highest = kind === "bars" ? Math.max(...totals, 0) : Math.max(...series.flatMap((one) => one.values.map((v) => v ?? 0)), 0);
  const apart = highest > 0 ? markStep(highest, least) : 1;
  const marks = highest > 0 ? Math.ceil(highest / apart - 0.001) : 1;
  const top = marks * apart;
  const step = inner / labels.length;
  const x = (index) => LEFT + step * (index + 0.5);
  const y = (value) => TOP + tall * (1 - value / top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": summary });

  for (let mark = 0; mark <= marks; mark++) {
    if (mark && highest <= 0) break; // there is nothing to measure
    const value = mark * apart;
    picture.append(
      svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), class: "chart-grid" }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, class: "chart-mark", "text-anchor": "end" }, highest > 0 ? format(value, apart) : format(0)),
    );
  }
  const every = Math.max(1, Math.ceil(labels.length / (inner / 64)));
  labels.forEach((label, index) => {
    if (index % every === 0) picture.append(svg("text", { x: x(index), y: HEIGHT - 6, class: "chart-mark", "text-anchor": "middle" }, label));
  });

  if (kind === "bars") {
    const wide = Math.max(1, Math.min(56, step * 0.7));
    labels.forEach((_, index) => {
      let sum = 0;
      for (const one of series) {
        const value = one.values[index] || 0;
        if (value <= 0) continue;
        const from = y(sum);
        sum += value;
        picture.append(svg("rect", { x: x(index) - wide / 2, width: wide, y: y(sum), height: Math.max(0.5, from - y(sum)), class: `series-${one.colour}`, rx: 1.5 }));
      }
    });
  } else {
    for (const one of series) {
      const points = one.values.map((value, index) => (value === null ? null : [x(index), y(value)]));
      let path = "";
      points.forEach((point, index) => {
        if (point) path += `${points[index - 1] ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
      });
      picture.append(svg("path", { d: path, class: `chart-line stroke-${one.colour}` }));
      for (const [index, point] of points.entries()) {
        if (point && !points[index - 1] && !points[index + 1]) picture.append(svg("circle", { cx: point[0], cy: point[1], r: 3, class: `series-${one.colour}` }));
      }
    }
  }

  const cursor = svg("rect", { y: TOP, height: tall, width: step, class: "chart-cursor", visibility: "hidden" });
  picture.prepend(cursor);
  const tip = el("div", { class: "chart-tip", hidden: true });
  const point = (event) => {
    const box = picture.getBoundingClientRect();
    const index = Math.min(labels.length - 1, Math.max(0, Math.floor((event.clientX - box.left - LEFT) / step)));
    cursor.setAttribute("x", LEFT + step * index);
    cursor.setAttribute("visibility", "visible");
    const lines = series.filter((one) => one.values[index]).sort((a, b) => b.values[index] - a.values[index]);
    tip.replaceChildren(
      el("strong", {}, labels[index]),
      ...lines.map((one) => el("div", { class: "chart-tip-line" }, el("span", { class: `dot series-${one.colour}` }),
        el("span", { class: "chart-tip-name" }, one.name), el("span", {}, format(one.values[index])))),
      ...(kind === "bars" && lines.length > 1 ? [el("div", { class: "chart-tip-line chart-tip-sum" }, el("span", {}), el("span", { class: "chart-tip-name" }, "Σ"), el("span", {}, format(totals[index])))] : []),
    );
    if (!lines.length) tip.append(el("div", { class: "text-secondary" }, "–"));
    tip.hidden = false;
    const left = x(index);
    tip.style.left = `${left < width / 2 ? left + 14 : left - tip.offsetWidth - 14}px`;
  };
  picture.addEventListener("pointermove", point);
  picture.addEventListener("pointerdown", point);
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    tip.hidden = true;
  });
  return [picture, tip];
}

/** What the colours mean. */
export function legend(place, series) {
  place.replaceChildren(...series.map((one) => el("span", { class: "legend-item" }, el("span", { class: `dot series-${one.colour}` }), one.name)));
}
