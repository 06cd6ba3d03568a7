"""Numbers of sections, figures, tables and references on the whole page, and links that show them.

Each `number_*` function changes the page and returns the labels it gave, as {id: label}.
"""

import re
from collections import Counter

from bs4 import BeautifulSoup, Tag

from fmnist_lib.errors import FailedError

HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]


def number_sections(page: BeautifulSoup) -> dict[str, str]:
    """Number the headings, 1, 1.1, … and A, A.1, … in the appendix, and write the contents."""
    for title in page.select("#abstract :is(h1, h2, h3), #references :is(h1, h2, h3)"):
        title.decompose()  # the page has its own for these parts
    labels: dict[str, str] = {}
    for part, word in (("body", "Section"), ("appendix", "Appendix")):
        counts, chapter = [], "sec"
        for heading in page.find(id=part).find_all(HEADINGS):
            level = max(1, int(heading.name[1]) - (part == "appendix"))
            counts = [*counts, *[0] * level][:level]
            counts[-1] += 1
            first = chr(ord("A") + counts[0] - 1) if part == "appendix" else counts[0]
            number = ".".join(map(str, [first, *counts[1:]]))
            name = _name_heading(heading, "sec" if level == 1 else chapter, labels)
            chapter = name if level == 1 else chapter
            labels[name] = f"{word}\u00a0{number}"
            if level <= 2:
                _add_to_contents(page, name, heading.get_text().strip(), number)
            heading.name = f"h{min(level + 1, 6)}"
            heading.insert(0, page.new_tag("span", attrs={"class": "number"}, string=f"{number} "))
    return labels


def _name_heading(heading: Tag, prefix: str, taken: dict[str, str]) -> str:
    """Set and return the heading's id: that of an anchor in it, else one made of its words."""
    anchor = heading.find("a", id=True)
    words = re.sub(r"\W+", "-", heading.get_text().lower()).strip("-")
    name = wanted = anchor.extract()["id"] if anchor else f"{prefix}-{words}"
    for copies in range(2, len(taken) + 2):
        name = f"{wanted}-{copies}" if name in taken and not anchor else name
    heading.attrs = {"id": name}
    return name


def _add_to_contents(page: BeautifulSoup, name: str, title: str, number: str = "") -> None:
    """Append a line to the contents: `1.1` goes below `1`, all else to the first level."""
    place = page.find(id="contents")
    if "." in number:
        chapter = place.find_all("li", recursive=False)[-1]
        place = chapter.ol or chapter.append(page.new_tag("ol"))
    link = place.append(page.new_tag("li")).append(page.new_tag("a", href=f"#{name}"))
    if number:
        link.append(page.new_tag("span", attrs={"class": "number"}, string=f"{number} "))
    link.append(page.new_tag("span", string=title))


def number_figures(page: BeautifulSoup) -> dict[str, str]:
    """Number the figures and the tables in the order in which they stand, in their captions."""
    labels = {}
    for kind, word in (("figure", "Figure"), ("table", "Table")):
        for number, figure in enumerate(page.select(f"figure.{kind}"), start=1):
            label = labels[figure.get("id", "")] = f"{word}\u00a0{number}"
            caption = figure.figcaption or figure.append(page.new_tag("figcaption"))
            caption.insert(0, page.new_tag("span", attrs={"class": "label"}, string=f"{label}. "))
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
        part.append(page.new_tag("h2", id="sec-references", string="References"))
        part.append(page.new_tag("ol", attrs={"class": "references"})).extend(items.values())
        _add_to_contents(page, "sec-references", "References")
    return labels


def resolve_links(page: BeautifulSoup, labels: dict[str, str], *, forgiving: bool) -> None:
    """Give every link within the page that has no text the label of its target.

    Raises `FailedError` for an id that is there twice and for links to nothing, unless `forgiving`:
    then these are marked in the page.
    """
    ids = Counter(element["id"] for element in page.find_all(id=True))
    if twice := [name for name, times in ids.items() if times > 1]:
        raise FailedError(f"used twice as an id in the report: {', '.join(twice)}")
    missing = []
    for link in page.select('a[href^="#"]'):
        name = link["href"][1:]
        if name not in ids:
            missing.append(f"#{name}")
            link.name, link.attrs, link.string = "span", {"class": "missing"}, f"[missing: {name}]"
        elif not link.get_text(strip=True):
            link.string = labels.get(name, name)
    if missing and not forgiving:
        raise FailedError(f"cross references to nothing: {', '.join(dict.fromkeys(missing))}")
