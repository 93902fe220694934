// A forgotten password: the link that is mailed, and what it gives.

import { api, busy, clearErrors, Failure, showError, values } from "./app.js";
import { tell, turnstile } from "./sign.js";

const ask = document.getElementById("reset");
ask?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = ask.querySelector("[type=submit]");
  clearErrors(ask);
  busy(button, true);
  try {
    await api(`/api/reset_password?email=${encodeURIComponent(values(ask).email)}${turnstile(ask)}`, { method: "GET" });
    document.getElementById("sent").hidden = false;
    busy(button, false);
    button.disabled = true;
  } catch (error) {
    busy(button, false);
    window.turnstile?.reset();
    tell(ask, error instanceof Failure ? new Failure(error.message, "email", error.status) : error);
  }
});

const confirm = document.getElementById("confirm-reset");
confirm?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = confirm.querySelector("[type=submit]");
  clearErrors(confirm);
  busy(button, true);
  try {
    const { data } = await api("/api/user/reset", { data: { email: confirm.elements.email.value, token: confirm.dataset.token } });
    document.getElementById("new-password").textContent = data;
    document.getElementById("made").hidden = false;
    confirm.hidden = true;
  } catch (error) {
    busy(button, false);
    if (!(error instanceof Failure)) throw error;
    showError(confirm, error);
  }
});
