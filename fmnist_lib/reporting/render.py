"""Executed notebooks → one notebook → one HTML page → one PDF.

nbconvert turns cells into markup (`templates/report`), `sanitise.py` takes from it what could run,
`numbering.py` makes it one document, and the page is sealed: it loads nothing from elsewhere. The
PDF is the same page under `print.css`. No notebook is run here and no number computed.

What notebooks agree on:

- the notebook's metadata hold its file's `name`, without suffix;
- cell tags: `hide-input`, `keep-stream`, `remove`, `parameters`; `abstract`, `appendix` and
  `references` name the part of the report that a cell goes to;
- the `#` heading is the notebook's title, and the first heading of an appendix is a `##`;
- `<figure class="figure" id="fig-…">`, `<figure class="table" id="tab-…">`; their captions bear
  no number;
- references are list items, each named by an `<a id="ref-…"></a>` in it;
- a heading's id is that of an `<a id="sec-…"></a>` in it, else made of its words and those of its
  notebook's title: `sec-lenet-5`, `sec-lenet-5-training`;
- `[](#fig-…)`, `[](#tab-…)`, `[](#sec-…)`, `[](#ref-…)`: a link without text shows the number.
"""

import base64
import contextlib
import copy
import hashlib
import io
import itertools
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Required, TypedDict, Unpack

import matplotlib
import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from fmnist_lib.reporting import numbering
from fmnist_lib.reporting.folder import replacing
from fmnist_lib.reporting.numbering import ReportError, add, add_to_contents, new_tag
from fmnist_lib.reporting.origins import list_origins
from fmnist_lib.reporting.sanitise import sanitise

TEMPLATES = Path(__file__).parent / "templates"
PARTS = ("abstract", "appendix", "references")  # all else is the body
LEFT_OUT = {"remove", "parameters", "injected-parameters", "papermill-error-cell-tag"}
INPUT_HIDDEN = {"hide-input", "abstract", "references"}
SHOWN = {"text/html", "text/markdown", "text/plain", "image/svg+xml", "image/png"}
WIDGET = "application/vnd.jupyter.widget-view+json"  # a progress bar
NUMBER = re.compile(r"[\s\d.,:%±×+−–—()*†<>≤≥≈/-]*(\s?[a-zA-Zµ]{1,3})?")  # perhaps with a unit
SPREAD = re.compile(" ([±–]) ")
SHORT = 16  # characters of a table cell that stay on one line
PORTRAIT, LANDSCAPE = 100, 152  # characters in a row of a printed table: beyond, smaller; turned
LONG = 2000  # characters of a printed table: beyond, it may go on over the page
FONTS = (  # family in `print.css`, weight, style, matplotlib's copy: the same on every machine
    ("Report Serif", "normal", "normal", "STIXGeneral"),
    ("Report Serif", "bold", "normal", "STIXGeneralBol"),
    ("Report Serif", "normal", "italic", "STIXGeneralItalic"),
    ("Report Serif", "bold", "italic", "STIXGeneralBolIta"),
    ("Report Mono", "normal", "normal", "DejaVuSansMono"),
    ("Report Mono", "bold", "normal", "DejaVuSansMono-Bold"),
    ("Report Sans", "normal", "normal", "DejaVuSans"),
    ("Report Sans", "bold", "normal", "DejaVuSans-Bold"),
)
NO_PDF = (
    "no PDF can be made, since WeasyPrint lacks a system library ({reason}). Install it and run "
    "again: `apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0` on Debian and "
    "Ubuntu, `brew install pango` on macOS, `conda install -c conda-forge pango` with conda"
)


class PdfUnavailableError(Exception):
    """A system library that WeasyPrint needs is missing; the message names what to install."""


class TitleBlock(TypedDict, total=False):
    """What is said of the whole report. Plain text: markup in it is shown, not obeyed."""

    title: Required[str]
    subtitle: str
    authors: str
    date: str
    draft: bool  # the report contains a shortened run
    seconds: float  # that executing the notebooks took


class ReportFiles(NamedTuple):
    """What `write_report` left in its folder."""

    html: Path
    pdf: Path | None
    warning: str | None  # one line: why there is no PDF, and what to install


def write_report(
    notebooks: Sequence[NotebookNode], folder: Path, **front: Unpack[TitleBlock]
) -> ReportFiles:
    """Write `index.html` and `report.pdf` into `folder`; each appears whole or not at all.

    Without WeasyPrint's system libraries the page is written all the same, an older PDF is deleted,
    and the result says why. Raises ReportError as `render_html` does; the folder is then untouched.
    """
    page = render_html(notebooks, **front)
    html, pdf, warning = folder / "index.html", folder / "report.pdf", None
    with replacing(folder, html.name) as unfinished_page:
        unfinished_page.write_bytes(page.encode())
        try:
            with replacing(folder, pdf.name) as unfinished:
                render_pdf(page, unfinished)
        except PdfUnavailableError as error:
            pdf.unlink(missing_ok=True)  # it belonged to an older page
            warning = str(error)
    return ReportFiles(html, None if warning else pdf, warning)


def render_html(notebooks: Sequence[NotebookNode], **front: Unpack[TitleBlock]) -> str:
    """Return the executed notebooks, in the order given, as one page that stands alone.

    The same input gives the same text. Raises ReportError for cross references to nothing (only
    marked in the page when a notebook had failed), ids used twice, and resources not embedded.
    """
    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_anchor_links=True,
    )
    exporter.register_filter("sanitise", sanitise)
    page = BeautifulSoup(exporter.from_notebook_node(_merge(notebooks, front))[0], "html.parser")
    for cell in page.select(".cell[data-part]"):
        add(page.find(id=cell["data-part"]), cell.extract())
    labels = numbering.number_sections(page)
    list_origins(page)
    labels |= numbering.number_figures(page) | numbering.number_references(page)
    for table in page.select(".cell table"):
        _align(table)
    for wide in page.select(".cell table, .cell figure img"):
        _let_scroll(wide)
    for image in page.select(".cell img"):
        image["loading"] = "lazy"  # drawn when the reader comes near: most of the opening's time
    failed = _mark_failures(page)
    numbering.resolve_links(page, labels, forgiving=failed)
    _seal(page)
    return str(page)


def render_pdf(html: str, target: Path) -> None:
    """Write the page of `render_html` as a tagged PDF (PDF/UA-1), with its code at the end.

    No file is read for it but its fonts, and nothing is asked of a network. Raises
    PdfUnavailableError when a system library is missing.
    """
    weasyprint = import_weasyprint()
    fonts = weasyprint.text.fonts.FontConfiguration()
    faces = weasyprint.CSS(string=_font_faces(), font_config=fonts)
    embedded = weasyprint.urls.URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=_with_code_at_the_end(html), url_fetcher=embedded)
    document.write_pdf(target, stylesheets=[faces], font_config=fonts, pdf_variant="pdf/ua-1")


# --- the notebooks ---


def _merge(notebooks: Sequence[NotebookNode], front: TitleBlock) -> NotebookNode:
    cells = [cell for notebook in notebooks for cell in _cells_to_show(notebook)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # notebooks may share ids
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}, "front": front}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _cells_to_show(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """Yield copies of the report's cells without the libraries' chatter.

    Each says its part, and which cell of which notebook it is.
    """
    for number, original in enumerate(notebook.cells):
        cell, tags = copy.deepcopy(original), set(original.metadata.get("tags", []))
        failed = any(output.output_type == "error" for output in cell.get("outputs", []))
        if cell.cell_type not in ("code", "markdown") or (tags & LEFT_OUT and not failed):
            continue
        cell.metadata = NotebookNode(
            part=next((part for part in PARTS if part in tags), "body"),
            notebook=notebook.metadata.get("name", ""),
            number=number,
        )
        if cell.cell_type == "code":
            cell.source = "" if tags & INPUT_HIDDEN else cell.source
            cell.outputs = [output for output in cell.outputs if _is_shown(output, tags)]
        yield cell


def _is_shown(output: NotebookNode, tags: Collection[str]) -> bool:
    """Return whether the page shows an output, after taking from it what the page does not."""
    if "data" not in output:
        return output.output_type != "stream" or "keep-stream" in tags
    progress = WIDGET in output.data
    output.data = NotebookNode({kind: output.data[kind] for kind in SHOWN & set(output.data)})
    return bool(output.data) and not progress


# --- the page ---


def _align(table: Tag) -> None:
    """Mark a table's numbers, short cells and header scopes, and whether it is wide on paper."""
    columns: dict[int, list[Tag]] = {}
    for row in table.find_all("tr"):
        column = 0
        for cell in row.find_all(["th", "td"], recursive=False):
            if cell.name == "th":
                cell["scope"] = "col" if cell.find_parent("thead") else "row"
            if len(cell.get_text(strip=True)) <= SHORT:
                _add_class(cell, "short")
            span = int(cell.get("colspan", 1))
            if span == 1:
                columns.setdefault(column, []).append(cell)
            column += span
    if len(table.get_text()) > LONG:
        _add_class(table, "long")
    width = 0
    for cells in columns.values():
        texts = [cell.get_text(strip=True) for cell in cells if cell.name == "td"]
        words = [word for cell in cells for word in cell.get_text().split()]
        if any(map(str.isdigit, "".join(texts))) and all(map(NUMBER.fullmatch, texts)):
            for cell in cells:
                _add_class(cell, "numeric")
                for text in cell.find_all(string=SPREAD):  # a narrow cell breaks before, not after
                    text.replace_with(SPREAD.sub(" \\1\u00a0", text))
            words += texts
        width += max(map(len, words), default=0)
    width += 3 * len(columns)  # the space between them
    if width > PORTRAIT:
        _add_class(table, "wide" if width <= LANDSCAPE else "wider")


def _add_class(tag: Tag, name: str) -> None:
    tag["class"] = [*tag.get("class", []), name]


def _let_scroll(wide: Tag) -> None:
    """Frame a table or image so that it scrolls by itself, by keyboard too, in a narrow window."""
    figure = wide.find_parent("figure")
    label = figure.select_one(".label") if figure else None
    name = label.get_text().strip(" .") if label else wide.name.capitalize()
    frame = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": name}
    wide.wrap(new_tag("div", "", frame))


def _mark_failures(page: BeautifulSoup) -> bool:
    """Name the places where a notebook stopped; return whether there are any."""
    failures = page.select("div.failure")
    for number, failure in enumerate(failures, start=1):
        failure["id"] = f"failure-{number}"
    if not failures:
        page.select_one(".incomplete").decompose()
    return bool(failures)


def _seal(page: BeautifulSoup) -> None:
    """Let the page run its own scripts alone and load nothing; raise ReportError if it would."""
    own = {file.read_text(encoding="utf-8").strip() for file in TEMPLATES.glob("report/*.js")}
    if {script.string.strip() for script in page("script")} != own:
        raise ReportError("a script that is not of the report's template")
    for tag in page.find_all(lambda tag: tag.name != "a"):
        for attribute in ("src", "srcset", "poster", "data", "href", "xlink:href"):
            if not tag.get(attribute, "#").startswith(("data:", "#")):
                raise ReportError(f"not embedded in the report: {tag.name} {tag[attribute]:.200}")
    for part in ("abstract", "appendix", "references"):
        if not page.find(id=part).find(True):
            (page.select_one(f".{part}") or page.find(id=part)).decompose()
    digests = [hashlib.sha256(script.string.encode()).digest() for script in page("script")]
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"] = (
        "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
        f"script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


def _with_code_at_the_end(html: str) -> str:
    """Gather the code cells in a last section, so that the printed text reads as a paper."""
    page = BeautifulSoup(html, "html.parser")
    if listings := page.select("details.code"):
        part = add(page.main, new_tag("section", "", {"class": "listings"}))
        add(part, new_tag("h2", "Code", {"id": "sec-code"}))
        part.extend(listings)
        for cell in page.select(".cell:not(:has(*))"):  # between a heading and its text
            cell.decompose()
        add_to_contents(page, "sec-code", "Code")
        for before, listing in reversed(list(itertools.pairwise(listings))):
            if listing["data-section"] == before["data-section"]:
                del listing["data-section"]  # said once
    return str(page)


# --- the PDF and the files ---


def _font_faces() -> str:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return "\n".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: {style}; '
        f'src: url("{(folder / file).as_uri()}.ttf"); }}'
        for family, weight, style, file in FONTS
    )


def import_weasyprint() -> ModuleType:
    """Import WeasyPrint only when it is wanted: this loads the system libraries.

    Raises `PdfUnavailableError` where one of them is missing.
    """
    try:
        # It prints about a missing library what our own message says, and warns without
        # HarfBuzz-Subset, which fontTools then replaces.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import weasyprint.text.fonts
    except OSError as error:
        reason = str(error).partition("\n")[0]
        raise PdfUnavailableError(NO_PDF.format(reason=reason)) from error
    return weasyprint
