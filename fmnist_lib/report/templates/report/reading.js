"use strict";
// Comfort only: without script the page shows all of its contents.
// Contents that follow the reading, the colours, code to copy, and what the other scripts share.

const root = document.documentElement;
root.classList.add("scripted");
document.getElementById("tools").hidden = false;

/** An element with attributes and children, strings among them as text, never as markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The current section is the last whose heading has come to the window's top.
const links = [...document.querySelectorAll("#contents a")];
const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
function follow() {
  const current = headings.filter((heading) => heading.getBoundingClientRect().top < 80).length - 1;
  links.forEach((link, place) => link.setAttribute("aria-current", String(place === current)));
}
addEventListener("scroll", follow, { passive: true });
follow();

const theme = document.getElementById("theme");
const otherTheme = () => (root.dataset.theme === "dark" ? "light" : "dark");
theme.textContent = `Switch to ${otherTheme()}`;
theme.addEventListener("click", () => {
  root.dataset.theme = otherTheme();
  theme.textContent = `Switch to ${otherTheme()}`;
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this visit alone */ }
});

const frames = new ResizeObserver((changes) => { // a stop for the Tab key only while it scrolls
  for (const { target } of changes) {
    const label = target.closest("figure")?.querySelector(".label")?.textContent ?? "Wide content";
    for (const [key, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", label]]) {
      if (target.scrollWidth > target.clientWidth) target.setAttribute(key, value);
      else target.removeAttribute(key);
    }
  }
});
for (const frame of document.querySelectorAll(".scroll")) frames.observe(frame);

for (const code of document.querySelectorAll(".highlight pre")) {
  const button = make("button", { type: "button", class: "copy" }, "Copy");
  code.before(button);
  button.addEventListener("click", () => navigator.clipboard.writeText(code.textContent).then(() => { button.textContent = "Copied"; }));
}
