// Back from a third party: its code goes to the API, which logs in, signs up or binds.

import { api, Failure, t, toastNext } from "./app.js";

const page = document.getElementById("signing-in");
const again = document.getElementById("again");

async function signIn() {
  const given = new URLSearchParams(location.search);
  const query = new URLSearchParams({ code: given.get("code") || "", state: given.get("state") || "" });
  document.getElementById("waiting").hidden = false;
  document.getElementById("trouble").hidden = again.hidden = true;
  try {
    const answer = await api(`/api/oauth/${page.dataset.provider}?${query}`, { method: "GET" });
    if (answer.message === "bind") {
      toastNext(t("The login is bound to your account."));
      location.replace("/admin/account/");
    } else location.replace("/admin/");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const trouble = document.getElementById("trouble");
    trouble.textContent = error.message;
    trouble.hidden = false;
    document.getElementById("waiting").hidden = true;
    again.hidden = error.status !== 0; // a state serves once: only what never arrived may be sent again
  }
}

again.addEventListener("click", signIn);
signIn();
