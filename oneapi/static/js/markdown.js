// The Markdown that models write, as elements: never as markup, so that no answer can run or load anything.

import { el } from "./app.js";

const INLINE = /(`+)(.+?)\1|\*\*(.+?)\*\*|(?<![\w*])\*([^*\n]+?)\*(?!\w)|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|(https?:\/\/[^\s<>"'）】]+)/g;

/** The inline parts of a line. */
function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    if (found.index > end) parts.push(text.slice(end, found.index));
    end = found.index + found[0].length;
    const [, , code, strong, soft, label, address, bare] = found;
    if (code !== undefined) parts.push(el("code", {}, code));
    else if (strong !== undefined) parts.push(el("strong", {}, ...inline(strong)));
    else if (soft !== undefined) parts.push(el("em", {}, ...inline(soft)));
    else parts.push(el("a", { href: address || bare, target: "_blank", rel: "noopener noreferrer nofollow" }, label || bare));
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

/** A list of elements for a text: paragraphs, headings, lists, quotes, tables, blocks of code. */
export function render(text) {
  const made = [];
  const lines = text.split("\n");
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = line.match(/^\s*(```+|~~~+)\s*([\w+#.-]*)/);
    const heading = line.match(/^(#{1,6})\s+(.*)/);
    const item = line.match(/^\s*([-*+]|\d+[.)])\s+/);
    if (fence) {
      const code = [];
      while (++at < lines.length && !lines[at].trim().startsWith(fence[1])) code.push(lines[at]);
      at++;
      const copy = el("button", { type: "button", class: "btn btn-sm btn-ghost", "data-copy": code.join("\n") }, fence[2] || "⧉");
      made.push(el("div", { class: "code-block" }, el("pre", { tabindex: "0" }, el("code", {}, code.join("\n"))), copy));
    } else if (heading) {
      made.push(el(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
      at++;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      made.push(el("hr"));
      at++;
    } else if (line.trimStart().startsWith(">")) {
      const quoted = [];
      while (at < lines.length && lines[at].trimStart().startsWith(">")) quoted.push(lines[at++].replace(/^\s*>\s?/, ""));
      made.push(el("blockquote", {}, ...render(quoted.join("\n"))));
    } else if (line.includes("|") && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(lines[at + 1] || "") && lines[at + 1].includes("-")) {
      const head = cells(line);
      at += 2;
      const rows = [];
      while (at < lines.length && lines[at].includes("|")) rows.push(cells(lines[at++]));
      made.push(el("div", { class: "table-responsive" }, el("table", { class: "table table-sm" },
        el("thead", {}, el("tr", {}, ...head.map((cell) => el("th", {}, ...inline(cell))))),
        el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, ...inline(cell)))))))));
    } else if (item) {
      const isOrdered = /\d/.test(item[1]);
      const list = el(isOrdered ? "ol" : "ul", isOrdered ? { start: parseInt(item[1], 10) } : {});
      while (at < lines.length) {
        const next = lines[at].match(/^\s*([-*+]|\d+[.)])\s+(.*)/);
        if (next && /\d/.test(next[1]) === isOrdered) list.append(el("li", {}, ...inline(next[2])));
        else if (/^\s+\S/.test(lines[at]) && list.lastElementChild) list.lastElementChild.append(el("br"), ...inline(lines[at].trim()));
        else break;
        at++;
      }
      made.push(list);
    } else if (!line.trim()) {
      at++;
    } else {
      const paragraph = [];
      while (at < lines.length && lines[at].trim() && !/^\s*(```|~~~|>|#{1,6}\s|[-*+]\s|\d+[.)]\s)/.test(lines[at])) paragraph.push(lines[at++]);
      if (!paragraph.length) paragraph.push(lines[at++]);
      made.push(el("p", {}, ...paragraph.flatMap((part, index) => (index ? [el("br"), ...inline(part)] : inline(part)))));
    }
  }
  return made;
}
