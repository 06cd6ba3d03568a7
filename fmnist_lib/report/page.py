"""Executed notebooks → one HTML page → one PDF.

nbconvert turns cells into markup (`templates/report`), `sanitise.py` takes from it what could run,
numbers and links make it one document, and it is sealed: it loads nothing from elsewhere. The PDF
is the same page under `print.css`, without its code. No notebook is run and no number computed.

What notebooks agree on: the `#` heading is a notebook's title, the first heading of an appendix is
a `##`. Tags of cells: `hide-input`, `remove`, `parameters`; `abstract`, `appendix`
and `references` name the part of the report that a cell goes to. A reference is a list item with an
`<a id="ref-…"></a>` in it. A heading's id is that of an `<a id="sec-…"></a>` in it, else made of
its words and those of its notebook's title: `sec-lenet-5-training`. A link without text, to
`#fig-…`, `#tab-…`, `#sec-…` or `#ref-…`, shows the number of its target.
"""

import contextlib
import io
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import matplotlib
import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from fmnist_lib.errors import FailedError
from fmnist_lib.report.files import BROUGHT, numbers_json, ours, write
from fmnist_lib.report.sanitise import sanitise

TEMPLATES = Path(__file__).parent / "templates" / "report"
LEFT_OUT = ["remove", "parameters", "injected-parameters"]
HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the same on every machine


def write_report(notebooks: Sequence[NotebookNode], folder: Path, **front: object) -> str:
    """Write `index.html` and `report.pdf` into `folder`; return why there is no PDF, else "".

    Without WeasyPrint's system libraries the page is written all the same, and an older PDF
    deleted. Raises `FailedError` as `render_html` does; the folder is then untouched.
    """
    warning = why_no_pdf()
    page = render_html(notebooks, **front, pdf=not warning)
    if not warning:
        write(folder, "report.pdf", render_pdf(page))
    elif "report.pdf" in ours(folder):
        (folder / "report.pdf").unlink(missing_ok=True)  # it belonged to an older page
    write(folder, "index.html", page.encode())
    return warning


def render_html(notebooks: Sequence[NotebookNode], **front: object) -> str:
    """Return the executed notebooks, in the order given, as one page that stands alone.

    `front` is what the template says of the whole, as plain text: `title`, `subtitle`, `date`,
    `published` (an ISO date), `citation` (of CITATION.cff), `draft`, `seconds` that executing took,
    `pdf` beside the page, and `numbers` (of `files.collect`) for its pop-ups.

    The same input gives the same text. Raises `FailedError` for cross references to nothing (only
    marked in the page when a notebook had failed), ids used twice, and resources not embedded.
    """
    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES.parent)],
        exclude_anchor_links=True,
    )
    exporter.register_filter("sanitise", sanitise)
    exporter.register_filter("sha256", lambda t: b64encode(sha256(t.encode()).digest()).decode())
    hiding = TagRemovePreprocessor(remove_cell_tags=LEFT_OUT, remove_input_tags=["hide-input"])
    exporter.register_preprocessor(hiding, enabled=True)
    front["numbers"] = numbers_json(front.get("numbers", {})).replace("<", r"\u003c")
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    cells = [NotebookNode(cell, id=f"cell-{n}") for n, cell in enumerate(cells)]  # may share ids
    merged = nbformat.v4.new_notebook(cells=cells, metadata={"front": front})
    page = BeautifulSoup(exporter.from_notebook_node(merged)[0], "html.parser")
    for cell in page.select(".cell[data-part]"):
        page.find(id=cell["data-part"]).append(cell)
    for code in page.select("#abstract .code, #references .code"):
        code.decompose()
    _gather_code(page)
    labels = number_sections(page)
    labels |= number_figures(page) | number_references(page)
    for figure in page.select("figure[data-files]"):
        _offer(page, figure)
    for cell in page.select(".cell"):
        if not cell.encode_contents().strip():  # would part a heading from its text on paper
            cell.decompose()
    for table in page.select(".cell > table"):  # of Markdown
        table.wrap(page.new_tag("div", attrs={"class": "scroll"}))
    for frame in page.select(".scroll"):
        frame["tabindex"] = "0"  # to be scrolled by keys
    for image in page("img"):
        if not image.get("src", "data:").startswith("data:"):
            raise FailedError(f"not embedded in the report: {image['src']:.200}")
        image["loading"] = "lazy"  # drawn when the reader comes near: most of the opening's time
    failed = page.select_one(".failure")
    if failed:
        failed["id"] = "failure"
    else:
        page.select_one(".incomplete").decompose()
    resolve_links(page, labels, forgiving=bool(failed))
    return str(page)


def render_pdf(html: str) -> bytes:
    """Return the page of `render_html` as a tagged PDF (PDF/UA-1).

    No file is read for it but its fonts, and nothing is asked of a network.
    """
    from weasyprint import CSS, HTML
    from weasyprint.text.fonts import FontConfiguration
    from weasyprint.urls import URLFetcher

    fonts, place = FontConfiguration(), f"{FONTS.as_uri()}/"
    sheet = CSS(filename=TEMPLATES / "fonts.css", base_url=place, font_config=fonts)
    document = HTML(string=html, url_fetcher=URLFetcher(allowed_protocols={"data"}))
    return document.write_pdf(stylesheets=[sheet], font_config=fonts, pdf_variant="pdf/ua-1")


def why_no_pdf() -> str:
    """Return, empty if there is none, which system library WeasyPrint lacks, and what to do."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what our own message says
            import weasyprint.text.fonts  # noqa: F401  # which loads them all
    except OSError as error:
        lacks = str(error).partition("\n")[0]
        return f"no PDF can be made, since {lacks}; README says how to install Pango, its library"
    return ""


def _gather_code(page: BeautifulSoup) -> None:
    """Put the code of each section into one fold at its end."""
    fold = None
    for cell in page.main.select(".cell"):
        if cell.find(HEADINGS):
            fold = None
        for code in cell.select(".code"):
            if fold is None:
                fold = page.new_tag("details", attrs={"class": "listing"})
                fold.append(page.new_tag("summary", string="Show code"))
            fold.append(code)
        if fold:
            cell.append(fold)


def _offer(page: BeautifulSoup, figure: Tag) -> None:
    """Link the files that a figure or table can be had as."""
    links = figure.append(page.new_tag("p", attrs={"class": "files"}))
    for path in filter(BROUGHT.fullmatch, figure["data-files"].split()):
        kind = path.rpartition(".")[2].upper()
        label = f"{kind} of {figure.select_one('.label').get_text().strip(' .')}"
        links.append(page.new_tag("a", href=path, attrs={"aria-label": label}, string=kind))


# --- numbers of sections, figures, tables and references, and links that show them ---
# Each `number_*` function changes the page and returns the labels it gave, as {id: label}.


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
