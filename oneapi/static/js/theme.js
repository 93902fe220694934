// Before the first paint: the reader's theme, or the system's. A classic script, so that nothing flashes.
(function () {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function chosen() {
    try {
      return localStorage.getItem("theme") || "system";
    } catch {
      return "system"; // storage is switched off
    }
  }
  function apply() {
    const theme = chosen();
    root.dataset.bsTheme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
    root.dataset.theme = theme;
    document.dispatchEvent(new CustomEvent("themechange"));
  }
  dark.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  window.setTheme = function (theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      root.dataset.theme = theme;
    }
    apply();
  };
  apply();
})();
