"use strict";
// Comfort only: without script the page shows all of its contents.

// The contents follow the reading: the current section is the last heading above a third of the window.
const links = [...document.querySelectorAll("#contents a")];
const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
document.documentElement.classList.add("scripted");

function follow() {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 3);
  links.forEach((link, index) => {
    if (index === passed.length - 1) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
  const nav = document.querySelector("nav");
  const current = nav.querySelector("[aria-current]");
  if (current && getComputedStyle(nav).position === "sticky") {
    nav.scrollTop += current.getBoundingClientRect().top - nav.getBoundingClientRect().top - nav.clientHeight / 2;
  }
}

let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; follow(); });
}, { passive: true });
follow();

// All code at once.
const unfold = document.getElementById("unfold");
const code = [...document.querySelectorAll("details.code")];
unfold.hidden = code.length === 0;
unfold.addEventListener("click", () => {
  const open = code.some((details) => !details.open);
  code.forEach((details) => { details.open = open; });
  unfold.textContent = open ? "Hide all code" : "Show all code";
});
