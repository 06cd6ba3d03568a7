"""The report from small notebooks made up here, whose outputs look like those of real ones."""

import copy
import re
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from made_report import LECUN, LONG_LINE, XIAO, code, figure, references, say, stream, table, text
from nbformat.v4 import new_notebook, new_output

from fmnist_lib import paths
from fmnist_lib.reporting import render
from fmnist_lib.reporting.folder import MARKER, write

TITLE = "Two networks <script>alert(1)</script> & more"
FRONT = {"title": TITLE, "subtitle": "Trained again", "authors": "A. Author", "draft": True}
SCRIPTS = len(list((render.TEMPLATES / "report").glob("*.js")))


@pytest.fixture(scope="module")
def notebooks():
    comparison = [
        text('# Side by side <a id="sec-compare"></a>\n\nThe first words.'),
        code("train = False", tags=["parameters"]),
        code("train = True", tags=["injected-parameters"]),
        text("Only in JupyterLab.", "remove"),
        say("<h2>Abstract</h2><p>What was found: 91.25 %.</p>", "abstract"),
        say(
            '<p>See <a href="#tab-first"></a>, <a href="#fig-second"></a>, and '
            '<a href="#sec-net-training">how it was trained</a>.</p>'
        ),
        text(
            "Also [](#sec-compare-costs), [](#sec-net), [](#sec-machine) and [](#ref-lecun).\n\n"
            "## Costs\n\n### Deeper\n\nWords."
        ),
        code("import fmnist_lib", stream("100%|#####| 6/6")),
        code(
            "bar()",
            new_output(
                "display_data",
                {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox(bar)"},
            ),
        ),
        code(LONG_LINE, stream("kept lines", "stdout"), tags=["keep-stream"]),
        table("first"),
        figure("first"),
        table("wide", columns=16, value="12345.678"),
        text('## The machine <a id="sec-machine"></a>', "appendix"),
        table("machine"),
        references(XIAO),
    ]
    comparison[-2].metadata.tags.append("appendix")
    net = [
        text("# Net\n\n<script>alert(2)</script>"),
        text("## Training\n\nA paragraph of words. " * 3),
        figure("second"),
        text("## Training\n\n## Hostile <b onclick=alert(3)>x</b> *and* `code`"),
        text("## Its layers\n\nListed.", "appendix"),
        references(LECUN, XIAO),
    ]
    return [new_notebook(cells=comparison), new_notebook(cells=net)]


@pytest.fixture(scope="module")
def html(notebooks):
    return render.render_html(notebooks, **FRONT)


@pytest.fixture(scope="module")
def page(html):
    return BeautifulSoup(html, "html.parser")


def words(element):
    return " ".join(element.get_text().split())


def small(*cells):
    return render.render_html([new_notebook(cells=[text("# Small"), *cells])], title="Small")


# --- numbers and links ---


def test_sections_are_numbered_and_appendices_lettered(page):
    headings = [words(heading) for heading in page.main.find_all(re.compile("h[2-6]"))]
    assert headings == [
        "1 Side by side",
        "1.1 Costs",
        "1.1.1 Deeper",
        "2 Net",
        "2.1 Training",
        "2.2 Training",
        "2.3 Hostile <b>x</b> and code",
        "A The machine",
        "B Its layers",
        "References",
    ]


def test_captions_are_numbered_in_the_order_of_the_report(page):
    captions = [words(caption) for caption in page.find_all("figcaption")]
    assert captions == [
        "Table 1. Caption first.",
        "Figure 1. Caption first.",
        "Table 2. Caption wide.",
        "Figure 2. Caption second.",
        "Table 3. Caption machine.",
    ]


def test_cross_references_are_filled(page):
    said = words(page.main)
    assert "See Table 1, Figure 2, and how it was trained." in said
    assert "Also Section 1.1, Section 2, Appendix A and [2]." in said


@pytest.mark.parametrize("name", ["fig-nothing", "tab-nothing", "sec-nothing", "ref-nothing"])
def test_a_reference_to_nothing_is_named(name):
    with pytest.raises(render.ReportError, match=f"#{name}"):
        small(text(f"See [](#{name})."))


def test_a_failed_notebook_excuses_what_it_did_not_show():
    error = new_output("error", ename="ValueError", evalue="no <data>", traceback=["\x1b[31mline"])
    made = BeautifulSoup(
        small(code("fail()", error, tags=["hide-input"]), text("See [](#fig-gone).")), "html.parser"
    )
    failure = made.find(id="failure-1")
    assert "stopped here with ValueError: no <data>" in words(failure)
    assert words(failure.pre) == "line"
    assert made.select_one(".incomplete a")["href"] == "#failure-1"
    assert made.select_one(".missing").string == "[missing: fig-gone]"


def test_a_report_without_failure_is_not_called_incomplete(page):
    assert not page.select(".incomplete, .failure, .missing")


def test_an_id_used_twice_is_named():
    with pytest.raises(render.ReportError, match="tab-same"):
        small(table("same"), table("same"))
    with pytest.raises(render.ReportError, match="sec-same"):
        small(text('## One <a id="sec-same"></a>'), text('## Two <a id="sec-same"></a>'))


def test_ids_are_unique_and_every_inner_link_leads_somewhere(page):
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    links = [link["href"][1:] for link in page.select('a[href^="#"]')]
    assert set(links) <= set(ids)
    assert {"sec-net-training", "sec-net-training-2", "fig-first", "tab-first"} <= set(ids)


def test_contents_list_the_first_two_levels(page):
    assert [words(link) for link in page.select("nav a")] == [
        "1 Side by side",
        "1.1 Costs",
        "2 Net",
        "2.1 Training",
        "2.2 Training",
        "2.3 Hostile <b>x</b> and code",
        "A The machine",
        "B Its layers",
        "References",
    ]
    assert [link["href"] for link in page.select("nav a")][1] == "#sec-compare-costs"


def test_headings_have_permalinks(page):
    for heading in page.select("#body :is(h2, h3, h4)"):
        assert heading.select_one(".permalink")["href"] == f"#{heading['id']}"


def test_references_of_all_notebooks_stand_once_at_the_end(page):
    items = [words(item) for item in page.select(".references li")]
    assert [item.split(" et al.")[0] for item in items] == ["Xiao", "LeCun"]
    assert page.main.find_all(True, recursive=False)[-1]["id"] == "references"


# --- cells ---


def test_parts_stand_in_their_places(page):
    assert words(page.header.find(id="abstract")) == "What was found: 91.25 %."
    assert "Caption machine." in words(page.find(id="appendix"))


@pytest.mark.parametrize(
    "absent",
    ["train = False", "train = True", "Only in JupyterLab", "say('hidden')", "100%|", "HBox"],
)
def test_what_does_not_belong_in_a_report_is_left_out(html, absent):
    assert absent not in html


def test_code_is_folded_and_whole(page):
    listings = page.select("details.code")
    assert any(words(listing.pre) == LONG_LINE.replace("  #", " #") for listing in listings)
    assert not any(listing.has_attr("open") for listing in listings)
    assert len(listings) == len(page.select(".highlight"))


def test_a_stream_is_kept_on_demand(page):
    assert [words(output) for output in page.select("pre.output")] == ["kept lines"]


def test_numbers_are_aligned_and_headers_scoped(page):
    cells = page.select("#tab-first th, #tab-first td")
    numeric = [words(cell) for cell in cells if "numeric" in cell["class"]]
    assert numeric == ["column 0", "column 1", "column 2"] + ["91.25"] * 9
    assert {cell["scope"] for cell in page.select("thead th")} == {"col"}


def test_wide_content_scrolls_in_its_own_focusable_frame(page):
    assert page.select(".cell table, .cell img")
    for wide in page.select(".cell table, .cell img"):
        assert "scroll" in wide.parent["class"]
        assert wide.parent["tabindex"] == "0"
        assert re.fullmatch(r"(Table|Figure)\s\d", wide.parent["aria-label"])
    assert "wider" in page.select_one("#tab-wide table")["class"]


# --- the page as a whole ---


def test_markup_in_titles_is_text(html, page):
    assert page.h1.string == page.title.string == TITLE
    assert len(page.find_all("script")) == html.count("<script>\n") == SCRIPTS
    assert "<script>alert" not in html
    assert not page.find_all(onclick=True)


def test_nothing_is_loaded_from_elsewhere(html, page):
    loading = page.find_all(lambda tag: tag.name != "a" and (tag.get("src") or tag.get("href")))
    assert loading
    for tag in loading:
        assert tag.name == "img"
        assert tag["src"].startswith("data:")
    assert not re.search(
        r"https?:",
        "".join(map(str, page.find_all(["style", "script"]))).replace(
            "http://www.w3.org/2000/svg", ""
        ),
    )
    assert "default-src 'none'" in page.find("meta", {"http-equiv": True})["content"]


@pytest.mark.parametrize(
    "source", ["![far](https://example.org/a.png)", '<img alt="beside" src="images/a.png">']
)
def test_a_resource_that_is_not_embedded_is_named(source):
    with pytest.raises(render.ReportError, match=r"a\.png"):
        small(text(source))


def test_landmarks_language_and_alternative_texts(page):
    assert page.html["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.find_all(landmark)) == 1
    assert page.select_one("a.skip")["href"] == f"#{page.main['id']}"
    assert {image["alt"] for image in page.find_all("img")} == {"A line that rises and falls"}


def test_draft_is_said_only_of_drafts(notebooks, page):
    assert page.select_one("p.draft")
    final = render.render_html(notebooks, title="Final")
    assert "DRAFT" not in final


def test_the_foot_says_how_long_the_notebooks_took(notebooks, page):
    assert "executed" not in words(page.footer)
    timed = render.render_html(notebooks, title="Final", seconds=41.6)
    assert "executed in 42 s" in words(BeautifulSoup(timed, "html.parser").footer)


def test_the_foot_leads_to_the_data_beside_the_page(page):
    hrefs = {link["href"] for link in page.footer.find_all("a")}
    assert {"results.csv", "README.md", "tables/table1.csv"} <= hrefs
    assert all((paths.REPORT / href).is_file() for href in hrefs)  # in the released one, too


def test_the_same_notebooks_give_the_same_page(notebooks, html):
    before = copy.deepcopy(notebooks)
    assert render.render_html(notebooks, **FRONT) == html
    assert notebooks == before


def test_a_report_may_lack_every_special_part():
    made = BeautifulSoup(small(text("Words.")), "html.parser")
    assert not made.select(".abstract, #appendix, #references, .incomplete, p.draft")


# --- files ---


def seen(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != MARKER)


def test_both_files_are_written(notebooks, html, tmp_path):
    made = render.write_report(notebooks, tmp_path / "new", **FRONT)
    assert made == (tmp_path / "new" / "index.html", tmp_path / "new" / "report.pdf", None)
    assert made.html.read_bytes() == html.encode()
    assert made.pdf.read_bytes().startswith(b"%PDF")
    assert seen(made.html.parent) == ["index.html", "report.pdf"]


def test_without_a_system_library_the_page_is_made_and_the_old_pdf_goes(
    notebooks, tmp_path, monkeypatch, capsys
):
    broken = "print('a long story')\nraise OSError('cannot load library libpango-1.0-0\\nnever')\n"
    (tmp_path / "weasyprint.py").write_text(broken)
    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "report"
    write(folder, "report.pdf", b"old")
    made = render.write_report(notebooks, folder, **FRONT)
    assert made.pdf is None
    assert "libpango-1.0-0" in made.warning
    assert "apt-get install" in made.warning
    assert "\n" not in made.warning
    assert seen(folder) == ["index.html"]
    assert capsys.readouterr().out == ""


def test_an_interrupted_report_leaves_the_old_one(notebooks, tmp_path, monkeypatch):
    def half_written(_html: str, _target: Path):
        raise RuntimeError("interrupted")

    write(tmp_path, "index.html", b"old page")
    write(tmp_path, "report.pdf", b"old pdf")
    monkeypatch.setattr(render, "render_pdf", half_written)
    with pytest.raises(RuntimeError, match="interrupted"):
        render.write_report(notebooks, tmp_path, **FRONT)
    with pytest.raises(render.ReportError):
        render.write_report([new_notebook(cells=[text("[](#no)")])], tmp_path, title="Wrong")
    assert (tmp_path / "index.html").read_text() == "old page"
    assert (tmp_path / "report.pdf").read_text() == "old pdf"
    assert seen(tmp_path) == ["index.html", "report.pdf"]
