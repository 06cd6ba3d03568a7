"use strict";
// Comfort only. A click on a heading sorts a table up, down, and as it was; claims can be filtered.
{
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

  /** What a cell is sorted by: its first number, or its words; null, which comes last, for neither. */
  function key(cell, numeric) {
    const text = cell.textContent.replaceAll("−", "-").replaceAll(",", "").trim();
    if (!numeric) return text === "–" ? null : text;
    const number = text.match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    return number && Number(number[0]);
  }

  const compare = (one, other) =>
    typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });

  function sort(heading, body, original) {
    const state = NEXT[heading.ariaSort];
    for (const other of heading.parentElement.cells) other.ariaSort = "none";
    heading.ariaSort = state;
    const keyOf = (row) => key(row.cells[heading.cellIndex], heading.classList.contains("numeric"));
    const rows = state === "none" ? original : [...original].sort((one, other) => {
      const [first, second] = [keyOf(one), keyOf(other)];
      if (first === null || second === null) return (first === null) - (second === null);
      return state === "ascending" ? compare(first, second) : compare(second, first);
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("figure.table table")) {
    const original = [...table.tBodies[0].rows];
    if (original.length < 3) continue;
    for (const heading of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
      heading.append(button);
      heading.ariaSort = "none";
      button.addEventListener("click", () => sort(heading, table.tBodies[0], original));
    }
  }

  for (const figure of document.querySelectorAll(".claims")) {
    const rows = [...figure.querySelectorAll("tr[data-verdict]")];
    const buttons = ["", ...new Set(rows.map((row) => row.dataset.verdict))].map((verdict) => {
      const own = rows.filter((row) => !verdict || row.dataset.verdict === verdict);
      const button = make("button", { type: "button", "aria-pressed": String(!verdict) }, `${verdict || "all"} ${own.length}`);
      button.addEventListener("click", () => {
        for (const row of rows) row.hidden = !own.includes(row);
        for (const other of buttons) other.ariaPressed = String(other === button);
      });
      return button;
    });
    const bar = make("p", { class: "filter", role: "group", "aria-label": "Show claims by verdict" }, ...buttons);
    figure.querySelector(".scroll").before(bar);
    addEventListener("hashchange", () => { // from a tile to a row that is filtered away
      if (!figure.querySelector(":target[hidden]")) return;
      buttons[0].click();
      figure.querySelector(":target").scrollIntoView({ block: "center" });
    });
  }
}
