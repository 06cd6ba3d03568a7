"""The notebooks: how they are written, and that they run on whatever records there are."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize

import nbformat
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from fmnist_lib.commands.make_report import CHAPTERS
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.paths import NOTEBOOKS, ROOT
from fmnist_lib.report.files import BUNDLE
from fmnist_lib.runs.store import RunStore

BOOKS = {p.stem: nbformat.read(p, as_version=4) for p in sorted(NOTEBOOKS.glob("*.ipynb"))}
PARAMETERS = {"profile": "paper", "seeds": "", "records": "", "train": False}
MOST_LINES = 7  # of code in a cell; a sentence or a caption counts for nothing
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
SAYING = {"say", "show_table", "show_figure", "show_tiles"}
TAGS = {"parameters", "hide-input", "remove", "abstract", "appendix", "references"}
# What is neither measured nor counted by us: names, sizes, years, the paper's protocol, our rules.
ALLOWED = re.compile(
    r"(?<=[A-Za-z_-])\d+|\d+×\d+|\bin (1[89]|20)\d\d\b|95 % interval|\b(Figure|Table) \d"
    r"|patience of \d+( epochs)?|after \d+ epochs|after\n?\d+|patience \d+|\(\d+ heads\)"
    r"|first so many|§\d(\.\d)?|\b(4, 8 and 16|4, 8, 16|16, 32 and 64|16, 32, 64)\b|\bat 16\b"
)


@pytest.fixture(params=BOOKS)
def notebook(request):
    return BOOKS[request.param]


def tags_of(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def templates(cell):
    """The literal texts of a cell's sentences and captions, without what is filled in."""
    for call in ast.walk(ast.parse(cell.source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in SAYING:
            texts = [*call.args, *(k.value for k in call.keywords if k.arg in ("caption", "alt"))]
            for text in texts:
                if isinstance(text, ast.Constant):
                    yield re.sub(r"{[^{}]*}", "…", text.value)


def typed(text):
    """The first number in a text that looks like a result; empty if there is none."""
    text = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "", text)
    found = re.search(r"\d[\d.,]*", ALLOWED.sub("", " ".join(text.split())))
    return found.group().rstrip(".,") if found else ""


def lines_of_code(source):
    """How many lines say something in code: those of brackets or within a text do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({t.start[0] for t in tokens if t.type in (tokenize.NAME, tokenize.NUMBER)})


def test_there_is_one_for_the_comparison_and_one_a_model_and_their_code_is_small():
    assert {*BOOKS} == {"comparison", *CHAPTERS, *MODELS}
    cells = [cell for notebook in BOOKS.values() for cell in code_cells(notebook)]
    assert sum(lines_of_code(cell.source) for cell in cells) <= 830  # without what they say


def test_it_is_clean_and_readable_as_a_file(notebook):
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(tags_of(cell) <= TAGS for cell in notebook.cells)
    assert notebook.cells[0].source.startswith("# ")
    assert len(re.findall("^# ", prose_of(notebook), flags=re.MULTILINE)) == 1
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None)
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)  # in JupyterLab
        assert hidden == ("hide-input" in tags_of(cell)), cell.id
        assert lines_of_code(cell.source) <= MOST_LINES, cell.id
        assert not any(isinstance(node, DEFINITIONS) for node in ast.walk(ast.parse(cell.source)))
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in tags_of(cell)]
    assignments = ast.parse(cell.source).body
    found = {a.targets[0].id: ast.literal_eval(a.value) for a in assignments}
    assert found.items() <= PARAMETERS.items()
    assert {"profile", "records"} <= found.keys()


def test_no_measured_number_is_typed_into_a_sentence(notebook):
    for cell in code_cells(notebook):
        for text in templates(cell):
            assert not typed(text), f"{cell.id}: {typed(text)}"


@pytest.mark.parametrize("text", ["It reaches 91.5 %.", "0.35 points", "in 20 s", "61,706 weights"])
def test_a_number_typed_into_a_sentence_would_be_noticed(text):
    assert typed(text)


@pytest.mark.parametrize("name", MODELS)
def test_the_parameters_in_a_table_of_facts_are_those_of_the_model(name):
    found = re.findall(r"\| Parameters \|[^|]*\| ([\d,]+) \|", prose_of(BOOKS[name]))
    count = sum(p.numel() for p in build_model(name).parameters())
    assert [int(f.replace(",", "")) for f in found] == [count] * len(found)
    assert found or name == "baseline_cnn"


def test_sentences_refer_to_no_section_that_a_report_may_lack():
    """A report of one model has no other's notebook."""
    prose = "".join(prose_of(BOOKS[name]) for name in ("comparison", *CHAPTERS))
    there = set(re.findall(r'<a id="(sec-[\w-]+)">', prose))
    sources = "".join(cell.source for notebook in BOOKS.values() for cell in notebook.cells)
    wanted = set(re.findall(r"\]\(#(sec-[\w-]+)\)", sources))
    assert wanted
    assert wanted <= there


# --- executed ---


def numbers_of(store, monkeypatch, name="comparison"):
    """What a notebook shows of a store's records, by address; executed in this process."""
    bundles = []
    monkeypatch.setattr("fmnist_lib.report.show.display", lambda data, **_: bundles.append(data))
    space = {}
    for cell in code_cells(BOOKS[name]):
        exec(cell.source, space)
        if "parameters" in tags_of(cell):
            space |= {"profile": "smoke", "records": str(store.folder)}
    return {at: n for data in bundles for at, n in data[BUNDLE]["numbers"].items()}


def some_of(store, folder, *models):
    some = RunStore(folder)
    for run in store.runs():
        if run.config.model in models:
            store.copy(run, some)
    return some


def test_a_number_rests_on_no_run_that_it_does_not_name(smoke_store, tmp_path, monkeypatch):
    """Of a report of two models, whatever rests on these alone reads as in that of all six."""
    two = ("lenet5", "resnet_mini")
    few = some_of(smoke_store, tmp_path, *two)
    for cost in smoke_store.costs():
        few.write_cost(cost)
    there = {*few.names(), *(f"costs/{cost.name}" for cost in few.costs()), "paper", "settings"}
    there |= {f"model:{name}" for name in MODELS}
    every, some = numbers_of(smoke_store, monkeypatch), numbers_of(few, monkeypatch)
    rows = [at for at in {*every} & {*some} if at.split("/")[1] in two]
    shared = [at for at in rows if {*every[at]["sources"]} <= there]
    assert len(shared) > 60
    for at in shared:
        assert every[at]["value"] == some[at]["value"], at


@pytest.mark.parametrize("model", ["lenet5", "vit_tiny"])
def test_a_single_model_can_be_shown(smoke_store, tmp_path, monkeypatch, model):
    one = some_of(smoke_store, tmp_path, model)
    numbers = numbers_of(one, monkeypatch)
    own = [r.name for r in one.runs() if r.config.protocol == "paper" and not r.config.epochs]
    assert numbers[f"accuracy/{model}/test_accuracy"]["sources"] == own
    assert numbers["pairs-summary/pairs.total"]["value"] == 0
    for chapter in (*CHAPTERS, model):
        numbers_of(one, monkeypatch, chapter)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_report_is_made_in_small(smoke_store, tmp_path):
    """From records to page, PDF and files by the command; all notebooks run."""
    folder = tmp_path / "report"
    run_all("--profile", "smoke", "--output", str(folder), FMNIST_RUNS=str(smoke_store.folder))
    page = BeautifulSoup((folder / "index.html").read_text("utf-8"), "html.parser")
    told = json.loads((folder / "numbers.json").read_text("utf-8"))
    assert len(page.select("main .value[data-at]")) > 300
    assert "DRAFT" in page.get_text()
    assert not page.select(".failure, .missing")
    assert {path.stem for path in (folder / "notebooks").glob("*.ipynb")} == {*BOOKS}
    assert PdfReader(folder / "report.pdf").pages
    words = run_all("--explain", "accuracy/lenet5/test_accuracy", "--output", str(folder))
    assert told["numbers"]["accuracy/lenet5/test_accuracy"]["text"] in words


def run_all(*options, **variables):
    command, env = [sys.executable, "run_all.py", *options], os.environ | variables
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
