"use strict";
// Comfort only. A click on a heading sorts a table of results: upwards, downwards, as it was.
{
  const NUMBER = /[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i;
  const DAY = /^\d{4}-\d{2}-\d{2}/;
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  /** What a cell is sorted by: its first number, or its words; null, which comes last, for neither. */
  function key(cell, numeric) {
    const text = cell.textContent.replaceAll("−", "-").trim();
    if (!numeric) return text === "–" || text === "" ? null : text;
    if (DAY.test(text)) return text;
    const number = text.match(NUMBER);
    return number && Number(number[0].replaceAll(",", ""));
  }

  function compare(one, other) {
    if (typeof one === "number") return one - other;
    return one.localeCompare(other, "en", { numeric: true });
  }

  function sort(heading, body, original) {
    const state = NEXT[heading.getAttribute("aria-sort")];
    for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", state);
    const numeric = heading.classList.contains("numeric");
    const sign = state === "descending" ? -1 : 1;
    const rows = original.map((row) => ({ row, key: key(row.cells[heading.cellIndex], numeric) }));
    if (state !== "none") {
      rows.sort((one, other) => {
        if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
        return sign * compare(one.key, other.key);
      });
    }
    body.append(...rows.map(({ row }) => row));
  }

  for (const table of document.querySelectorAll("figure.table table")) {
    const body = table.tBodies[0];
    const headings = table.tHead?.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const original = [...(body?.rows ?? [])];
    const results = headings.some((heading) => heading.classList.contains("numeric"));
    if (!results || original.length < 3 || table.querySelector("[rowspan], [colspan]")) continue;
    for (const heading of headings) {
      if (!heading.textContent.trim()) continue;
      const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(heading, body, original));
    }
  }
}
