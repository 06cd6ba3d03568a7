"""What only the whole page can know: numbers of sections, figures, tables and references, and the
links that show them.

Works on the page that `render.py` made of the notebooks; each `number_*` function changes the page
and returns the labels it gave, as {id: label}.
"""

import re
from collections import Counter

from bs4 import BeautifulSoup, Tag

from fmnist_lib.errors import FailedError

HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
INLINE = {"a", "code", "em", "strong", "sub", "sup"}  # a heading's other markup is shown as text


class ReportError(FailedError):
    """The notebooks do not make one report; the message names what is missing or there twice."""


def new_tag(name: str, text: str = "", attributes: dict[str, str] | None = None) -> Tag:
    """Return an element that is not yet part of a page; its text is escaped when written."""
    tag = Tag(name=name, attrs=attributes or {})
    if text:
        tag.string = text
    return tag


def add(parent: Tag, child: Tag) -> Tag:
    """Append `child` to `parent` and return it."""
    parent.append(child)
    return child


def add_to_contents(page: BeautifulSoup, name: str, title: str, number: str = "") -> None:
    """Append a line to the table of contents: `1.1` goes below `1`, all else to the first level."""
    place = page.find(id="contents")
    if "." in number:
        chapter = place.find_all("li", recursive=False)[-1]
        place = chapter.ol or add(chapter, new_tag("ol"))
    link = add(add(place, new_tag("li")), new_tag("a", attributes={"href": f"#{name}"}))
    if number:
        add(link, new_tag("span", f"{number} ", {"class": "number"}))
    add(link, new_tag("span", title))


def number_sections(page: BeautifulSoup) -> dict[str, str]:
    """Number the headings, 1, 1.1, … and A, A.1, … in the appendix, and write the contents."""
    for title in page.select("#abstract :is(h1, h2, h3), #references :is(h1, h2, h3)"):
        title.decompose()  # the page has its own for these parts
    labels: dict[str, str] = {}
    for part, word in (("body", "Section"), ("appendix", "Appendix")):
        counts: list[int] = []
        chapter, number = "sec", ""
        for element in page.find(id=part).find_all([*HEADINGS, "details"]):
            if element.name == "details":
                element["data-section"] = number  # where a listing comes from, for the PDF
                continue
            level = int(element.name[1]) - (part == "appendix")
            level = min(max(level, 1), len(counts) + 1)  # a level left out is not counted
            counts = counts[:level] if level <= len(counts) else [*counts, 0]
            counts[-1] += 1
            first = chr(ord("A") + counts[0] - 1) if part == "appendix" else str(counts[0])
            number = ".".join([first, *map(str, counts[1:])])
            name = _name_heading(element, "sec" if level == 1 else chapter, labels)
            chapter = name if level == 1 else chapter
            labels[name] = f"{word}\u00a0{number}"
            if level <= 2:
                add_to_contents(page, name, element.get_text().strip(), number)
            element.name = f"h{min(level + 1, 6)}"
            element.insert(0, new_tag("span", f"{number} ", {"class": "number"}))
            permalink = {"class": "permalink", "href": f"#{name}"}
            add(element, new_tag("a", "", permalink | {"aria-label": f"Link to {labels[name]}"}))
    return labels


def _name_heading(heading: Tag, prefix: str, taken: dict[str, str]) -> str:
    """Set and return the heading's id: that of an anchor in it, else one made of its words."""
    for tag in heading.find_all(lambda tag: tag.name not in INLINE):
        tag.replace_with(str(tag))
    anchor = heading.find("a", id=True)
    words = re.sub(r"\W+", "-", heading.get_text().lower()).strip("-")
    name = wanted = anchor.extract()["id"] if anchor else f"{prefix}-{words}"
    copies = 1
    while name in taken and not anchor:
        copies += 1
        name = f"{wanted}-{copies}"
    heading.attrs = {"id": name}
    return name


def number_figures(page: BeautifulSoup) -> dict[str, str]:
    """Number the figures and the tables in the order in which they stand, in their captions."""
    labels = {}
    for kind, word in (("figure", "Figure"), ("table", "Table")):
        for number, figure in enumerate(page.select(f"figure.{kind}"), start=1):
            caption = figure.figcaption or add(figure, new_tag("figcaption"))
            caption.insert(0, new_tag("span", f"{word}\u00a0{number}. ", {"class": "label"}))
            labels[figure.get("id", "")] = f"{word}\u00a0{number}"
    return labels


def number_references(page: BeautifulSoup) -> dict[str, str]:
    """Make one list of all notebooks' references, each of them once."""
    part = page.find(id="references")
    items: dict[str, Tag] = {}
    labels = {}
    for item in part.find_all("li"):
        text = " ".join(item.get_text().split())
        items.setdefault(text, item.extract())
        for anchor in item.find_all("a", id=True):
            labels[anchor["id"]] = f"[{list(items).index(text) + 1}]"
    part.clear()
    if items:
        add(part, new_tag("h2", "References", {"id": "sec-references"}))
        add(part, new_tag("ol", "", {"class": "references"})).extend(items.values())
        add_to_contents(page, "sec-references", "References")
    return labels


def resolve_links(page: BeautifulSoup, labels: dict[str, str], *, forgiving: bool) -> None:
    """Give every link within the page that has no text the label of its target.

    Raises ReportError for an id that is there twice and, unless `forgiving`, for links to nothing;
    else these are marked in the page.
    """
    ids = Counter(element["id"] for element in page.find_all(id=True))
    if twice := [name for name, times in ids.items() if times > 1]:
        raise ReportError(f"used twice as an id in the report: {', '.join(twice)}")
    missing = []
    for link in page.select('a[href^="#"]'):
        name = link["href"][1:]
        if name not in ids:
            missing.append(f"#{name}")
            link.replace_with(new_tag("span", f"[missing: {name}]", {"class": "missing"}))
        elif not link.get_text(strip=True) and not link.has_attr("aria-label"):
            link.string = labels.get(name, name)
    if missing and not forgiving:
        raise ReportError(f"cross references to nothing: {', '.join(dict.fromkeys(missing))}")
