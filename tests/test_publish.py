"""What lies beside the page: flat tables, models and README say what the records say, and load."""

import re
from itertools import product

import mistune
import numpy as np
import pytest
import torch
from made_up import ENVIRONMENT, make_cost, make_run, mistaken, stored
from safetensors.torch import load_model

from fmnist_lib.data.fashion_mnist import CLASS_NAMES, load
from fmnist_lib.models import build_model
from fmnist_lib.report.data_files import WEIGHTS, data_files, find_weights, literal
from fmnist_lib.results.load import load_results
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore


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


# --- weights ---


@pytest.fixture
def places(smoke_store, tmp_path):
    """Results of two models: this machine has LeNet-5's weights, the released report the CNN's."""
    results = load_results(smoke_store, plan("smoke", models="lenet5,baseline_cnn"))
    first = {model: results.of(model)[0] for model in results.models}
    kept = {m: smoke_store.arrays(run, "weights", results.rule) for m, run in first.items()}
    own = smoke_store.path_of(first["lenet5"], "weights", results.rule)
    target = RunStore(tmp_path / "own").path_of(first["lenet5"], "weights", results.rule)
    write_to(target.parent, {target.name: own.read_bytes()})
    write_to(tmp_path / "report", data_files(results, {"baseline_cnn": kept["baseline_cnn"]}))
    return results, kept, RunStore(tmp_path / "own"), tmp_path / "report"


def test_weights_are_this_machines_else_the_released_and_never_others(places):
    results, kept, own, released = places
    found = find_weights(results, own, released)
    assert set(found) == set(kept)
    for model, arrays in found.items():
        assert all(np.array_equal(arrays[name], kept[model][name]) for name in kept[model])
    path = released / "models" / "baseline_cnn" / WEIGHTS
    path.write_bytes(own.path_of(results.runs[0], "weights", results.rule).read_bytes())
    assert set(find_weights(results, own, released)) == {"lenet5"}


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
