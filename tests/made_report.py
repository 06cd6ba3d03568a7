"""A small made-up report, its notebooks as executing them leaves them; not a test."""

import atexit
import copy
import shutil
import tempfile
from functools import cache
from math import nan
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fmnist_lib.claims.verdicts import Sentence
from fmnist_lib.models import MODELS, build_model, count_parameters
from fmnist_lib.report import show
from fmnist_lib.report.files import collect, numbers_json, write
from fmnist_lib.report.page import render_html, write_report
from fmnist_lib.results.value import Value, framed, reported, setting

ACCURACIES = dict(zip(MODELS, (89.20, 90.48, 90.64, nan, 88.52, 90.43), strict=True))
INTERVAL = "test_accuracy_interval"
OUTCOMES = ("holds", "holds in part", "does not hold", "undecided", "not tested")
LONG_LINE = "total = " + " + ".join(f"term_{n}" for n in range(40)) + "  # the end of the line"
CITATION = {
    "title": "A benchmark",
    "version": "0.1.0",
    "authors": [{"name": "The authors"}, {"given-names": "Ada", "family-names": "L. <b>"}],
}
FRONT = {"title": "Six networks <b>trained</b> & more", "subtitle": "Trained again"}


def text(source, *tags):
    return new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def bundles(call, *arguments, **options):
    """What a call of `show` displays."""
    with patch.object(show, "display") as display:
        call(*arguments, **options)
    return [copy.deepcopy(each.args[0]) for each in display.call_args_list]


def shown(call, *arguments, tags=(), **options):
    """A cell with what a call of `show` displays, its code hidden for sentences."""
    outputs = [new_output("display_data", each) for each in bundles(call, *arguments, **options)]
    return code("show_it()", *outputs, tags=[*tags, *["hide-input"] * (call is show.say)])


def runs_of(model):
    return [f"{model}-s{seed}-{seed + 10:012x}" for seed in range(5)]


def mean(number, model):
    parts = {f"seed {seed}": number + seed / 10 for seed in range(5)}
    ends = {"std": 0.21, "low": number - 0.5, "high": number + 0.5}
    return Value(number, runs_of(model), parts=parts, **ends)


def frame():
    rows = {
        model: {
            "title": MODELS[model].title,
            "test_accuracy": mean(accuracy, model),
            "test_accuracy_paper": reported(89.07),
            "difference": Value(accuracy - 89.07, *runs_of(model), "paper"),
            "parameters": Value(count_parameters(build_model(model)), f"model:{model}"),
            "train_seconds": Value(4.2, [f"costs/{model}-7ef21c82adc7"], low=4, high=5.5),
        }
        for model, accuracy in ACCURACIES.items()
    }
    return framed(rows)


def judged():
    evidence = "It differs by {by:+.2f} points."
    rows = [
        {
            "id": f"C{number}",
            "claim": f"Claim {number} says <b>one</b> thing of two networks",
            "where": "§4",
            "in_paper": OUTCOMES[(number + 2) % 5],
            "outcome": OUTCOMES[number % 4],
            "validated": OUTCOMES[(number + 1) % 5],
            "depends": "our machine" if number % 4 == 2 else "",
            "margins": "0.15: holds; 0.6: undecided",
            "evidence": Sentence(evidence, {"by": reported(number / 10)}),
        }
        for number in range(1, 21)
    ]
    return pd.DataFrame(rows)


def drawing(width=4.6, image=False):
    figure = Figure(figsize=(width, 3))
    axes = figure.subplots()
    axes.imshow([[0, 1], [2, 3]]) if image else axes.plot([1, 3, 2])
    return figure


def notebooks():
    models = frame()
    lenet = SimpleNamespace(**models.loc["lenet5"])
    words = "A sentence that says nothing, again and again, to be scrolled past. " * 20
    prose = f"{words}\n\n```\nfenced()\n```\n\n| a | b |\n|---|---|\n| {'c' * 60} | d |"
    table = {"caption": "Mean of {n:.0f} runs.", "n": setting(5), "best": {"test_accuracy": "max"}}
    picture = {"caption": "Caption {n}.", "alt": "A line that rises and falls", "n": setting(7)}
    first = {"data": models[["parameters"]], "tags": ["abstract"], **picture}
    see = "See [](#tab-table1), [](#fig-net) and [](#sec-lenet-5-training), {a:.1f} s."
    right = "LeNet-5 gets {m.test_accuracy:.2f} % right. " * 3
    reference = '1. <a id="ref-paper"></a>Wallberg and Karolin, *Benchmarking*'
    comparison = [
        text('# Results <a id="sec-results"></a>\n\nThe first words [](#ref-paper).'),
        code("train = False", tags=["parameters"]),
        code("import fmnist_lib", new_output("stream", name="stderr", text="100%|#####| 6/6")),
        text("Only in JupyterLab.", "remove"),
        shown(show.say, right, m=lenet, tags=["abstract"]),
        shown(show.show_tiles, judged(), drawing(), **first),
        shown(show.say, see, a=lenet.train_seconds, name="see"),
        shown(show.say, "It takes {a.low:.1f} s.", a=lenet.train_seconds, true_if=False),
        text("## Claims"),
        shown(show.show_claims, judged()),
        text("## Accuracy"),
        code(LONG_LINE),
        shown(show.show_table, models, name="table1", columns=[*models, INTERVAL], **table),
        text(prose),
        text("## The runs", "appendix"),
        text(f"{reference}\n1. LeCun", "references"),
    ]
    net = [
        text("# LeNet-5"),
        text("## Training\n\n" + words),
        shown(show.show_figure, drawing(7), name="net", **picture),
        shown(show.show_figure, drawing(image=True), name="images", **picture),
        *(cell for n in range(30) for cell in (text(f"## Part {n}"), code("1"), text("Words."))),
        text(reference, "references"),
    ]
    return [new_notebook(cells=comparison), new_notebook(cells=net)]


def page_of(*cells, title="A title", **front):
    """The page of a notebook with these cells, as a tree."""
    notebook = new_notebook(cells=[text("# Small"), *cells])
    return BeautifulSoup(render_html([notebook], title=title, **front), "html.parser")


@cache
def report():
    """The folder of the report, made once: page, PDF, numbers, and the files of its outputs."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    books = notebooks()
    numbers, files = collect(*books)
    write(folder, "numbers.json", numbers_json(numbers).encode())
    for path, content in files.items():
        write(folder, path, content)
    write_report(books, folder, numbers=numbers, citation=CITATION, draft=True, **FRONT)
    return folder
