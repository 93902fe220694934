// One's own account: the access token that is shown once, the invitation link, a new e-mail address.

import { api, busy, clearErrors, confirm, copy, Failure, showError, t, toast, toastNext, values } from "./app.js";

const invite = document.getElementById("invite");
invite.value = new URL(invite.dataset.path, location.origin).href;
document.getElementById("copy-invite").addEventListener("click", () => copy(invite.value));

const make = document.getElementById("make-token");
make.addEventListener("click", async () => {
  const message = t("Make a new access token? The old one stops working.");
  if (!(await confirm(message, { label: t("Make a new one"), kind: "primary" }))) return;
  busy(make, true);
  try {
    const { data } = await api(make.dataset.address);
    document.getElementById("access-token").textContent = data;
    document.getElementById("made-token").hidden = false;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    toast(error.message, "danger");
  } finally {
    busy(make, false);
  }
});

for (const button of document.querySelectorAll("[data-unbind]")) {
  button.addEventListener("click", async () => {
    const { unbind, label } = button.dataset;
    if (!(await confirm(t("Unbind {label}? You cannot sign in through it any more.", { label }), { label: t("Unbind") }))) return;
    busy(button, true);
    try {
      await api(`/api/oauth/${unbind}`, { method: "DELETE" });
      location.reload();
    } catch (error) {
      busy(button, false);
      if (!(error instanceof Failure)) throw error;
      toast(error.message, "danger");
    }
  });
}

const form = document.getElementById("bind-email-form");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, verification_code } = values(form);
  const button = form.querySelector("[type=submit]");
  clearErrors(form);
  busy(button, true);
  try {
    await api("/api/oauth/email/bind", { data: { email, code: verification_code } });
    toastNext(t("The address is bound."));
    location.reload();
  } catch (error) {
    busy(button, false);
    if (!(error instanceof Failure)) throw error;
    showError(form, error);
  }
});
