"""The PDF as a reader program sees it: its text, bookmarks, links, tags, fonts and sizes."""

import logging
import re

import pypdf
import pytest
from made_report import FRONT, LONG_LINE, report

from fmnist_lib.report.page import render_pdf

MILLIMETRE = 72 / 25.4  # points


@pytest.fixture(scope="module")
def pdf():
    return pypdf.PdfReader(report() / "report.pdf")


def squeezed(words):
    """Text without its spaces, and so without its line breaks."""
    return re.sub(r"\s", "", words)


@pytest.fixture(scope="module")
def said(pdf):
    return [squeezed(sheet.extract_text()) for sheet in pdf.pages]


def tags(element, kind):
    """The tagged elements of a kind, such as /Figure, in an element."""
    element = element.get_object()
    if isinstance(element, list):
        return [found for each in element for found in tags(each, kind)]
    below = tags(element["/K"], kind) if isinstance(element, dict) and "/K" in element else []
    return [element, *below] if isinstance(element, dict) and element.get("/S") == kind else below


def pieces(sheet):
    """(text, left, height, size) of each piece of text on a page, in points."""
    found = []

    def visit(text, current, matrix, _font, size):
        if text.strip():
            left = current[0] * matrix[4] + current[2] * matrix[5] + current[4]
            height = current[1] * matrix[4] + current[3] * matrix[5] + current[5]
            found.append((text, left, height, size * abs(current[3] * matrix[3])))

    sheet.extract_text(visitor_text=visit)
    return found


def test_weasyprint_understands_the_whole_style_sheet(caplog):
    with caplog.at_level(logging.WARNING, logger="weasyprint"):
        render_pdf((report() / "index.html").read_text(encoding="utf-8"))
    assert caplog.messages == []


def test_all_that_is_said_is_in_it_and_no_code(page, said):
    everything = "".join(said)
    parts = page.select("h1, .say p, main :is(h2, h3, h4, figcaption, th, td, li), nav a")
    assert len(parts) > 150
    assert [part for part in parts if squeezed(part.get_text()) not in everything] == []
    assert squeezed(LONG_LINE) not in everything
    for part in page.select("#abstract > .cell"):
        assert squeezed(part.get_text())[:40] in said[0]
    assert all("DRAFT" in words for words in said)


def test_it_is_tagged_and_says_what_it_and_each_figure_is(page, pdf):
    assert b"pdfuaid:part" in pdf.root_object["/Metadata"].get_data()
    assert pdf.root_object["/MarkInfo"]["/Marked"]
    assert pdf.root_object["/Lang"] == "en"
    assert pdf.metadata.title == FRONT["title"]
    tree = pdf.root_object["/StructTreeRoot"]
    assert tags(tree, "/TH")
    described = [image["alt"] for image in page.select("figure.figure img")]
    assert [figure["/Alt"] for figure in tags(tree, "/Figure")] == described


def test_fonts_are_embedded_and_our_own(pdf):
    sheets = (sheet["/Resources"]["/Font"].get_object().values() for sheet in pdf.pages)
    for font in (font.get_object() for fonts in sheets for font in fonts):
        assert "Report-" in font["/BaseFont"]
        (descendant,) = font["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & set(descendant.get_object()["/FontDescriptor"])


def test_bookmarks_and_links_lead_to_what_they_name(page, pdf, said):
    def flat(outline):
        for entry in outline:
            yield from flat(entry) if isinstance(entry, list) else [entry]

    entries = list(flat(pdf.outline))
    headings = [" ".join(h.get_text().split()) for h in page.main.select("h2, h3, h4")]
    assert [" ".join(entry.title.split()) for entry in entries] == headings
    for entry in entries:
        number = pdf.get_destination_page_number(entry)
        assert squeezed(entry.title) in said[number]
        lowest = min(at for _, _, at, _ in pieces(pdf.pages[number]) if at > 15 * MILLIMETRE)
        assert lowest < float(entry.top) - 20, entry.title  # none alone at the foot of a page
    for name, words in (("tab-table1", "Table2."), ("ref-paper", "Benchmarking")):
        assert words in said[pdf.get_destination_page_number(pdf.named_destinations[name])]


def test_all_text_is_large_enough_and_within_the_margins(pdf):
    for sheet in pdf.pages:
        width, height = float(sheet.mediabox.width), float(sheet.mediabox.height)
        for text, left, at, size in pieces(sheet):
            assert 15 * MILLIMETRE < left < width - 15 * MILLIMETRE, text
            assert 5 * MILLIMETRE < at < height - 5 * MILLIMETRE, text
            assert size > 7.9, text
