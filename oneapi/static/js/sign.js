// Ways of proving who one is: mailed codes, third parties, WeChat, and the check for robots.

import { api, busy, clearErrors, Failure, showError, t, toast, toastNext, values } from "./app.js";

const RESEND_S = 60; // the server sends one letter a minute

/** What the check for robots gave, as a parameter of /api; empty where there is none. */
export function turnstile(form) {
  const token = form?.querySelector("[name=cf-turnstile-response]")?.value || "";
  return token ? `&turnstile=${encodeURIComponent(token)}` : "";
}

/** Tells a failure in its form, or as a toast where there is none. */
export function tell(form, error) {
  if (!(error instanceof Failure)) throw error;
  if (form) showError(form, error);
  else toast(error.message, "danger");
}

// ---- a code by mail ----

for (const button of document.querySelectorAll("[data-send-code]")) {
  button.addEventListener("click", async () => {
    const form = button.closest("form");
    const email = form.elements.email;
    if (!email.reportValidity()) return;
    clearErrors(form);
    busy(button, true);
    try {
      await api(`/api/verification?email=${encodeURIComponent(email.value)}${turnstile(form)}`, { method: "GET" });
      toast(t("The code was sent to {email}.", { email: email.value }));
      busy(button, false);
      wait(button, RESEND_S);
    } catch (error) {
      busy(button, false);
      tell(form, error instanceof Failure ? new Failure(error.message, error.field || "email", error.status) : error);
    }
  });
}

function wait(button, seconds) {
  const label = button.textContent;
  button.disabled = true;
  const tick = () => {
    button.textContent = t("Again in {seconds} s", { seconds });
    if (seconds-- > 0) setTimeout(tick, 1000);
    else {
      button.textContent = label;
      button.disabled = false;
    }
  };
  tick();
}

// ---- third parties ----

for (const button of document.querySelectorAll("[data-provider]")) {
  button.addEventListener("click", async () => {
    busy(button, true);
    try {
      const aff = localStorage.getItem("aff");
      const query = new URLSearchParams({ provider: button.dataset.provider, ...(aff && { aff_code: aff }) });
      const { address } = await api(`/api/oauth/state?${query}`, { method: "GET" });
      location.assign(address);
    } catch (error) {
      busy(button, false);
      tell(null, error);
    }
  });
}

const wechat = document.getElementById("wechat-form");
wechat?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = wechat.querySelector("[type=submit]");
  const isOwn = location.pathname.startsWith("/admin");
  clearErrors(wechat);
  busy(button, true);
  try {
    const code = values(wechat).wechat_code;
    if (isOwn) await api("/api/oauth/wechat/bind", { data: { code } });
    else {
      const query = new URLSearchParams({ code, aff_code: localStorage.getItem("aff") || "" });
      await api(`/api/oauth/wechat?${query}`, { method: "GET" });
    }
    if (isOwn) {
      toastNext(t("WeChat is bound."));
      location.reload();
    } else location.assign("/admin/");
  } catch (error) {
    busy(button, false);
    tell(wechat, error instanceof Failure ? new Failure(error.message, "wechat_code", error.status) : error);
  }
});
