"use strict";
// Comfort only. A number says where it comes from: to the pointer, to a tap, and to the keyboard.
{
  const MARKED = ".value[data-source]:not(a *)";
  const NAME = /^\w[\w.-]*$/; // of a record or notebook; nothing else becomes part of an address
  const FEW = 3; // runs named at once
  const values = [...document.querySelectorAll(MARKED)];
  const popup = make("div", { id: "origin", role: "dialog", "aria-label": "Where this number comes from", hidden: "" });
  let shown = null; // the number it speaks of
  let pinned = false; // by a click or the keyboard: the pointer may leave
  let timer = 0;

  // --- what is said ---

  /** What the appendix says of a run, and of where it was made: heading → text. */
  function detailsOf(run) {
    const found = new Map();
    for (const row of document.querySelectorAll(`#appendix tr[data-run~="${run}"]`)) {
      const headings = row.closest("table").tHead?.rows[0].cells ?? [];
      [...row.cells].forEach((cell, column) => {
        const [heading, text] = [headings[column]?.textContent.trim(), cell.textContent.trim()];
        if (heading && text !== run) found.set(heading, text);
      });
    }
    const machine = found.get("Environment");
    const environments = document.querySelector("#tab-environments table");
    const columns = [...(environments?.tHead?.rows[0].cells ?? [])];
    const last = (words) => words?.trim().split(" ").at(-1);
    const column = columns.findIndex(({ textContent }) => last(textContent) === last(machine));
    if (machine && column > 0) {
      for (const { cells } of environments.tBodies[0].rows) {
        found.set(cells[0].textContent.trim(), cells[column].textContent.trim());
      }
    }
    return found;
  }

  /** One source as {name, href, details}; an unknown one as the name it has. */
  function sourceOf(name) {
    const record = name.replace(/^costs\//, "");
    if (name === "paper") {
      return { name: "the paper's own figure", href: document.getElementById("ref-paper") && "#ref-paper" };
    }
    if (name === "settings") return { name: "a setting or count of this report" };
    if (name.startsWith("model:")) return { name: `follows from the definition of ${name.slice(6)}` };
    if (!NAME.test(record)) return { name };
    const href = `records/${record === name ? `${name}/record` : name}.json`;
    return { name, href, details: detailsOf(name) };
  }

  function listed(sources, common) {
    const items = sources.map(({ name, href, details }) => {
      const own = [...(details ?? [])].filter(([heading]) => !common.has(heading));
      const said = own.map(([heading, text]) => `${heading.toLowerCase()} ${text}`).join(", ");
      return make("li", {}, href ? make("a", { href }, name) : name, said && `: ${said}`);
    });
    const list = make("ul", {}, ...items.slice(0, items.length > FEW + 1 ? FEW : undefined));
    if (items.length <= FEW + 1) return [list];
    const rest = make("summary", {}, `${items.length - FEW} more`);
    return [list, make("details", {}, rest, make("ul", {}, ...items.slice(FEW)))];
  }

  /** The details that all runs share; what differs is said of each. */
  function shared(sources) {
    const [first, ...others] = sources.filter(({ details }) => details).map(({ details }) => details);
    return new Map([...(first ?? [])].filter(([heading, text]) => others.every((one) => one.get(heading) === text)));
  }

  function madeBy(cell) {
    const { notebook, cell: number } = cell?.dataset ?? {};
    if (!cell) return "";
    const here = make("a", { href: `#${cell.id}` }, "made here");
    here.addEventListener("click", () => { cell.querySelector("details.code")?.setAttribute("open", ""); });
    if (!NAME.test(notebook ?? "")) return make("p", {}, here);
    const file = make("a", { href: `notebooks/${notebook}.ipynb` }, `${notebook}.ipynb`);
    return make("p", {}, here, ", by cell ", number, " of ", file);
  }

  function fill(value) {
    const sources = value.dataset.source.split(/\s+/).filter(Boolean).map(sourceOf);
    const common = shared(sources);
    const terms = [...common].flatMap(([heading, text]) => [make("dt", {}, heading), make("dd", {}, text)]);
    const { spread, at } = value.dataset;
    popup.replaceChildren(
      make("p", {}, make("strong", {}, value.textContent), spread ? `; ${spread}` : ""),
      at ? make("p", { class: "at" }, make("code", {}, at)) : "",
      ...listed(sources, common),
      make("dl", {}, ...terms),
      madeBy(value.closest(".cell")),
    );
  }

  // --- where and when ---

  function place(value) {
    const lines = [...value.getClientRects()];
    const [{ left: start, top: first }, { bottom: last }] = [lines[0], lines.at(-1)];
    const { clientWidth, clientHeight } = document.documentElement;
    const left = Math.max(8, Math.min(start, clientWidth - popup.offsetWidth - 8));
    popup.style.maxHeight = ""; // as the style sheet says
    const [above, below] = [first - 14, clientHeight - last - 14];
    const under = popup.offsetHeight <= below || below >= above;
    popup.style.maxHeight = `${Math.min(popup.offsetHeight, under ? below : above)}px`;
    const top = under ? last + 6 : first - popup.offsetHeight - 6;
    popup.style.left = `${left + scrollX}px`;
    popup.style.top = `${top + scrollY}px`;
  }

  function show(value, pin) {
    clearTimeout(timer);
    pinned = pin;
    if (shown === value) return;
    hide();
    pinned = pin;
    shown = value;
    fill(value);
    popup.hidden = false;
    place(value);
    value.setAttribute("aria-describedby", popup.id);
  }

  function hide() {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    pinned = false;
    popup.hidden = true;
  }

  const marked = (event) => event.target.closest?.(MARKED);
  const inside = (event) => popup.contains(event.target);

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse" || pinned) return;
    clearTimeout(timer);
    const value = marked(event);
    if (value) timer = setTimeout(show, 150, value, false);
    else if (shown && !inside(event)) timer = setTimeout(hide, 300);
  });
  document.addEventListener("click", (event) => {
    const value = marked(event);
    if (value) show(value, true);
    else if (!inside(event) || event.target.closest('a[href^="#"]')) hide();
  });
  document.addEventListener("focusin", (event) => {
    const value = marked(event);
    if (value) {
      rove(value);
      if (value.matches(":focus-visible")) show(value, true);
    } else if (!inside(event)) hide();
  });
  document.addEventListener("keydown", (event) => {
    const value = marked(event);
    if (event.key === "Escape" && shown) {
      if (inside(event)) shown.focus();
      hide();
    } else if (value && event.key === "Enter") {
      show(value, true);
      popup.querySelector("a, summary")?.focus();
    } else if (value?.closest("tbody")) {
      const next = neighbour(value, event.key);
      if (!next) return;
      event.preventDefault();
      next.focus();
    }
  });
  // From the pop-up the Tab key leads back to where the reader came from.
  popup.addEventListener("keydown", (event) => {
    if (event.key !== "Tab") return;
    const stops = [...popup.querySelectorAll("a, summary")].filter((stop) => stop.checkVisibility());
    if (event.target !== stops.at(event.shiftKey ? 0 : -1)) return;
    event.preventDefault();
    shown.focus();
  });
  // It does not move with the number when the frame around that scrolls.
  addEventListener("scroll", (event) => { if (event.target !== document && event.target.contains(shown)) hide(); }, true);
  addEventListener("resize", hide);

  // --- the keyboard: a stop for each number in the text, one for each table, with arrow keys in it ---

  function rove(value) {
    for (const other of value.closest("tbody")?.querySelectorAll(MARKED) ?? []) other.tabIndex = -1;
    value.tabIndex = 0;
  }

  function neighbour(value, key) {
    const cell = value.closest("td, th");
    const row = cell.parentElement;
    const along = [...row.querySelectorAll(MARKED)];
    const column = [...row.parentElement.rows].map(({ cells }) => cells[cell.cellIndex]?.querySelector(MARKED));
    const steps = {
      ArrowRight: () => along[along.indexOf(value) + 1],
      ArrowLeft: () => along[along.indexOf(value) - 1],
      ArrowDown: () => column.slice(row.sectionRowIndex + 1).find(Boolean),
      ArrowUp: () => column.slice(0, row.sectionRowIndex).findLast(Boolean),
      Home: () => along[0],
      End: () => along.at(-1),
    };
    return steps[key]?.();
  }

  for (const value of values) value.tabIndex = value.closest("tbody") ? -1 : 0;
  for (const body of document.querySelectorAll("tbody")) {
    const first = body.querySelector(MARKED);
    if (first) first.tabIndex = 0;
  }
  document.body.append(popup);
  document.getElementById("hint").hidden = values.length === 0;
}
