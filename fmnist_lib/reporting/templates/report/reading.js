"use strict";
// Comfort only: without script the page shows all of its contents.
// Contents that follow the reading, all code at once, and what the other scripts share.

document.documentElement.classList.add("scripted");
document.getElementById("tools").hidden = false;

/** An element with attributes and children, strings among them as text, never as markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The current section is the last whose heading has come to the window's top, where a link puts it;
// at the page's end, where no heading can come so far, the last one.
{
  const contents = document.getElementById("contents");
  const links = [...contents.querySelectorAll("a")];
  const headings = links.map((link) => document.getElementById(link.hash.slice(1)));

  function follow() {
    const page = document.documentElement;
    const ended = page.scrollHeight - scrollY - innerHeight < 2 && scrollY > 0;
    const passed = ended ? headings : headings.filter((heading) => heading.getBoundingClientRect().top < 80);
    links.forEach((link, index) => {
      if (index === passed.length - 1) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
    const current = contents.querySelector("[aria-current]");
    if (current && contents.scrollHeight > contents.clientHeight) {
      const { top } = contents.getBoundingClientRect();
      contents.scrollTop += current.getBoundingClientRect().top - top - contents.clientHeight / 2;
    }
  }

  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; follow(); });
  }, { passive: true });
  follow();
}

{
  const unfold = document.getElementById("unfold");
  const code = [...document.querySelectorAll("details.code")];
  unfold.hidden = code.length === 0;
  unfold.addEventListener("click", () => {
    const open = code.some((details) => !details.open);
    code.forEach((details) => { details.open = open; });
    unfold.textContent = open ? "Hide all code" : "Show all code";
  });
}

// A frame is a stop for the Tab key only while there is something to scroll in it.
{
  const frames = new ResizeObserver((changes) => {
    for (const { target } of changes) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  });
  for (const frame of document.querySelectorAll(".scroll")) frames.observe(frame);
}
