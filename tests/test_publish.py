"""What lies beside the page: flat tables, models and README say what the records say, and load.

The released records give the released tables, number for number, and the command says so.
"""

import hashlib
import re
from itertools import product

import mistune
import numpy as np
import pandas as pd
import pytest
import torch
from command import command, files_of
from made_up import ENVIRONMENT, make_cost, make_run, mistaken, stored
from matplotlib import pyplot
from safetensors.torch import load_model

from fmnist_lib import paths
from fmnist_lib.commands import make_report
from fmnist_lib.commands.job import Job
from fmnist_lib.data.fashion_mnist import CLASS_NAMES, load
from fmnist_lib.models import build_model
from fmnist_lib.report.data_files import (
    BY_RECIPE,
    WEIGHTS,
    data_files,
    find_weights,
    literal,
)
from fmnist_lib.results.load import load_results
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

RELEASED = paths.REPORT
FLAT = ("results.csv", "tables/table1.csv", "tables/table2.csv", "tables/confusion.csv")
TIMED = ("train_seconds", "inference_ms", "latency_ms", "total_train", "train_us", "ratio")


def made_up_results(folder, **environment):
    """Two models and two seeds that stop at epoch 3, best at 2; LeNet-5 alone was timed."""
    rule = Stop(patience=1)
    one = {"losses": (0.9, 0.5, 0.7), "stops": (rule,), "test_images": 20}
    runs = [
        {"model": model, "seed": seed, "predicted": mistaken(20, [*range(seed + 1)]), **one}
        for model, seed in product(("lenet5", "vit_tiny"), (0, 1))
    ]
    place = {"environment": ENVIRONMENT.model_copy(update=environment)}
    cost = make_cost(make_run(**runs[0]).record.config).model_copy(update=place)
    return stored(folder, *runs, costs=[cost], rule=rule.name)


def code_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def write_to(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_the_readme_describes_each_column_and_its_code_runs(tmp_path, monkeypatch, capsys):
    files = data_files(made_up_results(tmp_path), {})
    text = files["README.md"].decode()
    described = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    for path, content in files.items():
        if path.endswith(".csv"):
            for name in content.decode().partition("\n")[0].split(","):
                assert {name, name.rpartition("_")[0]} & described, name
    write_to(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    snippet, _of_figures = code_blocks(text)
    exec(snippet, {})
    assert "92.5" in capsys.readouterr().out


def test_a_card_says_what_the_records_say(tmp_path):
    files = data_files(made_up_results(tmp_path), {})
    card = files["models/lenet5/README.md"].decode()
    lines = [[part.strip() for part in line.split("|")] for line in card.splitlines()]
    rows = {parts[1]: parts[2:4] for parts in lines if len(parts) == 5}
    assert rows["Test accuracy (%)"] == ["92.50 ± 3.54", "89.07"]
    assert rows["Best epoch"][0] == "2.0 ± 0.0"
    for words in ("runs: 2,", "Draft", "None are kept", "`A processor`"):
        assert words in card
    assert "not timed" in files["models/vit_tiny/README.md"].decode()


def test_a_record_with_markup_is_text(tmp_path):
    hostile = "`x`</code>\n\n# Title | <script>alert(1)</script> [a](javascript:b)"
    results = made_up_results(tmp_path, cpu=hostile)
    card = data_files(results, {})["models/lenet5/README.md"].decode()
    page = mistune.create_markdown(escape=False)(card)
    assert page.count("<h1>") == 1
    assert "<script>" not in page
    assert "javascript:b)" in page
    assert mistune.html(literal(hostile)).count("<code>") == 1


CNN = f"baseline_cnn/{WEIGHTS}"


@pytest.fixture
def places(smoke_store, tmp_path):
    """Results of two models: this machine has LeNet-5's weights, the released report the CNN's."""
    results = load_results(smoke_store, plan("smoke", models="lenet5,baseline_cnn"))
    first = {model: results.of(model)[0] for model in results.models}
    kept = {
        f"{m}/{WEIGHTS}": smoke_store.arrays(r, "weights", results.rule) for m, r in first.items()
    }
    own = smoke_store.path_of(first["lenet5"], "weights", results.rule)
    target = RunStore(tmp_path / "own").path_of(first["lenet5"], "weights", results.rule)
    write_to(target.parent, {target.name: own.read_bytes()})
    write_to(tmp_path / "report", data_files(results, {CNN: kept[CNN]}))
    return results, kept, RunStore(tmp_path / "own"), tmp_path / "report"


def test_weights_are_this_machines_else_the_released_and_never_others(places):
    results, kept, own, released = places
    found = find_weights([results], own, released)
    assert set(found) == set(kept)
    for place, arrays in found.items():
        assert all(np.array_equal(arrays[name], kept[place][name]) for name in kept[place])
    path = released / "models" / CNN
    path.write_bytes(own.path_of(results.runs[0], "weights", results.rule).read_bytes())
    assert set(find_weights([results], own, released)) == {f"lenet5/{WEIGHTS}"}


def test_loaded_as_the_card_says_they_classify_as_the_record_has_it(
    places, tmp_path, monkeypatch, capsys
):
    results, kept, *_ = places
    write_to(tmp_path, data_files(results, kept))
    images = load(train_images=1, test_images=500).test_images
    for model in results.models:
        folder = tmp_path / "models" / model
        load_model(network := build_model(model).eval(), folder / WEIGHTS)
        recorded = results.predictions(results.of(model)[0])["predicted"]
        with torch.no_grad():
            assert network(images).argmax(1).tolist() == recorded.tolist()
        monkeypatch.chdir(folder)
        (example,) = code_blocks((folder / "README.md").read_text())
        exec(example, {})
        assert capsys.readouterr().out.strip() in CLASS_NAMES


def test_weights_by_a_better_recipe_lie_beside_and_are_told_of(places, smoke_store, tmp_path):
    results, kept, *_ = places
    configs = plan("smoke", families="recipe", models="lenet5")
    recipe = load_results(smoke_store, configs, rule="last", family="recipe")
    weights = kept | find_weights([recipe], smoke_store, tmp_path / "none")
    files = data_files(results, weights, [recipe])
    content, card = (files[f"models/lenet5/{name}"] for name in (BY_RECIPE, "README.md"))
    assert hashlib.sha256(content).hexdigest() in card.decode()
    assert recipe.runs[0].name in card.decode()
    assert BY_RECIPE not in files["models/baseline_cnn/README.md"].decode()
    assert f"models/baseline_cnn/{BY_RECIPE}" not in files


# --- the released report ---


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The flat tables of the released records, as files."""
    records = RunStore(paths.REPORT / "records", read_only=True)
    folder = tmp_path_factory.mktemp("made")
    (folder / "tables").mkdir()
    configs = make_report.complete_seeds(records)
    study = make_report.study_results(Job("paper", configs, folder), records)
    for path, content in data_files(load_results(records, configs), {}, study).items():
        if path in FLAT:
            (folder / path).write_bytes(content)
    return folder


@pytest.mark.parametrize("path", FLAT)
def test_the_released_numbers_come_out_again(made, path):
    ours, theirs = (pd.read_csv(folder / path) for folder in (made, RELEASED))
    assert [*ours][: len([*theirs])] == [*theirs]  # more may stand behind
    kept = [name for name in theirs if not name.startswith(TIMED)]
    pd.testing.assert_frame_equal(ours[kept], theirs[kept], check_exact=True)


def test_the_code_in_its_readme_draws_from_its_data(monkeypatch):
    monkeypatch.chdir(RELEASED)
    for block in code_blocks((RELEASED / "README.md").read_text("utf-8")):
        exec(block, {})
    drawn = [pyplot.figure(number).axes[0].has_data() for number in pyplot.get_fignums()]
    pyplot.close("all")
    assert drawn == [True] * 4


@pytest.mark.parametrize(
    ("files", "state"),
    [(["a"], "equal"), (["b"], "differs"), (["a", "a"], "differs"), ([], "differs")],
)
def test_the_command_makes_the_report_from_the_records_alone(
    project, monkeypatch, capsys, files, state
):
    released, out = RELEASED / "records", project / "out"
    paths.REPORT.mkdir()
    (paths.REPORT / "records").symlink_to(released)
    (paths.REPORT / "results.csv").write_text("a")

    def make_pages(job):  # stands for notebooks and pages, which have tests of their own
        assert {config.seed for config in job.shown} >= {0, 1, 2, 3, 4}
        for name, content in zip(("results.csv", "tables/more.csv"), files, strict=False):
            make_report.files.write(job.output, name, content.encode())
        return []

    monkeypatch.setattr(make_report, "make_pages", make_pages)
    assert command("--from-released", "--output", out) == (0 if state == "equal" else 1)
    told, place = capsys.readouterr().out.splitlines()
    assert state in told
    assert ("more.csv differs" in told) == (len(files) == 2)
    assert place == str(out / "index.html")
    ours, theirs = ({n for n in files_of(f) if n.endswith(".json")} for f in (out, released.parent))
    assert ours == {name for name in theirs if name.startswith("records/")}
    assert not paths.RUNS.exists()
