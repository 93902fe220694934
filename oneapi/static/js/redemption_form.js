// Codes that were just made: shown, copied, downloaded.
import { copy } from "./app.js";

const form = document.querySelector("form[data-codes]");
const dialog = document.getElementById("made");

form.addEventListener("done", (event) => {
  const made = event.detail.data;
  if (!made) return;
  event.preventDefault();
  const text = made.codes.map((code) => `${code}\n`).join("");
  dialog.querySelector("[data-made]").value = text;
  const file = dialog.querySelector("[data-made-file]");
  file.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  file.download = `${made.name}.txt`;
  dialog.querySelector("[data-made-copy]").onclick = () => copy(text.trim());
  dialog.showModal();
});
dialog.addEventListener("close", () => location.assign(dialog.querySelector("a[href*=redemption]").href));
