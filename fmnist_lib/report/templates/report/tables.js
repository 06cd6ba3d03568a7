"use strict";
// Comfort only. A click on a heading sorts a table up and down; claims are filtered by verdict.
{
  /** What a cell is sorted by: its first number, or its words; null, which comes last, for neither. */
  function key(cell, numeric) {
    const text = cell.textContent.replaceAll("−", "-").replaceAll(",", "").trim();
    if (!numeric) return text === "–" ? null : text;
    const number = text.match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    return number && Number(number[0]);
  }

  function sort(heading, body) {
    const up = heading.ariaSort !== "ascending";
    for (const other of heading.parentElement.cells) other.ariaSort = "none";
    heading.ariaSort = up ? "ascending" : "descending";
    const keyOf = (row) => key(row.cells[heading.cellIndex], heading.classList.contains("numeric"));
    body.append(...[...body.rows].sort((one, other) => {
      const [first, second] = [keyOf(one), keyOf(other)];
      if (first === null || second === null) return (first === null) - (second === null);
      return (up ? 1 : -1) * (typeof first === "number" ? first - second : first.localeCompare(second, "en", { numeric: true }));
    }));
  }

  for (const table of document.querySelectorAll("figure.table table")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = make("button", { type: "button", class: "sort" }, ...heading.childNodes);
      heading.append(button);
      heading.ariaSort = "none";
      button.addEventListener("click", () => sort(heading, table.tBodies[0]));
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
    figure.querySelector(".scroll").before(make("p", { class: "filter", role: "group", "aria-label": "Verdicts" }, ...buttons));
    addEventListener("hashchange", () => { // from a tile to a row that is filtered away
      if (figure.querySelector(":target[hidden]")) buttons[0].click();
      figure.querySelector(":target")?.scrollIntoView({ block: "center" });
    });
  }
}
