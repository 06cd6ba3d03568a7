"""The list, in the appendix, of what the numbers of each section rest on and which cells made them.

On paper it stands for what the page shows of a single number. It is made of the marks that
`sources` wrote; the runs and timings themselves have tables of their own.
"""

from collections.abc import Collection, Iterable, Iterator

from bs4 import BeautifulSoup, Tag

from fmnist_lib.reporting.numbering import add, new_tag
from fmnist_lib.reporting.sources import COSTS, PAPER, SETTINGS
from fmnist_lib.reporting.words import join, names_of

FEW = 3  # records or models that are named one by one
CAPTION = "What the numbers of each section rest on, and the cells of the notebooks that made them."


def list_origins(page: BeautifulSoup) -> None:
    """Append the list to the page's appendix; none where no number is marked.

    Sections must have their ids, as `numbering.number_sections` gives them.
    """
    rows = [_row(place, values) for place, values in _marked(page).items()]
    if not rows:
        return
    figure = new_tag("figure", attributes={"class": "table", "id": "tab-origins"})
    add(figure, new_tag("figcaption", CAPTION))
    table = add(figure, new_tag("table"))
    head = add(add(table, new_tag("thead")), new_tag("tr"))
    head.extend(new_tag("th", words) for words in ("Section", "Rests on", "Cells"))
    add(table, new_tag("tbody")).extend(rows)
    add(add(page.find(id="appendix"), new_tag("div", attributes={"class": "cell"})), figure)


def _marked(page: BeautifulSoup) -> dict[str, list[Tag]]:
    """The marked numbers of the abstract and of each section of the body, by its id."""
    found: dict[str, list[Tag]] = {}
    for part in ("abstract", "body"):
        place = part
        for element in page.find(id=part).select("h2, h3, .value[data-source]"):
            if element.name != "span":
                place = element["id"]
            else:
                found.setdefault(place, []).append(element)
    return found


def _row(place: str, values: list[Tag]) -> Tag:
    row = new_tag("tr")
    link = new_tag("a", "Abstract" if place == "abstract" else "", {"href": f"#{place}"})
    add(add(row, new_tag("th")), link)
    names = dict.fromkeys(name for value in values for name in value["data-source"].split())
    add(row, new_tag("td", "; ".join(in_words(names))))
    add(row, new_tag("td")).extend(_cells(values))
    return row


def in_words(names: Iterable[str]) -> Iterator[str]:
    """Sources in words: by name, or by number where there are many."""
    records: dict[str, list[str]] = {"run": [], "timing": []}
    models, others = [], []
    for name in names:
        if name.startswith("model:"):
            models.append(name.removeprefix("model:"))
        elif name in (PAPER, SETTINGS):
            others.append({PAPER: "the paper", SETTINGS: "settings of this report"}[name])
        else:
            records["timing" if name.startswith(COSTS) else "run"].append(name)
    for word, own in records.items():
        if len(own) > FEW:
            of = dict.fromkeys(name.removeprefix(COSTS).partition("-")[0] for name in own)
            yield f"{len(own)} {word}s of {_models(of)}"
        elif own:
            yield join(own)
    if models:
        yield f"the definition of {_models(models)}"
    yield from others


def _models(names: Collection[str]) -> str:
    return names_of(names) if len(names) <= FEW else f"{len(names)} models"


def _cells(values: list[Tag]) -> Iterator[Tag | str]:
    """The cells of the values, as links, behind the name of their notebook."""
    cells = {cell["id"]: cell for value in values if (cell := value.find_parent(class_="cell"))}
    before = ""
    for name, cell in cells.items():
        notebook = cell.get("data-notebook", "")
        yield ", " if before == notebook else f"{notebook} "
        yield new_tag("a", cell.get("data-cell", ""), {"href": f"#{name}"})
        before = notebook
