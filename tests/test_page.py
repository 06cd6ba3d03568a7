"""The page of executed notebooks, and the folder it lies in, from a small report made up here."""

import errno
import json
import os
import re
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from command import files_of
from made_report import FRONT, LONG_LINE, code, page_of, report, text
from nbformat.v4 import new_notebook, new_output

from fmnist_lib.errors import FailedError
from fmnist_lib.report import page as module
from fmnist_lib.report.files import MARKER, files_in, ours, prepare, write, write_files
from fmnist_lib.report.page import write_report


def words(element):
    return " ".join(element.get_text().split())


# --- numbers and links ---


def test_sections_are_numbered_appendices_lettered_and_both_listed():
    cells = [
        text("## One\n\n### Deep <b>x</b> `y`\n\n## One"),
        text('## Two <a id="sec-two"></a>'),
        text("[](#sec-two), [](#sec-small-one-2), [](#sec-last)"),
        text('## Last <a id="sec-last"></a>', "appendix"),
    ]
    made = page_of(*cells)
    assert [words(heading) for heading in made.main.find_all(re.compile("h[2-6]"))] == [
        "1 Small", "1.1 One", "1.1.1 Deep x y", "1.2 One", "1.3 Two", "A Last",
    ]  # fmt: skip
    assert "Section 1.3, Section 1.2, Appendix A" in words(made.main)
    assert [link["href"] for link in made.select("nav a")] == [
        "#sec-small", "#sec-small-one", "#sec-small-one-2", "#sec-two", "#sec-last",
    ]  # fmt: skip


def test_figures_and_tables_are_numbered_and_cross_references_filled(page):
    labels = [words(label) for label in page.select("figcaption .label")]
    assert labels == ["Figure 1.", "Table 1.", "Table 2.", "Figure 2.", "Figure 3."]
    assert "See Table 2, Figure 2 and Section 2.1," in words(page.main)
    items = [words(item) for item in page.select(".references li")]
    assert items == ["Wallberg and Karolin, Benchmarking", "LeCun"]  # of both notebooks, once
    assert "The first words [1]." in words(page.main)


def test_a_reference_to_nothing_is_named_but_excused_where_a_notebook_failed():
    see = text("See [](#fig-no), [](#tab-no), [](#sec-no) and [](#ref-no).")
    with pytest.raises(FailedError, match="#fig-no, #tab-no, #sec-no, #ref-no"):
        page_of(see)
    error = new_output("error", ename="ValueError", evalue="no <data>", traceback=["\x1b[31mline"])
    made = page_of(code("fail()", error, tags=["hide-input"]), see)
    assert "stopped here with ValueError: no <data>" in words(made.find(id="failure"))
    assert words(made.find(id="failure").pre) == "line"
    assert made.select_one(".incomplete a")["href"] == "#failure"
    assert made.select_one(".missing").string == "[missing: fig-no]"


def test_ids_are_unique_and_every_inner_link_leads_somewhere(page):
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.select('a[href^="#"]')} <= set(ids)
    assert not page.select(".incomplete, .failure, .missing")
    with pytest.raises(FailedError, match="sec-same"):
        page_of(text('## One <a id="sec-same"></a>'), text('## Two <a id="sec-same"></a>'))


# --- what it shows ---


def test_the_abstract_and_the_verdicts_come_first_and_nothing_that_does_not_belong(page):
    assert words(page.header.find(id="abstract")).startswith("LeNet-5 gets 89.20 % right.")
    assert len(page.header.select(".tiles li")) == 20
    assert page.find(id="appendix").get_text().count("The runs") == 1
    for absent in ("train = False", "Only in JupyterLab", "show.say", "100%|"):
        assert absent not in str(page)


def test_code_is_folded_once_a_section_at_its_end(page):
    folds = page.select("details")
    code_of = [words(fold) for fold in folds if "listing" in fold["class"]]
    assert len(code_of) == 4 + 30  # those of claims, accuracy and training have tables and figures
    assert code_of[0] == "Show codeimport fmnist_lib"
    assert LONG_LINE.replace("  #", " #") in code_of[2]
    assert not any(fold.has_attr("open") for fold in folds)
    (fenced,) = [pre for pre in page("pre") if words(pre) == "fenced()"]
    assert not fenced.find_parent("details")


def test_downloads_lie_beside_the_page(page):
    links = {a["aria-label"]: a["href"] for a in page.select(".files a")}
    assert {"figures/net.svg", "tables/table1.csv", "figures/overview.csv"} < {*links.values()}
    assert len(links) == len(page.select(".files a"))
    made = {name for name, _ in files_in(report()) if name.startswith(("figures/", "tables/"))}
    assert made == {*links.values()}


def test_every_mark_is_in_the_numbers_and_every_number_is_marked(page):
    told = json.loads((report() / "numbers.json").read_text(encoding="utf-8"))
    marks = {mark["data-at"]: mark.get_text() for mark in page.select(".value")}
    assert marks == {address: number["text"] for address, number in told["numbers"].items()}
    assert all(re.search(r"\d", shown) for shown in marks.values())
    assert all(told["sources"][number["source"]] for number in told["numbers"].values())
    assert json.loads(page.find(id="numbers").string) == told


def test_who_made_it_is_told_to_people_and_machines(page):
    assert page.h1.string == page.title.string == FRONT["title"]
    authors = [tag["content"] for tag in page.select('meta[name="citation_author"]')]
    assert authors == ["The authors", "Ada L. <b>"]
    assert "author = {The authors and Ada L. <b>}" in words(page.select_one(".cite pre"))
    links = {link["href"] for link in page.header.select(".byline a")}
    assert links >= {"report.pdf", "models/", "results.csv", "numbers.json"}
    assert page.select_one("p.draft")
    plain = page_of(text("Words."), seconds=41.6)
    assert not plain.select(".incomplete, .is-draft, .draft, .cite")
    assert "executed in 42 s" in words(plain.footer)


@pytest.mark.parametrize(
    "source", ["![far](https://example.org/a.png)", '<img alt="beside" src="images/a.png">']
)
def test_a_resource_that_is_not_embedded_is_named(source):
    with pytest.raises(FailedError, match=r"a\.png"):
        page_of(text(source))


# --- the two files ---


def test_without_a_system_library_the_page_is_made_and_the_old_pdf_goes(
    tmp_path, monkeypatch, capsys
):
    broken = "print('a long story')\nraise OSError('cannot load library libpango-1.0-0\\nnever')\n"
    (tmp_path / "weasyprint.py").write_text(broken)
    for name in [name for name in sys.modules if name.partition(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "report"
    write(folder, "report.pdf", b"old")
    warning = write_report([new_notebook(cells=[text("# One")])], folder, title="A")
    assert "libpango-1.0-0" in warning
    assert "\n" not in warning
    assert [name for name, _ in files_in(folder)] == ["index.html"]
    assert "report.pdf" not in (folder / "index.html").read_text()
    assert capsys.readouterr().out == ""


def test_an_interrupted_report_leaves_the_old_one(tmp_path, monkeypatch):
    old = [("index.html", b"old page"), ("report.pdf", b"old pdf")]
    for name, content in old:
        write(tmp_path, name, content)
    with pytest.raises(FailedError):
        write_report([new_notebook(cells=[text("[](#no)")])], tmp_path, title="Wrong")
    monkeypatch.setattr(module, "render_pdf", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_report([new_notebook(cells=[text("# One")])], tmp_path, title="A")
    assert [*files_in(tmp_path)] == old


# --- the folder ---


def test_of_what_was_written_before_nothing_stays_that_is_not_written_again(tmp_path):
    write_files(tmp_path, [("models/old/README.md", b"old"), ("models/both", b"old")], "models")
    write_files(tmp_path, [("figures/a.svg", b"a")], "figures")
    (tmp_path / "models" / "mine").touch()
    write_files(tmp_path, [("models/both", b"new"), ("models/new/README.md", b"new")], "models")
    kept = {"models/both", "models/mine", "models/new/README.md", "figures/a.svg"}
    assert files_of(tmp_path).keys() == {MARKER, *kept}
    assert files_of(tmp_path)["models/both"] == b"new"
    write_files(tmp_path, [("figures/b.svg", b"b")], "figures", keep=True)
    assert {"figures/a.svg", "figures/b.svg"} <= files_of(tmp_path).keys()


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FailedError, match=r"README\.md"):
        write(tmp_path, "README.md", b"ours")
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize("step", ["replace", "write_bytes"])
def test_a_command_killed_while_it_writes_can_be_given_again(tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, "records/a.json", b"new")
    prepare(tmp_path)
    write(tmp_path, "records/a.json", b"new")
    assert "records/a.json" in ours(tmp_path)


def test_what_a_killed_command_left_is_swept_and_nothing_else(tmp_path):
    left = f".scratch-{2**22 + 1}-a1b2c3d4/x"  # no process has this number
    others = {f".scratch-{os.getpid()}-a1b2c3d4/x", ".scratch-mine", ".mine.txt.1"}
    for name in (left, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    prepare(tmp_path)
    assert files_of(tmp_path).keys() == others | {MARKER}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, error):
    refused = OSError(error, os.strerror(error))  # as writing has it: without a path
    monkeypatch.setattr(Path, "write_bytes", Mock(side_effect=refused))
    with pytest.raises(FailedError, match=os.strerror(error)) as caught:
        write(tmp_path, "figures/a.svg", b"")
    assert str(tmp_path / "figures" / "a.svg") in str(caught.value)
