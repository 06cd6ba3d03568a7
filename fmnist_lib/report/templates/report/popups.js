"use strict";
// Comfort only. A number says what it rests on, a reference what it refers to: to the pointer and
// the keyboard, a number to a tap too. What is said of numbers stands in the page as JSON.
{
  const VALUE = ".value[data-at]:not(a *)";
  const LINK = 'a:is([href^="#ref-"], [href^="#fig-"], [href^="#tab-"])';
  const WORDS = { paper: "the paper’s own figure", settings: "a choice of this report" };
  const RECORD = /^(costs\/)?\w[\w.-]*$/; // nothing else becomes part of an address
  const popup = make("div", { id: "popup", role: "dialog", "aria-label": "Where this comes from", hidden: "" });
  let told = null; // read when first asked for
  let shown = null; // what it speaks of
  let pinned = false; // by a click or the keyboard: the pointer may leave
  let timer = 0;

  function source(name) {
    if (WORDS[name] || !RECORD.test(name)) return WORDS[name] ?? name.replace("model:", "the definition of ");
    return make("a", { href: `records/${name}${name.startsWith("costs/") ? "" : "/record"}.json` }, name);
  }

  function ofNumber(value) {
    told ??= JSON.parse(document.getElementById("numbers").textContent);
    const { at } = value.dataset;
    const number = Object.hasOwn(told.numbers, at) ? told.numbers[at] : { text: "", parts: {} };
    const digits = number.text.match(/\.(\d+)/)?.[1].length ?? 0;
    const text = (x) => x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
    const deviation = number.std == null ? "" : `; standard deviation ${text(number.std)}`;
    const interval = number.low == null ? "" : `; interval ${text(number.low)} to ${text(number.high)}`;
    const parts = Object.entries(number.parts).flatMap(([name, x]) => [make("dt", {}, name), make("dd", {}, text(x))]);
    const sources = (told.sources[number.source] ?? []).map((name) => make("li", {}, source(name)));
    const list = make("ul", {}, ...sources);
    return [
      make("p", {}, make("strong", {}, value.textContent), deviation, interval),
      make("dl", {}, ...parts),
      sources.length > 6 ? make("details", {}, make("summary", {}, `${sources.length} records`), list) : list,
      make("p", {}, make("code", {}, at)),
    ];
  }

  function ofLink(link) {
    const target = document.getElementById(link.hash.slice(1));
    const copy = make("div", { class: "preview" }, target.closest("figure, li").cloneNode(true));
    for (const element of copy.querySelectorAll("*")) {
      element.removeAttribute("id");
      if (element.matches("a, button, [tabindex]")) element.tabIndex = -1;
    }
    return [copy];
  }

  function show(element, pin) {
    clearTimeout(timer);
    if (shown !== element) {
      hide();
      shown = element;
      popup.replaceChildren(...(element.matches(VALUE) ? ofNumber(element) : ofLink(element)));
      popup.hidden = false;
      element.setAttribute("aria-describedby", popup.id);
      place([...element.getClientRects()]);
    }
    pinned = pin;
  }

  /** Below the lines that it speaks of, or above where there is more room. */
  function place(lines) {
    const { clientWidth, clientHeight } = document.documentElement;
    popup.style.maxHeight = ""; // as the style sheet says
    const [{ left, top }, { bottom }] = [lines[0], lines.at(-1)];
    const under = popup.offsetHeight <= clientHeight - bottom - 14 || clientHeight - bottom >= top;
    popup.style.maxHeight = `${Math.min(popup.offsetHeight, (under ? clientHeight - bottom : top) - 14)}px`;
    popup.style.left = `${Math.max(8, Math.min(left, clientWidth - popup.offsetWidth - 8)) + scrollX}px`;
    popup.style.top = `${(under ? bottom + 6 : top - popup.offsetHeight - 6) + scrollY}px`;
  }

  function hide() {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    [shown, pinned, popup.hidden] = [null, false, true];
  }

  const inside = (event) => popup.contains(event.target);
  const asked = (event) => (inside(event) ? null : event.target.closest?.(`${VALUE}, ${LINK}`));

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse" || pinned) return;
    clearTimeout(timer);
    if (asked(event)) timer = setTimeout(show, 150, asked(event), false);
    else if (!inside(event)) timer = setTimeout(hide, 300);
  });
  document.addEventListener("click", (event) => {
    if (asked(event)?.matches(VALUE)) show(asked(event), true);
    else if (!inside(event)) hide();
  });
  document.addEventListener("focusin", (event) => {
    if (asked(event)?.matches(":focus-visible")) show(asked(event), true);
    else if (!inside(event) && !asked(event)) hide();
  });
  document.addEventListener("keydown", (event) => {
    const value = asked(event)?.matches(VALUE) ? asked(event) : null;
    if (event.key === "Enter" && value) {
      show(value, true);
      popup.querySelector("a, summary")?.focus();
    } else if (shown && (event.key === "Escape" || (event.key === "Tab" && inside(event)))) {
      event.preventDefault();
      shown.focus(); // back to where the reader came from
      if (event.key === "Escape") hide();
    } else if (event.key.startsWith("Arrow") && value?.closest("tbody")) {
      event.preventDefault();
      step(value, event.key);
    }
  });
  addEventListener("scroll", (event) => { if (event.target !== document && event.target.contains(shown)) hide(); }, true);
  addEventListener("resize", hide);

  // The keyboard: a stop for each number in the text, one for each table, with arrow keys in it.
  function step(value, key) {
    const all = [...value.closest("tbody").querySelectorAll(VALUE)];
    const column = (one) => one.closest("td, th").cellIndex;
    const line = /Up|Down/.test(key) ? all.filter((other) => column(other) === column(value)) : all;
    const next = line[line.indexOf(value) + (/Up|Left/.test(key) ? -1 : 1)] ?? value;
    [value.tabIndex, next.tabIndex] = [-1, 0];
    next.focus();
  }
  for (const value of document.querySelectorAll(VALUE)) {
    value.tabIndex = value === (value.closest("tbody")?.querySelector(VALUE) ?? value) ? 0 : -1;
  }
  document.body.append(popup);
}
