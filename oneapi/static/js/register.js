// A new account: what was typed goes to the API, with the code of who invited.

import { api, busy, clearErrors, Failure, showError, t, toastNext, values } from "./app.js";
import { tell, turnstile } from "./sign.js";

const aff = new URLSearchParams(location.search).get("aff");
if (aff) localStorage.setItem("aff", aff);

const form = document.getElementById("register");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  clearErrors(form);
  const { again, ...fields } = values(form);
  if (again !== fields.password) {
    showError(form, new Failure(t("The two passwords differ."), "again"));
    return;
  }
  const button = form.querySelector("[type=submit]");
  busy(button, true);
  try {
    await api(`/api/user/register?${turnstile(form).slice(1)}`, { data: { ...fields, aff_code: localStorage.getItem("aff") || "" } });
    localStorage.removeItem("aff");
    toastNext(t("The account is made. Please log in."));
    location.assign("/login");
  } catch (error) {
    busy(button, false);
    window.turnstile?.reset();
    tell(form, error);
  }
});
