// The home page: the address as the reader's browser knows it, and the notice that he has not seen.

import { copy } from "./app.js";

const base = document.getElementById("base-url");
if (base) {
  // Behind a proxy the program may not know under which address people reach it; the browser does.
  const known = base.value;
  base.value = `${location.origin}/v1`;
  for (const code of document.querySelectorAll(".code-block")) {
    const text = code.querySelector("code");
    text.textContent = text.textContent.replaceAll(known, base.value);
    code.querySelector("[data-copy]").dataset.copy = text.textContent;
  }
  document.getElementById("copy-base").addEventListener("click", () => copy(base.value));
}

const notice = document.getElementById("notice");
if (notice) {
  const text = notice.textContent;
  let seen = null;
  try {
    seen = localStorage.getItem("notice");
  } catch {
    seen = text; // without storage it would come back at every visit
  }
  if (seen !== text) {
    notice.showModal();
    notice.addEventListener("close", () => localStorage.setItem("notice", text));
  }
}
