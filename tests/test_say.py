"""What a notebook shows: values filled in, literally, marked, and nothing but the values."""

import base64
import math
import re
from collections import namedtuple
from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fmnist_lib.reporting import say as module
from fmnist_lib.reporting.say import prose, say, show_figure, show_table, shown

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
    "line\nbreak  \nand\ttab",
    "</span></div></figure></table>",
]
Row = namedtuple("Row", "test_accuracy parameters hidden_name")


class Notebook:
    """Catches what a cell displays."""

    def __init__(self, monkeypatch):
        self.bundles = []
        monkeypatch.setattr(module, "display", self._display)

    def _display(self, bundle, *, raw):
        assert raw
        assert set(bundle) == {"text/html", "text/plain"}
        self.bundles.append(bundle)

    @property
    def html(self):
        return self.bundles[-1]["text/html"]

    @property
    def page(self):
        return BeautifulSoup(self.html, "html.parser")

    @property
    def text(self):
        return self.bundles[-1]["text/plain"]

    @property
    def rows(self):
        return [[cell.text for cell in row.find_all(["th", "td"])] for row in self.page("tr")]


@pytest.fixture
def notebook(monkeypatch):
    return Notebook(monkeypatch)


# --- sentences ---


def test_a_sentence_with_its_values_marked(notebook):
    row = Row(91.237, 61_706, "")
    say("**LeNet-5** has {ours.parameters:,} weights and {ours.test_accuracy:.2f} %.", ours=row)
    assert notebook.html == (
        '<div class="say"><p><strong>LeNet-5</strong> has <span class="value">61,706</span> '
        'weights and <span class="value">91.24</span>\N{NO-BREAK SPACE}%.</p></div>'
    )
    assert notebook.text == "LeNet-5 has 61,706 weights and 91.24 %."


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (None, "", "–"),
        (None, ".2f", "–"),
        (math.nan, ".2f", "–"),
        (np.float32("nan"), ",", "–"),
        (pd.NA, "", "–"),
        (pd.NaT, "", "–"),
        (1234567, ",", "1,234,567"),
        (np.int64(1234567), ",", "1,234,567"),
        (np.float64(-0.5), ".2f", "−0.50"),
        (-3, "", "−3"),
        (0.5, "+.1f", "+0.5"),
        (0.913, ".1%", "91.3%"),
        (True, "", "yes"),
        (np.False_, "", "no"),
        ("a-b", "", "a-b"),
        ("-b", "", "-b"),
        ([], "", "none"),
        (["a"], "", "a"),
        (["a", "b", "c"], "", "a, b and c"),
        ((1.25, None, math.nan, -2), ".1f", "1.2, –, – and −2.0"),
        (pd.Series([1, 2]), "", "1 and 2"),
        (np.array([1.5, 2.5]), ".1f", "1.5 and 2.5"),
        ((name for name in "ab"), "", "a and b"),
    ],
)
def test_values_as_text(value, spec, text):
    assert shown(value, spec) == text


def test_attributes_and_items_are_reached(notebook):
    frame = pd.DataFrame({"a": [1.5]}, index=["lenet5"])
    say("{f.a[lenet5]:.1f} {d[key]} {l[1]}", f=frame, d={"key": "v"}, l=["x", "y"])
    assert notebook.text == "1.5 v y"


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{there} {absent}", KeyError, r"no value given for \{absent\}; given are there"),
        ("{}", KeyError, "no value given"),
        ("{0}", KeyError, "no value given"),
        ("{there.absent}", AttributeError, "absent"),
        ("{there._private}", ValueError, "private"),
        ("{there.__class__}", ValueError, "private"),
        ("{there.real.__class__}", ValueError, "private"),
        ("{__there}", ValueError, "private"),
        ("{there!r}", ValueError, "!r"),
        ("{there!s:>9}", ValueError, "!s"),
        ("{there:{there}}", ValueError, "format specifier"),
        ("{there:q}", ValueError, "format code"),
        ("{there", ValueError, "expected"),
        ("[link]({there})", ValueError, "where no text can"),
        ("[link](<{there}>)", ValueError, "where no text can"),
        ('[link](a "{there}")', ValueError, "where no text can"),
        ("![{there}](a.png)", ValueError, "where no text can"),
        ("```{there}\ncode\n```", ValueError, "where no text can"),
        ("[a]\n\n[a]: {there}", ValueError, "where no text can"),
        ("[a]: {there}", ValueError, "where no text can"),
    ],
)
def test_a_bad_template_is_refused(notebook, template, error, message):
    with pytest.raises(error, match=message):
        say(template, there=1)
    assert not notebook.bundles


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    "template",
    ["{v}", "a {v} b", "**{v}**", "`{v}`", "- {v}", "# {v}", "[{v}](#sec-a)", "    {v}", "> {v}\n"],
)
def test_hostile_values_are_literal_text(notebook, template, hostile):
    say(template, v=hostile)
    (value,) = notebook.page.select(".value")
    assert value.get_text() == hostile
    assert not value.find(True)
    say(template, v="x")
    tags = [tag.name for tag in notebook.page.find_all(True)]
    say(template, v=hostile)
    assert [tag.name for tag in notebook.page.find_all(True)] == tags


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=2, max_size=4))
def test_any_text_comes_through(texts):
    values = {f"v{number}": text for number, text in enumerate(texts)}
    html = prose(" *and* ".join(f"{{{name}}}" for name in values), **values)
    marked = re.findall(r'<span class="value">(.*?)</span>', html, re.DOTALL)
    assert [unescape(text) for text in marked] == texts


def test_html_in_a_template_is_text(notebook):
    say("<b onclick='x()'>a</b> <!-- c --> {n}\n\n<script>alert(1)</script>", n=1)
    assert [tag.name for tag in notebook.page.find_all(True)] == ["div", "p", "span", "p"]
    assert "<script>alert(1)</script>" in notebook.text


def test_references_stay_empty_for_the_report_to_fill(notebook):
    say("As [](#fig-accuracy) and [](#tab-one) show, {n}.", n=1)
    assert '<a href="#fig-accuracy"></a> and <a href="#tab-one"></a>' in notebook.html
    assert notebook.text == "As fig-accuracy and tab-one show, 1."


# --- tables ---

FRAME = pd.DataFrame(
    {
        "model": ["lenet5", "vit_tiny", "<b>|*x*"],
        "parameters": [61_706, 105_546, 10],
        "test_accuracy": [90.004, 90.001, 91.5],
        "test_loss": [0.25, math.nan, 0.5],
        "commit": ["c0ffee", None, "-"],
        "fired": [True, False, True],
    }
)


def test_a_table(notebook):
    show_table(
        FRAME,
        name="one",
        caption="All {n} *models*.",
        n=3,
        columns={"model": "Model", "test_accuracy": "Accuracy <b>%</b>"},
        formats={"test_loss": ".3f"},
    )
    figure = notebook.page.figure
    assert (figure["class"], figure["id"]) == (["table"], "tab-one")
    assert [tag.name for tag in figure.find_all(True, recursive=False)] == ["figcaption", "table"]
    assert str(figure.figcaption) == (
        '<figcaption>All <span class="value">3</span> <em>models</em>.</figcaption>'
    )
    assert notebook.rows == [
        ["Model", "parameters", "Accuracy <b>%</b>", "test_loss", "commit", "fired"],
        ["lenet5", "61,706", "90.00", "0.250", "c0ffee", "yes"],
        ["vit_tiny", "105,546", "90.00", "–", "–", "no"],
        ["<b>|*x*", "10", "91.50", "0.500", "-", "yes"],
    ]
    assert [cell.name for cell in figure.tbody.tr.find_all(True, recursive=False)] == [
        "th",
        *["td"] * 5,
    ]
    assert [tag.text for tag in figure.tbody.tr.select(".value")] == ["61,706", "90.00", "0.250"]
    assert "<span" not in notebook.text
    assert "105,546" in notebook.text


def test_the_best_is_bold_and_what_reads_the_same_is_too(notebook):
    best = {"parameters": "min", "test_loss": "min", "test_accuracy": "max"}
    show_table(FRAME, name="one", caption="c", best=best)
    assert [tag.text for tag in notebook.page("strong")] == ["0.25", "10", "91.50"]
    show_table(FRAME[:2], name="one", caption="c", best={"test_accuracy": "max"})
    assert [tag.text for tag in notebook.page("strong")] == ["90.00", "90.00"]
    nothing = FRAME.assign(test_loss=math.nan)
    show_table(nothing, name="one", caption="c", best={"test_loss": "min"})
    assert not notebook.page("strong")


def test_spreads_and_intervals_share_a_cell(notebook):
    frame = pd.DataFrame(
        {
            "model": ["a", "b"],
            "loss": [0.5, 0.25],
            "loss_std": [0.01, math.nan],
            "seconds_mean": [10.0, 20.0],
            "seconds_std": [1.0, 2.0],
            "loss_low": [-0.4, math.nan],
            "loss_high": [0.6, math.nan],
            "lone_std": [1.0, 2.0],
        }
    )
    show_table(
        frame,
        name="one",
        caption="c",
        formats={"loss": ".3f"},
        columns={"loss_interval": "95 %"},
        best={"loss": "max"},
    )
    assert notebook.rows == [
        ["model", "loss", "seconds_mean", "95 %", "lone_std"],
        ["a", "0.500 ± 0.010", "10.00 ± 1.00", "−0.400 – 0.600", "1.00"],
        ["b", "0.250", "20.00 ± 2.00", "–", "2.00"],
    ]
    assert [tag.text for tag in notebook.page("strong")] == ["0.500 ± 0.010"]


@pytest.mark.parametrize("option", ["formats", "columns", "best"])
def test_an_option_for_a_column_that_is_not_there_is_refused(notebook, option):
    with pytest.raises(KeyError, match="no column accuracy"):
        show_table(FRAME, name="one", caption="c", **{option: {"accuracy": "max"}})


def test_an_empty_table_still_has_its_head(notebook):
    show_table(FRAME[:0], name="one", caption="c", best={"test_loss": "max"})
    assert notebook.rows == [list(FRAME)]


@pytest.mark.parametrize("name", ["", "Fig", "a b", 'a"b', "-a", "<a>"])
def test_a_name_that_makes_no_identifier_is_refused(notebook, name):
    with pytest.raises(ValueError, match="allowed are a-z"):
        show_table(FRAME, name=name, caption="c")
    with pytest.raises(ValueError, match="allowed are a-z"):
        show_figure(Figure(), name=name, caption="c", alt="a")


@pytest.mark.parametrize("caption", ["", "one\n\ntwo", "# heading", "- item"])
def test_a_caption_is_one_paragraph(notebook, caption):
    with pytest.raises(ValueError, match="not one paragraph"):
        show_table(FRAME, name="one", caption=caption)


# --- figures ---


def drawing():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2], label="a")
    return figure


def test_a_figure(notebook):
    show_figure(
        drawing(),
        name="accuracy-curves",
        caption="*Accuracy* of {model}.",
        alt='A curve of {model} that "rises" to {top:.1f} %',
        model="<b>LeNet</b>",
        top=91.23,
    )
    figure = notebook.page.figure
    assert (figure["class"], figure["id"]) == (["figure"], "fig-accuracy-curves")
    assert [tag.name for tag in figure.find_all(True, recursive=False)] == ["img", "figcaption"]
    assert figure.img["alt"] == 'A curve of <b>LeNet</b> that "rises" to 91.2 %'
    assert str(figure.figcaption) == (
        '<figcaption><em>Accuracy</em> of <span class="value">&lt;b&gt;LeNet&lt;/b&gt;</span>.'
        "</figcaption>"
    )
    kind, data = figure.img["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    svg = base64.b64decode(data).decode()
    size = re.search(r'<svg [^>]*width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    points = [float(figure.img[side]) * 72 / 96 for side in ("width", "height")]
    assert points == pytest.approx([float(side) for side in size.groups()], abs=1)
    assert notebook.text == f"Figure: {figure.img['alt']}"


def test_the_same_figure_gives_the_same_output(notebook):
    for _ in range(2):
        show_figure(drawing(), name="a", caption="c", alt="d")
    assert notebook.bundles[0] == notebook.bundles[1]


def test_a_shown_figure_is_closed(notebook):
    figure = plt.figure()
    show_figure(figure, name="a", caption="c", alt="d")
    assert not plt.fignum_exists(figure.number)
