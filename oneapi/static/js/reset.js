// A forgotten password: the link that is mailed, and the password that it lets set.

import { api, busy, clearErrors, Failure, showError, t, toastNext, values } from "./app.js";
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
    await api("/api/user/reset", { data: { ...values(confirm), token: confirm.dataset.token } });
    toastNext(t("The new password is set. Please log in."));
    location.assign("/login");
  } catch (error) {
    busy(button, false);
    if (!(error instanceof Failure)) throw error;
    showError(confirm, error);
  }
});
