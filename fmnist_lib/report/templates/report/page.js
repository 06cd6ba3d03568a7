"use strict";
// Comfort only: without script the page shows all of its contents.

/** An element with attributes and children, strings among them as text, never as markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function button(name, children, action) {
  const made = make("button", { type: "button", class: name }, ...children);
  made.addEventListener("click", () => action(made));
  return made;
}

// --- Contents: the current section is the last whose heading has come to the window's top. ---

const links = [...document.querySelectorAll("#contents a")];
const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
function follow() {
  const current = headings.filter((heading) => heading.getBoundingClientRect().top < 80).length - 1;
  links.forEach((link, place) => link.setAttribute("aria-current", String(place === current)));
}
addEventListener("scroll", follow, { passive: true });
follow();

// --- Code: copied by a button. ---

for (const code of document.querySelectorAll(".highlight pre")) {
  code.before(button("copy", ["Copy"], async (own) => {
    await navigator.clipboard.writeText(code.textContent);
    own.textContent = "Copied";
  }));
}

// --- Tables: a click on a heading sorts up and down; claims are filtered by verdict. ---

/** What a cell is sorted by: the number it begins with, or its words; NaN comes last. */
function keyOf(cell, numeric) {
  const text = cell.textContent.replaceAll("−", "-").replaceAll(/[,<]/g, "").trim();
  return numeric || text === "–" ? parseFloat(text) : text;
}

function sort(heading, body) {
  const up = heading.ariaSort !== "ascending";
  for (const other of heading.parentElement.cells) other.ariaSort = "none";
  heading.ariaSort = up ? "ascending" : "descending";
  const key = (row) => keyOf(row.cells[heading.cellIndex], heading.classList.contains("numeric"));
  body.append(...[...body.rows].sort((one, other) => {
    const [first, second] = [key(one), key(other)];
    if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
    return (up ? 1 : -1) * (typeof first === "number" ? first - second : first.localeCompare(second, "en", { numeric: true }));
  }));
}

for (const table of document.querySelectorAll("figure.table table")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.append(button("sort", heading.childNodes, () => sort(heading, table.tBodies[0])));
    heading.ariaSort = "none";
  }
}

for (const figure of document.querySelectorAll(".claims")) {
  const rows = [...figure.querySelectorAll("tr[data-verdict]")];
  const filters = ["", ...new Set(rows.map((row) => row.dataset.verdict))].map((verdict) => {
    const own = rows.filter((row) => !verdict || row.dataset.verdict === verdict);
    return button("", [`${verdict || "all"} ${own.length}`], (pressed) => {
      for (const row of rows) row.hidden = !own.includes(row);
      for (const other of filters) other.ariaPressed = String(other === pressed);
    });
  });
  filters[0].click();
  figure.querySelector(".scroll").before(make("p", { class: "filter", role: "group", "aria-label": "Verdicts" }, ...filters));
  addEventListener("hashchange", () => { // from a tile to a row that is filtered away
    if (figure.querySelector(":target[hidden]")) filters[0].click();
    figure.querySelector(":target")?.scrollIntoView({ block: "center" });
  });
}

// --- A number says what it rests on, a reference what it refers to. ---

const VALUE = ".value[data-at]:not(a *)";
const LINK = 'a:is([href^="#ref-"], [href^="#fig-"], [href^="#tab-"])';
const WORDS = { paper: "the paper’s own figure", settings: "a choice of this report" };
const RECORD = /^(costs\/)?\w[\w.-]*$/; // nothing else becomes part of an address
const told = JSON.parse(document.getElementById("numbers").textContent);
const popup = make("div", { id: "popup", popover: "auto", role: "dialog", "aria-label": "Where this comes from" });
let shown = null; // what it speaks of, or spoke
let pinned = false; // by a click or the keyboard: the pointer may leave
let timer = 0;

function ofSource(name) {
  if (WORDS[name] || !RECORD.test(name)) return WORDS[name] ?? name.replace("model:", "the definition of ");
  return make("a", { href: `records/${name}${name.startsWith("costs/") ? "" : "/record"}.json` }, name);
}

function ofNumber(value) {
  const { at } = value.dataset;
  const number = Object.hasOwn(told.numbers, at) ? told.numbers[at] : { text: "", parts: {} };
  const digits = number.text.match(/\.(\d+)/)?.[1].length ?? 0;
  const text = (x) => x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
  const deviation = number.std == null ? "" : `; standard deviation ${text(number.std)}`;
  const interval = number.low == null ? "" : `; interval ${text(number.low)} to ${text(number.high)}`;
  const parts = Object.entries(number.parts).flatMap(([name, x]) => [make("dt", {}, name), make("dd", {}, text(x))]);
  const sources = (told.sources[number.source] ?? []).map((name) => make("li", {}, ofSource(name)));
  const list = make("ul", {}, ...sources);
  return [
    make("p", {}, make("strong", {}, value.textContent), deviation, interval),
    make("dl", {}, ...parts),
    sources.length > 6 ? make("details", {}, make("summary", {}, `${sources.length} records`), list) : list,
    make("p", {}, make("code", {}, at)),
  ];
}

function ofLink(link) {
  const copy = document.getElementById(link.hash.slice(1)).closest("figure, li").cloneNode(true);
  for (const element of [copy, ...copy.querySelectorAll("[id]")]) element.removeAttribute("id");
  return [make("div", { class: "preview" }, copy)];
}

function show(element, pin) {
  clearTimeout(timer);
  if (shown !== element || !popup.matches(":popover-open")) {
    popup.hidePopover();
    popup.replaceChildren(...(element.matches(VALUE) ? ofNumber(element) : ofLink(element)));
    popup.showPopover({ source: element }); // where it stands, and what the Tab key leads from to it
    element.setAttribute("aria-describedby", popup.id);
    shown = element;
  }
  pinned = pin;
}

const asked = (event) => (popup.contains(event.target) ? null : event.target.closest?.(`${VALUE}, ${LINK}`));

popup.addEventListener("beforetoggle", (event) => {
  if (event.newState === "open") return;
  shown.removeAttribute("aria-describedby");
  pinned = false;
});
document.addEventListener("pointerover", (event) => {
  if (event.pointerType !== "mouse" || pinned) return;
  clearTimeout(timer);
  if (asked(event)) timer = setTimeout(show, 150, asked(event), false);
  else if (!popup.contains(event.target)) timer = setTimeout(() => popup.hidePopover(), 300);
});
document.addEventListener("click", (event) => {
  if (asked(event)?.matches(VALUE)) show(asked(event), true);
});
document.addEventListener("focusin", (event) => {
  if (asked(event) === shown && popup.contains(event.relatedTarget)) return; // back from it
  if (asked(event)?.matches(":focus-visible")) show(asked(event), true);
  else if (!popup.contains(event.target)) popup.hidePopover();
});
for (const value of document.querySelectorAll(`${VALUE}:not(table *)`)) value.tabIndex = 0;
document.body.append(popup);
