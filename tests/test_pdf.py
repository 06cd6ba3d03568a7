"""The PDF as a reader program sees it: its text, bookmarks, links, tags and fonts."""

import logging
import re
from collections import Counter

import pypdf
import pytest
from bs4 import BeautifulSoup
from made_report import code, report_notebooks, shown, table, text

from fmnist_lib.reporting import render

TITLE = "Six networks <b>trained</b> & more"
FRONT = {"title": TITLE, "subtitle": "Trained again", "authors": "A. Author", "draft": True}
POINTS = 72 / 25.4  # a millimetre
UNBROKEN = "x" * 300


@pytest.fixture(scope="module")
def html():
    comparison, net = report_notebooks()
    wide, words = table("wide", columns=18, value="12345.678"), f"<p>{UNBROKEN}</p>"
    net.cells += [text("## Wide"), wide, shown(words), text("Words.\n\n" * 12 + "## Near the end")]
    net.cells += [text("The end. " * 30)]
    for n in range(30):  # the code between is not printed there
        net.cells += [text(f"## Section {n}"), code("1 + 1"), text("Words.")]
    return render.render_html([comparison, net], **FRONT)


@pytest.fixture(scope="module")
def page(html):
    return BeautifulSoup(html, "html.parser")


@pytest.fixture(scope="module")
def pdf(html, tmp_path_factory):
    target = tmp_path_factory.mktemp("pdf") / "report.pdf"
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("weasyprint").addHandler(handler)
    render.render_pdf(html, target)
    logging.getLogger("weasyprint").removeHandler(handler)
    assert messages == []  # WeasyPrint understood the whole style sheet
    return pypdf.PdfReader(target)


def squeezed(words):
    """Text without its spaces, and so without its line breaks."""
    return re.sub(r"\s", "", words)


@pytest.fixture(scope="module")
def said(pdf):
    """The text of each page, without spaces."""
    return [squeezed(sheet.extract_text()) for sheet in pdf.pages]


def bookmarks(pdf):
    """(title, page number, height on it) of each bookmark, in their order."""

    def flat(outline):
        for entry in outline:
            yield from flat(entry) if isinstance(entry, list) else [entry]

    return [
        (" ".join(entry.title.split()), pdf.get_destination_page_number(entry), float(entry.top))
        for entry in flat(pdf.outline)
    ]


def lines(sheet):
    """(left, right, height) of each piece of text on a page, by the widths of its glyphs.

    The mark of a draft, in huge letters across the page, is not among them.
    """
    fonts = {name: widths(font.get_object()) for name, font in sheet["/Resources"]["/Font"].items()}
    found, font = [], [None, 0]

    def visit(operator, operands, current, matrix):
        if operator == b"Tf":
            font[:] = fonts[operands[0]], float(operands[1])
        elif operator in (b"Tj", b"TJ") and font[1] < 100:
            pieces = operands[0] if operator == b"TJ" else operands
            length = 0.0
            for piece in pieces:
                if isinstance(piece, int | float):
                    length -= float(piece)
                else:
                    codes = zip(piece.original_bytes[::2], piece.original_bytes[1::2], strict=True)
                    length += sum(font[0][high * 256 + low] for high, low in codes)
            scale = current[0] * matrix[0]
            left = current[0] * matrix[4] + current[4]
            height = current[3] * matrix[5] + current[5]
            found.append((left, left + scale * font[1] * length / 1000, height))

    sheet.extract_text(visitor_operand_before=visit)
    return found


def widths(font):
    """The widths of a font's glyphs by their codes, in thousandths of its size."""
    (descendant,) = font["/DescendantFonts"]
    found, entries = Counter(), iter(descendant.get_object()["/W"])
    for first in entries:
        second = next(entries)
        if isinstance(second, list):
            found.update(dict(enumerate(map(float, second), start=int(first))))
        else:
            found.update(dict.fromkeys(range(int(first), int(second) + 1), float(next(entries))))
    return found


def tags(pdf, kind):
    """The tagged elements of a kind, such as /Figure."""
    found, waiting = [], [pdf.root_object["/StructTreeRoot"]]
    while waiting:
        element = waiting.pop().get_object()
        if isinstance(element, list):
            waiting += element
        elif isinstance(element, dict):
            found += [element] if element.get("/S") == kind else []
            waiting += [element["/K"]] if "/K" in element else []
    return found


# --- what is in it ---


def test_every_section_table_and_caption_is_found(page, said):
    everything = "".join(said)
    parts = page.select("h1, #abstract p, main :is(h2, h3, h4, figcaption, th, td, pre, li), nav a")
    assert len(parts) > 300
    assert [part for part in parts if squeezed(part.get_text()) not in everything] == []


def test_every_figure_is_there_with_its_description(page, pdf):
    described = sorted(image["alt"] for image in page.select("figure.figure img"))
    assert len(described) == 2
    assert sorted(figure["/Alt"] for figure in tags(pdf, "/Figure")) == described


def test_it_is_tagged_and_says_what_it_is(pdf):
    assert b"pdfuaid:part" in pdf.root_object["/Metadata"].get_data()
    assert pdf.root_object["/MarkInfo"]["/Marked"]
    assert pdf.root_object["/Lang"] == "en"
    assert pdf.metadata.title == TITLE
    assert pdf.metadata.author == "A. Author"
    assert tags(pdf, "/TH")


def test_draft_stands_on_every_page(pdf, said):
    assert len(said) > 4
    assert all("DRAFT" in words for words in said)


def test_fonts_are_embedded_and_our_own(pdf):
    fonts = [
        font.get_object()
        for sheet in pdf.pages
        for font in sheet["/Resources"]["/Font"].get_object().values()
    ]
    assert fonts
    for font in fonts:
        assert "Report-" in font["/BaseFont"]
        (descendant,) = font["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & set(descendant.get_object()["/FontDescriptor"])


# --- where it leads ---


def test_bookmarks_follow_the_sections_and_lead_to_them(page, pdf, said):
    found = bookmarks(pdf)
    headings = [" ".join(h.get_text().split()) for h in page.main.select("h2, h3, h4")]
    assert [title for title, _, _ in found] == [*headings, "Code"]
    for title, number, _ in found:
        assert squeezed(title) in said[number]


def test_links_lead_to_what_they_name(page, pdf, said):
    places = pdf.named_destinations
    targets = set()
    for sheet in pdf.pages:
        for annotation in sheet.get("/Annots", []):
            link = annotation.get_object()
            if link["/Subtype"] == "/Link" and "/A" not in link:
                targets.add(str(link["/Dest"]))
    assert targets >= {link["href"][1:] for link in page.select("nav a")}
    assert targets <= set(places)
    for name, words in (("tab-table1", "Table1."), ("ref-paper", "Benchmarking")):
        assert name in targets
        assert words in said[pdf.get_destination_page_number(places[name])]


# --- how it is set ---


def test_all_text_stays_within_the_margins(pdf):
    landscape = 0
    for sheet in pdf.pages:
        width, height = float(sheet.mediabox.width), float(sheet.mediabox.height)
        landscape += width > height
        for left, right, at in lines(sheet):
            assert 15 * POINTS < left < right < width - 15 * POINTS
            assert 5 * POINTS < at < height - 5 * POINTS
    assert landscape


def test_no_heading_stands_alone_at_the_foot_of_a_page(pdf):
    for title, number, top in bookmarks(pdf):
        text = [at for _, _, at in lines(pdf.pages[number]) if at > 22 * POINTS]
        assert min(text) < top - 25, title
