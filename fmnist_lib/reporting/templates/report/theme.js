"use strict";
// Comfort only. Colours as the system has them, or as chosen here; the choice is remembered.
// In the page's head, so that it never shows in the other colours first.
{
  const root = document.documentElement;
  try { root.dataset.theme = localStorage.getItem("theme") ?? ""; } catch { /* not kept here */ }

  document.addEventListener("DOMContentLoaded", () => {
    const theme = document.getElementById("theme");
    theme.value = root.dataset.theme ?? "";
    theme.addEventListener("change", () => {
      root.dataset.theme = theme.value;
      try { localStorage.setItem("theme", theme.value); } catch { /* for this visit alone */ }
    });
  });
}
