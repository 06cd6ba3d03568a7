"""Executed notebooks → one HTML page → one PDF.

nbconvert turns cells into markup (`templates/report`), `sanitise.py` takes from it what could run,
`numbering.py` makes it one document, and the page is sealed: it loads nothing from elsewhere. The
PDF is the same page under `print.css`, without its code. No notebook is run and no number computed.

What notebooks agree on: the `#` heading is a notebook's title, the first heading of an appendix is
a `##`. Tags of cells: `hide-input`, `keep-stream`, `remove`, `parameters`; `abstract`, `appendix`
and `references` name the part of the report that a cell goes to. A reference is a list item with an
`<a id="ref-…"></a>` in it. A heading's id is that of an `<a id="sec-…"></a>` in it, else made of
its words and those of its notebook's title: `sec-lenet-5-training`. A link without text, to
`#fig-…`, `#tab-…`, `#sec-…` or `#ref-…`, shows the number of its target.
"""

import base64
import contextlib
import copy
import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Required, TypedDict, Unpack

import matplotlib
import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from fmnist_lib.report import numbering
from fmnist_lib.report.files import BROUGHT, numbers_json, replacing
from fmnist_lib.report.numbering import HEADINGS, ReportError
from fmnist_lib.report.sanitise import sanitise

TEMPLATES = Path(__file__).parent / "templates"
LEFT_OUT = ["remove", "parameters", "injected-parameters", "papermill-error-cell-tag"]
FONTS = (  # family in `print.css`, weight, style, matplotlib's copy: the same on every machine
    ("Report Serif", "normal", "normal", "STIXGeneral"),
    ("Report Serif", "bold", "normal", "STIXGeneralBol"),
    ("Report Serif", "normal", "italic", "STIXGeneralItalic"),
    ("Report Serif", "bold", "italic", "STIXGeneralBolIta"),
    ("Report Mono", "normal", "normal", "DejaVuSansMono"),
    ("Report Sans", "bold", "normal", "DejaVuSans-Bold"),
)
NO_PDF = (
    "no PDF can be made, since WeasyPrint lacks a system library ({reason}). Install it and run "
    "again: `apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0` on Debian and "
    "Ubuntu, `brew install pango` on macOS, `conda install -c conda-forge pango` with conda"
)


class PdfUnavailableError(Exception):
    """A system library that WeasyPrint needs is missing; the message names what to install."""


class Front(TypedDict, total=False):
    """What is said of the whole report. Plain text: markup in it is shown, not obeyed."""

    title: Required[str]
    subtitle: str
    date: str
    published: str  # an ISO date, for who cites it
    citation: Mapping[str, object]  # what CITATION.cff says
    numbers: Mapping[str, Mapping]  # as `files.collect` returns them, for the page's pop-ups
    draft: bool  # the report contains a shortened run
    seconds: float  # that executing the notebooks took
    pdf: bool  # there is a PDF beside the page


class ReportFiles(NamedTuple):
    """What `write_report` left in its folder; `warning` says in a line why there is no PDF."""

    html: Path
    pdf: Path | None
    warning: str


def write_report(
    notebooks: Sequence[NotebookNode], folder: Path, **front: Unpack[Front]
) -> ReportFiles:
    """Write `index.html` and `report.pdf` into `folder`; each appears whole or not at all.

    Without WeasyPrint's system libraries the page is written all the same, an older PDF is deleted,
    and the result says why. Raises ReportError as `render_html` does; the folder is then untouched.
    """
    html, pdf, warning = folder / "index.html", folder / "report.pdf", ""
    try:
        import_weasyprint()
    except PdfUnavailableError as error:
        warning = str(error)
    page = render_html(notebooks, **front, pdf=not warning)
    with replacing(folder, html.name) as unfinished_page:
        unfinished_page.write_bytes(page.encode())
        if warning:
            pdf.unlink(missing_ok=True)  # it belonged to an older page
        else:
            with replacing(folder, pdf.name) as unfinished:
                render_pdf(page, unfinished)
    return ReportFiles(html, None if warning else pdf, warning)


def render_html(notebooks: Sequence[NotebookNode], **front: Unpack[Front]) -> str:
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
    hiding = TagRemovePreprocessor(remove_cell_tags=LEFT_OUT, remove_input_tags=["hide-input"])
    exporter.register_preprocessor(hiding, enabled=True)
    front["numbers"] = numbers_json(front.get("numbers", {})).replace("<", r"\u003c")
    cells = copy.deepcopy([cell for notebook in notebooks for cell in notebook.cells])
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # notebooks may share ids
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}, "front": front}
    merged = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    page = BeautifulSoup(exporter.from_notebook_node(merged)[0], "html.parser")
    for cell in page.select(".cell[data-part]"):
        page.find(id=cell["data-part"]).append(cell)
    for code in page.select("#abstract .code, #references .code"):
        code.decompose()
    for part in ("body", "appendix"):
        _gather_code(page, page.find(id=part))
    labels = numbering.number_sections(page)
    labels |= numbering.number_figures(page) | numbering.number_references(page)
    for figure in page.select("figure[data-files]"):
        _offer(page, figure)
    for cell in page.select(".cell"):
        if not cell.encode_contents().strip():  # would part a heading from its text on paper
            cell.decompose()
    for table in page.select(".cell > table"):  # of Markdown
        table.wrap(page.new_tag("div", attrs={"class": "scroll"}))
    for image in page.select("main .cell img"):
        image["loading"] = "lazy"  # drawn when the reader comes near: most of the opening's time
    failures = page.select("div.failure")
    for number, failure in enumerate(failures, start=1):
        failure["id"] = f"failure-{number}"
    if not failures:
        page.select_one(".incomplete").decompose()
    numbering.resolve_links(page, labels, forgiving=bool(failures))
    _seal(page)
    return str(page)


def render_pdf(html: str, target: Path) -> None:
    """Write the page of `render_html` as a tagged PDF (PDF/UA-1).

    No file is read for it but its fonts, and nothing is asked of a network. Raises
    PdfUnavailableError when a system library is missing.
    """
    weasyprint = import_weasyprint()
    fonts, folder = weasyprint.text.fonts.FontConfiguration(), Path(matplotlib.get_data_path())
    faces = "".join(
        f'@font-face {{ font-family: "{family}"; font-weight: {weight}; font-style: {style}; '
        f'src: url("{(folder / "fonts" / "ttf" / file).as_uri()}.ttf"); }}\n'
        for family, weight, style, file in FONTS
    )
    sheet = weasyprint.CSS(string=faces, font_config=fonts)
    embedded = weasyprint.urls.URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=html, url_fetcher=embedded)
    document.write_pdf(target, stylesheets=[sheet], font_config=fonts, pdf_variant="pdf/ua-1")


def _gather_code(page: BeautifulSoup, part: Tag) -> None:
    """Put the code of each section into one fold at its end."""
    fold = None
    for element in part.find_all([*HEADINGS, "div"]):
        kinds = element.get("class", ())
        if element.name in HEADINGS:
            fold = None
        elif "code" in kinds:
            if fold is None:
                fold = page.new_tag("details", attrs={"class": "listing"})
                fold.append(page.new_tag("summary", string="Show code"))
                element.find_parent(class_="cell").append(fold)
            fold.append(element)
        elif fold and "cell" in kinds and not element.find(HEADINGS):
            element.append(fold)


def _offer(page: BeautifulSoup, figure: Tag) -> None:
    """Link the files that a figure or table can be had as."""
    links = figure.append(page.new_tag("p", attrs={"class": "files"}))
    for path in filter(BROUGHT.fullmatch, figure["data-files"].split()):
        kind = path.rpartition(".")[2].upper()
        label = f"{kind} of {figure.select_one('.label').get_text().strip(' .')}"
        links.append(page.new_tag("a", href=path, attrs={"aria-label": label}, string=kind))


def _seal(page: BeautifulSoup) -> None:
    """Let the page run its own scripts alone and load nothing; raise ReportError if it would."""
    own = {file.read_text(encoding="utf-8").strip() for file in TEMPLATES.glob("report/*.js")}
    scripts = [script for script in page("script") if script.get("id") != "numbers"]
    if {script.string.strip() for script in scripts} != own:
        raise ReportError("a script that is not of the report's template")
    for tag in page.find_all(lambda tag: tag.name != "a"):
        for attribute in ("src", "srcset", "poster", "data", "href", "xlink:href"):
            if not tag.get(attribute, "#").startswith(("data:", "#")):
                raise ReportError(f"not embedded in the report: {tag.name} {tag[attribute]:.200}")
    for part in ("abstract", "appendix", "references"):
        if not page.find(id=part).find(True):
            page.find(id=part).decompose()
    digests = [hashlib.sha256(script.string.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"] = (
        "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
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
