// A code from the clipboard, where the browser lets pages read it.

const paste = document.getElementById("paste");
const field = document.getElementById("field-key");
paste.hidden = !navigator.clipboard?.readText;
paste.addEventListener("click", async () => {
  field.value = (await navigator.clipboard.readText().catch(() => "")).trim();
  field.focus();
});
