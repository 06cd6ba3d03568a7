"""The notebooks: how they are written, and that they run on whatever records there are."""

import ast
import io
import re
import tokenize

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell

from fmnist_lib.models import MODELS
from fmnist_lib.paths import NOTEBOOKS
from fmnist_lib.reporting.execute import execute
from fmnist_lib.reporting.explain import explain
from fmnist_lib.reporting.render import render_html

NAMES = ("comparison", *MODELS)
PARAMETERS = {"profile": "paper", "seeds": "", "records": "", "train": False}
MOST_LINES = 7  # of code in a cell
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
ADDRESS = re.compile(r"<[^>]*>|\[\]\(#[^)]*\)")
# What is neither measured nor counted by us; any other digit in a text is taken for a result.
ALLOWED = re.compile(
    r"(?<=[A-Za-z_-])\d+"  # within a name: LeNet-5, F1, table1, s0
    r"|(?<!\d)\d+×\d+"  # a kind of convolution, a size of images
    r"|\bin (1[89]|20)\d\d\b"  # a year
    r"|\b95 % interval"
    r"|\b(sections?|Tables?|Figures?) \d+(\.\d+)*"  # of the paper
)
SAYING = {"say", "show_table", "show_figure"}
TAGS = {"parameters", "hide-input", "remove", "abstract", "appendix", "references"}


@pytest.fixture(params=NAMES)
def notebook(request):
    return nbformat.read(NOTEBOOKS / f"{request.param}.ipynb", as_version=4)


def tags_of(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def calls(cell):
    """Names of the functions that a cell calls as such: `say`, `show_table`, ..."""
    nodes = ast.walk(ast.parse(cell.source))
    return {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


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
    found = re.search(r"\d[\d.,]*", ALLOWED.sub("", " ".join(ADDRESS.sub("", text).split())))
    return found.group().rstrip(".,") if found else ""


def lines_of_code(source):
    """How many lines say something in code: those of brackets or within a text do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({t.start[0] for t in tokens if t.type in (tokenize.NAME, tokenize.NUMBER)})


def test_there_is_one_for_the_comparison_and_one_a_model():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)


def test_it_is_clean_and_readable_as_a_file(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert set(cell.metadata) <= {"tags", "jupyter"}
    assert all(tags_of(cell) <= TAGS for cell in notebook.cells)


def test_it_starts_with_its_only_title(notebook):
    assert notebook.cells[0].source.startswith("# ")
    titles = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    ]
    assert len(titles) == 1


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code_cells(notebook):
        assert lines_of_code(cell.source) <= MOST_LINES, cell.id
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, DEFINITIONS), cell.id


def test_parameters_are_the_same_four_with_plain_defaults(notebook):
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in tags_of(cell)]
    assignments = ast.parse(cell.source).body
    found = {a.targets[0].id: ast.literal_eval(a.value) for a in assignments}
    assert found == PARAMETERS
    assert all("  # " in line for line in cell.source.splitlines())


def test_sentences_hide_their_code(notebook):
    for cell in code_cells(notebook):
        assert ("say" in calls(cell)) == ("hide-input" in tags_of(cell)), cell.id
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)  # in JupyterLab
        assert hidden == ("hide-input" in tags_of(cell)), cell.id


def test_every_table_and_figure_has_a_name_of_its_own():
    found = []
    for name in NAMES:
        for cell in code_cells(nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)):
            found += re.findall(r'^ +name="(.*)",$', cell.source, flags=re.MULTILINE)
    assert len(found) == len(set(found)) > len(NAMES)


def test_no_measured_number_is_typed(notebook):
    for cell in notebook.cells:
        if "references" in tags_of(cell):
            continue
        for text in [cell.source] if cell.cell_type == "markdown" else templates(cell):
            assert not typed(text), f"{cell.id}: {typed(text)}"


def test_a_number_typed_into_the_text_would_be_noticed():
    measured = (
        "It reaches 91.5 %.",
        "some 90 % of it",
        "0.35 points",
        "in 20 s",
        "7 ms",
        "16 of 21",
    )
    counted = (
        "61,706 parameters",
        "62K weights",
        "with 16, 32 and 64 channels",
        "in 12 epochs",
        "3×",
    )
    for text in (*measured, *counted):
        assert typed(text), text
    for text in (
        "five of 28×28",
        "a 1×1 convolution",
        "in 1998",
        "ResNet-34",
        "F1",
        "sections 5.2",
    ):
        assert not typed(text), text
    cell = new_code_cell('say("It takes {time:.2f} s, " "not 3 s.", time=4)')
    assert [typed(text) for text in templates(cell)] == ["3"]


def test_references_are_the_same_wherever_they_stand():
    texts = {}
    for name in NAMES:
        for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells:
            if "references" in tags_of(cell):
                for key, text in re.findall(r'<a id="(ref-.*?)"></a>(.*)', cell.source):
                    assert texts.setdefault(key, text) == text


# --- executed ---


def executed(name, store, folder, **parameters):
    """The notebook, executed as `run_all.py` does."""
    parameters = {"profile": "smoke", "records": str(store.folder)} | parameters
    target = folder / f"{name}.ipynb"
    assert execute(NOTEBOOKS / f"{name}.ipynb", target, parameters) == ""
    return nbformat.read(target, as_version=4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of papermill and its kernel's client
def test_all_of_a_report_is_shown(smoke_store, tmp_path):
    """The comparison with an uneven number of seeds, and a model; rendered as one report."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebooks = [
        executed("comparison", smoke_store, folder, seeds="0-1"),
        executed("lenet5", smoke_store, folder, seeds="0"),
    ]
    html = render_html(notebooks, title="Smoke", draft=True)
    page = BeautifulSoup(html, "html.parser")
    captions = {f["id"]: f.select_one(".label").text for f in page.find_all("figure")}
    assert captions["tab-table1"].startswith("Table\u00a01")
    assert captions["tab-table2"].startswith("Table\u00a02")
    for number in (1, 2, 3):
        assert captions[f"fig-figure{number}"].startswith(f"Figure\u00a0{number}")
    assert page.select(".abstract .value")
    assert "500 test images" in page.main.get_text()
    assert not page.select(".failure, .missing")
    assert all(image["alt"] for image in page.select("figure img"))
    assert str(smoke_store.folder) not in html.replace(f"the records in {smoke_store.folder}", "")
    assert_numbers_tell_their_source(page, smoke_store)
    (tmp_path / "records").symlink_to(smoke_store.folder)
    for address in (
        "table1/lenet5/difference",
        "lenet5-classes/shirt/f1",
        "table2/vit_tiny/epochs",
    ):
        cell = page.find(attrs={"data-at": address}).find_parent("td")
        assert f"{address}  {cell.text}  (" in explain(address, tmp_path)


def assert_numbers_tell_their_source(page, store):
    """Every number that is filled in names what it rests on; records it names are there."""
    records = {*store.names(), *(f"costs/{cost.name}" for cost in store.costs())}
    others = re.compile(rf"paper|settings|model:({'|'.join(MODELS)})")
    values = [value for value in page.select(".value") if re.search(r"(?<![\w-])\d", value.text)]
    assert len(values) > 300
    for value in values:
        sources = value.get("data-source", "").split()
        assert sources, value
        for source in sources:
            assert source in records or others.fullmatch(source), value
