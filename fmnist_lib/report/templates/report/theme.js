// Comfort only. Colours as chosen last, else the system's; in the head, before any others show.
{
  let theme = null;
  try { theme = localStorage.getItem("theme"); } catch { /* not kept */ }
  theme ??= matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
}
