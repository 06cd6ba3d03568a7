"use strict";
// Comfort only. A figure opens large: by a click on it, or by its button.
{
  const close = make("button", { type: "button", class: "close" }, "Close");
  const content = make("div", { class: "large" });
  const view = make("dialog", { "aria-label": "Figure" }, close, content);
  document.body.append(view);
  close.addEventListener("click", () => view.close());
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });

  function enlarge(image, caption, name) {
    const frame = make("div", { class: "frame", tabindex: "0", role: "group", "aria-label": name });
    frame.append(make("img", { src: image.src, alt: image.alt }));
    const words = make("p", {}, ...[...(caption?.childNodes ?? [])].map((node) => node.textContent));
    content.replaceChildren(frame, words);
    view.setAttribute("aria-label", name);
    view.showModal();
  }

  for (const image of document.querySelectorAll("figure.figure img")) {
    const caption = image.closest("figure").querySelector("figcaption");
    const name = caption?.querySelector(".label")?.textContent.replace(/[.\s]+$/, "") ?? "Figure";
    const button = make("button", { type: "button", class: "enlarge", "aria-label": `Enlarge ${name}` });
    image.closest(".scroll").after(button);
    for (const element of [image, button]) {
      element.addEventListener("click", () => enlarge(image, caption, name));
    }
  }
}
