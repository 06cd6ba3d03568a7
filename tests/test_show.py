"""What a notebook shows: values filled in, literally, marked, and nothing but the values."""

import base64
import io
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from made_report import bundles, drawing, frame, judged, mean, reported, runs_of
from nbformat.v4 import new_code_cell, new_notebook, new_output

from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.errors import FailedError
from fmnist_lib.report import show
from fmnist_lib.report.files import BUNDLE, collect, numbers_json
from fmnist_lib.report.show import as_text, say, show_claims, show_figure, show_table, show_tiles
from fmnist_lib.results.value import Value

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "*a* _b_ **c** __d__",
    "[text](http://example.org) ![image](x.png) <http://example.org>",
    "`code` and ``code``",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "# heading\n\n- item\n\n    code\n\n> quote",
    "{braces} {0} {x.__class__} {{",
    "\\*escaped\\* &amp; &lt;",
    "\ue0000\ue001",  # what stands for a value while Markdown is read
    "</span></div></figure></table>",
]
NUMBER = Value(91.237, ["a", "b"], std=0.3, low=90.5, high=92, parts={"seed 0": 91.0})
TABLE = {"name": "table1", "caption": "A caption."}


def one(call, *arguments, **options):
    """HTML as a tree, plain text, numbers and files of what is shown."""
    (output,) = bundles(call, *arguments, **options)
    tree = BeautifulSoup(output["text/html"], "html.parser")
    return tree, output["text/plain"], output[BUNDLE]["numbers"], output[BUNDLE]["files"]


def cells(tree):
    return [[show.plain(str(cell)) for cell in row.find_all(["th", "td"])] for row in tree("tr")]


# --- values ---


@pytest.mark.parametrize(
    ("shown", "spec", "text"),
    [
        (None, ".2f", "–"),
        (math.nan, ".2f", "–"),
        (Value(math.nan), ",.0f", "–"),
        (pd.NA, "", "–"),
        (Value(1_234_567), "", "1,234,567"),
        (Value(1_234_567), ",", "1,234,567"),
        (Value(1.5), "", "1.50"),
        (Value(-0.5), ".2f", "−0.50"),
        (Value(-0.001), ".2f", "0.00"),
        (Value(0.5), "+.1f", "+0.5"),
        (Value(0.0004), ".3f", "< 0.001"),
        (Value(0.0005), ".3f", "0.001"),
        (Value(0.0), ".3f", "0.000"),
        ("-b", "", "-b"),
        ([], "", "none"),
        (["a"], "", "a"),
        (["a", "b", "c"], "", "a, b and c"),
        (pd.Series(["a", "b"]), "", "a and b"),
    ],
)
def test_values_as_text(shown, spec, text):
    assert as_text(shown, spec) == text


BARE = [1, 0.5, True, np.int64(1), np.float64(0.5), [1, 2], np.array([1.5]), Ellipsis, Value(3)]


@pytest.mark.parametrize("bare", BARE, ids=str)
def test_what_knows_no_sources_is_not_shown(bare):
    with pytest.raises(TypeError):
        bundles(say, "{x}", x=bare)
    with pytest.raises(TypeError):
        bundles(show_table, pd.DataFrame({"title": ["a"], "n": [bare]}, dtype=object), **TABLE)


# --- sentences ---


def test_a_sentence_with_its_numbers_marked_and_told():
    model = SimpleNamespace(accuracy=NUMBER, title="so")
    told = one(say, "**LeNet-5** gets {m.accuracy:.1f} %, {m.title}.", m=model)
    html, text, numbers, files = told
    assert text == "LeNet-5 gets 91.2 %, so."
    assert html.strong.get_text() == "LeNet-5"
    (mark,) = html.select(".value")
    assert mark.get_text() == "91.2"
    known = {"value": 91.237, "std": 0.3, "low": 90.5, "high": 92, "parts": {"seed 0": 91.0}}
    assert numbers == {mark["data-at"]: known | {"text": "91.2", "sources": ["a", "b"]}}
    assert mark["data-at"] == "lenet-5-gets/m.accuracy"
    assert files == {}


def test_ends_and_intervals_of_a_value_rest_on_the_same():
    template = "{x.low:.1f} or {x.interval:.1f}, ± {x.std:.2f}"
    _, text, numbers, _ = one(say, template, x=NUMBER, name="a")
    assert text == "90.5 or 90.5 to 92.0, ± 0.30"
    assert {at: number["value"] for at, number in numbers.items()} == {
        **{"a/x.low": 90.5, "a/x.interval": 91.237, "a/x.std": 0.3}
    }
    assert all(number["sources"] == ["a", "b"] for number in numbers.values())


def test_what_these_runs_do_not_bear_out_is_struck():
    html, _, numbers, _ = one(say, "It gains {x:.1f}.", x=NUMBER, true_if=NUMBER > 99)
    assert html.find("del").get_text() == "It gains 91.2."
    assert html.select_one(".untrue").get_text() == "not so in these runs"
    assert len(numbers) == 1
    assert one(say, "It gains {x:.1f}.", x=NUMBER, true_if=NUMBER > 9)[0].find("del") is None


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{there} {absent}", KeyError, "absent"),
        ("{there.absent}", AttributeError, "absent"),
        ("{there.__class__}", TypeError, "must be a Value"),
        ("{there:q}", ValueError, "format code"),
        ("[link]({there})", ValueError, "where no text can"),
        ("![{there}](a.png)", ValueError, "where no text can"),
        ("[a]: {there}", ValueError, "where no text can"),
    ],
)
def test_a_bad_template_is_refused(template, error, message):
    with pytest.raises(error, match=message):
        bundles(say, template, there=NUMBER)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("template", ["a {v} b", "**{v}**", "`{v}`", "- {v}", "# {v}", "> {v}\n"])
def test_hostile_values_are_literal_text(template, hostile):
    html, harmless = one(say, template, v=hostile)[0], one(say, template, v="x")[0]
    assert hostile in html.get_text()
    assert [tag.name for tag in html(True)] == [tag.name for tag in harmless(True)]


# --- tables ---


def test_a_table_reads_as_the_catalogue_says():
    columns = ["title", "test_accuracy", "test_accuracy_interval", "difference", "parameters"]
    best = {"test_accuracy": "max", "parameters": "min"}
    html, _, numbers, files = one(show_table, frame(), columns=columns, best=best, **TABLE)
    head, lenet, *_, without, vit, cnn = cells(html)
    assert head[:2] == ["Model", "Test accuracy (%)"]
    assert lenet == ["LeNet-5", "89.20 ± 0.21", "88.70 to 89.70", "+0.13", "61,706"]
    assert without == ["MobileNet-Lite", "–", "–", "–", "14,218"]
    assert vit[3] == "−0.55"
    assert [show.plain(str(best)) for best in html("strong")] == ["90.64 ± 0.21", "6,330"]
    assert cnn[-1] == "6,330"
    marks = {mark["data-at"]: mark.get_text() for mark in html.select(".value")}
    assert marks == {at: number["text"] for at, number in numbers.items()}
    assert len(marks) == 6 * 4 - 3  # a dash is no number
    assert numbers["table1/lenet5/test_accuracy"]["parts"] == mean(89.2, "lenet5").parts
    assert numbers["table1/lenet5/test_accuracy"]["sources"] == runs_of("lenet5")
    assert numbers["table1/vit_tiny/parameters"]["sources"] == ["model:vit_tiny"]
    assert html.figure["id"] == "tab-table1"
    assert html.figure["data-files"] == "tables/table1.csv"
    written = pd.read_csv(io.BytesIO(base64.b64decode(files["tables/table1.csv"])))
    assert (written.test_accuracy[0], written.test_accuracy_high[0]) == (89.2, 89.7)


@pytest.mark.parametrize(
    ("titles", "rows"), [(["<b>*x*", "C"], ["b-x", "c"]), (["A", "A"], ["1", "2"])]
)
def test_text_is_literal_sentences_are_filled_and_rows_go_by_their_first_cell(titles, rows):
    sentence = Sentence("{n:.1f} *of*", {"n": NUMBER})
    table = pd.DataFrame({"title": titles, "says": [sentence] * 2}, dtype=object)
    html, _, numbers, files = one(show_table, table, **TABLE)
    assert cells(html)[1:] == [[title, "91.2 of"] for title in titles]
    assert list(numbers) == [f"table1/{row}/says/n" for row in rows]
    assert b"91.2 of" in base64.b64decode(files["tables/table1.csv"])


@pytest.mark.parametrize("absent", ["absent", "absent_interval"])
def test_a_column_that_is_not_there_is_refused(absent):
    with pytest.raises(KeyError):
        bundles(show_table, frame(), columns=[absent], **TABLE)
    with pytest.raises(KeyError):  # not in the catalogue
        bundles(show_table, pd.DataFrame({"unheard": ["a"]}), **TABLE)


# --- figures, claims ---


def test_the_figure_shown_is_the_file():
    picture = {"caption": "Of {n} runs.", "alt": "A line, {n} long", "n": Value(7, ["settings"])}
    html, _, numbers, files = one(
        show_figure, drawing(), name="net", data=frame()[["parameters"]], **picture
    )
    source = html.img["src"].removeprefix("data:image/svg+xml;base64,")
    assert source == files["figures/net.svg"]
    assert html.img["alt"] == "A line, 7 long"
    assert list(numbers) == ["net/n"]
    assert base64.b64decode(files["figures/net.png"]).startswith(b"\x89PNG")
    assert b"61706" in base64.b64decode(files["figures/net.csv"])
    assert html.figure["data-files"].split() == list(files)


def test_claims_and_tiles_say_every_verdict_in_words_and_signs():
    table = judged()
    html, text, numbers, _ = one(show_claims, table)
    tiles, *_ = one(show_tiles, table, drawing(), caption="A caption.", alt="A line")
    for row, line in zip(table.itertuples(), html.select("tbody tr"), strict=True):
        assert line["data-verdict"] == row.outcome
        told = [verdict.get_text() for verdict in line.select(".verdict")]
        for word, shown in zip((row.in_paper, row.outcome, row.validated), told, strict=True):
            assert word in shown
        assert numbers[f"claims/{row.id}/evidence/by"]["value"] == int(row.id[1:]) / 10
        (tile,) = tiles.select(f'a[href="#{line["id"]}"]')
        assert f"runs {row.outcome}, with validation images {row.validated}" in tile["aria-label"]
        signs = [verdict.get_text() for verdict in tile.select(".verdict")]
        assert signs == [words.split()[0] for words in told]
    assert "<b>one</b>" in text
    assert len({verdict.get_text() for verdict in tiles.select(".verdicts > p .verdict b")}) == 5


# --- what is taken out of executed notebooks ---


def notebook(*outputs):
    made = [new_output("display_data", output) for output in outputs]
    return new_notebook(cells=[new_code_cell("x", outputs=made)])


def test_numbers_and_files_are_collected_and_taken_out():
    first = bundles(show_table, frame(), **TABLE)
    second = bundles(say, "{x}", x=NUMBER, name="a")
    books = [notebook(*first), notebook(*second, *first)]
    numbers, files = collect(*books)
    assert "vnd.fmnist" not in str(books)
    assert files["tables/table1.csv"].startswith(b"title,")
    told = json.loads(numbers_json(numbers))
    assert told["numbers"].keys() == numbers.keys()
    for address, number in told["numbers"].items():
        assert told["sources"][number["source"]] == numbers[address]["sources"]
        assert number["value"] == numbers[address]["value"]
    assert len(told["sources"]) == len({tuple(n["sources"]) for n in numbers.values()})


def test_an_address_of_two_numbers_is_refused():
    twice = [
        o for spec in (".1f", ".2f") for o in bundles(say, f"{{x:{spec}}}", x=NUMBER, name="a")
    ]
    assert len(collect(notebook(*twice))[0]) == 1  # one number, twice
    for other in (reported(91.237), Value(91.3, ["a", "b"])):
        with pytest.raises(FailedError, match=r"a/x.*two numbers"):
            collect(notebook(*twice, *bundles(say, "{x:.1f}", x=other, name="a")))
    figures = [bundles(show_figure, drawing(w), name="a", caption="A.", alt="A") for w in (3, 4)]
    with pytest.raises(FailedError, match=re.escape("figures/a.svg")):
        collect(*(notebook(*output) for output in figures))


@pytest.mark.parametrize(
    "path", ["../figures/x.svg", "/tables/x.csv", "index.html", "figures/../x.svg"]
)
def test_a_notebook_brings_no_files_but_figures_and_tables(path):
    with pytest.raises(FailedError, match=re.escape(path)):
        collect(notebook({BUNDLE: {"files": {path: ""}}}))
