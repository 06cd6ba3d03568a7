"use strict";
// Comfort only. The chosen model stands out in every table and every figure.
{
  const select = document.getElementById("model");
  const rows = [...document.querySelectorAll("tr[data-model]")];
  const pictures = [...document.querySelectorAll('img[src^="data:image/svg+xml;base64,"]')];
  const originals = new Map();

  for (const { dataset, cells } of rows) {
    if (![...select.options].some((option) => option.value === dataset.model)) {
      select.append(make("option", { value: dataset.model }, cells[0].textContent));
    }
  }
  select.parentElement.hidden = rows.length === 0;

  /** The picture with all else faded that belongs to a model; its words, groups that are moved, stay. */
  function fade(source, model) {
    const [head, data] = source.split(",");
    const svg = atob(data);
    const end = svg.indexOf(">", svg.indexOf("<svg")) + 1;
    const chosen = `:not([id="model-${model}"], [id^="model-${model}-"])`;
    const style = `<style>g[id^="model-"]${chosen}:not(:has(> g[transform])){opacity:.15}</style>`;
    return `${head},${btoa(svg.slice(0, end) + style + svg.slice(end))}`;
  }

  function draw(picture, model) {
    if (!originals.has(picture)) originals.set(picture, picture.src);
    const source = originals.get(picture);
    const belongs = model && atob(source.split(",")[1]).includes(`id="model-${model}`);
    picture.src = belongs ? fade(source, model) : source;
  }

  select.addEventListener("change", () => {
    for (const row of rows) {
      if (row.dataset.model === select.value) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    for (const picture of pictures) draw(picture, select.value);
  });
}
