"""Our numbers beside the paper's, and how they were made, as tables that can be shown."""

import math

import pandas as pd
import pytest
from made_up import mistaken
from test_findings import N, results_of  # noqa: F401, a fixture

from fmnist_lib.data.obtain import SHA256
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.models.describe import layers
from fmnist_lib.reporting import beside, predictions, protocol
from fmnist_lib.reporting.analysis import row_of
from fmnist_lib.reporting.contradictions import contradictions
from fmnist_lib.reporting.originals import compare_with_original
from fmnist_lib.reporting.say import table_cells
from fmnist_lib.reporting.standing import judged
from fmnist_lib.runs.config import Stop


@pytest.fixture(params=[1, 2], ids=["one run", "two runs"])
def results(request, results_of):  # noqa: F811
    """LeNet-5 with one or two runs and times, ViT-Tiny with one run and none."""
    runs = [{"seed": seed, "predicted": mistaken(N, range(10))} for seed in range(request.param)]
    return results_of(*runs, {"model": "vit_tiny"}, costs=["lenet5"])


def test_every_look_fits_its_table(results):
    tables = [
        (beside.result(results, "lenet5"), beside.RESULT),
        (beside.times(results, "vit_tiny"), beside.TIMES),
        (beside.table1(results), beside.TABLE1),
        (beside.table2(results), beside.TABLE2),
        (beside.losses(results), beside.LOSSES),
        (beside.runs(results, "lenet5"), beside.RUNS),
        (beside.claims_table(judged(results)), beside.CLAIMS),
        (beside.contradictions_table(), beside.CONTRADICTIONS),
        (beside.layers_table(layers(build_model("lenet5"))), beside.LAYERS),
        (predictions.most_confused(results, "lenet5"), beside.PAIRS),
        (predictions.per_class(results, "lenet5"), beside.CLASSES),
        (protocol.runs(results), protocol.RUNS),
        (protocol.configurations(results), protocol.CONFIGURATIONS),
    ]
    for table, look in tables:
        cells = table_cells(table, look.get("formats", {}), look.get("best", {}))
        assert list(cells) == list(look["columns"])
        assert {*look.get("formats", {}), *look.get("best", {})} <= set(cells)


def test_a_result_is_ours_the_papers_and_the_difference(results):
    rows = beside.result(results, "lenet5").set_index("source")
    assert list(rows.test_accuracy) == [90, 89.07, pytest.approx(0.93)]
    assert list(rows.best_epoch) == [2, 16, -14]
    assert list(rows.epochs) == [3, 21, -18]
    assert math.isnan(rows.test_accuracy_low["paper"])
    if "test_loss_std" in rows:
        assert rows.test_loss_std["here"] == 0
        assert math.isnan(rows.test_loss_std["paper"])


def test_times_of_a_model_that_was_not_timed_are_unknown(results):
    here, paper = beside.times(results, "vit_tiny").itertuples(index=False)
    assert math.isnan(here.train_seconds)
    assert here.train_seconds_in_runs > 0
    assert (paper.train_seconds, paper.train_seconds_std) == (136.28, 4.78)


def test_table1_has_one_row_a_model(results):
    rows = beside.table1(results)
    assert list(rows.title) == ["LeNet-5", "ViT-Tiny"]
    assert list(rows.test_accuracy_paper) == [89.07, 88.09]
    assert list(rows.difference) == pytest.approx([0.93, 11.91])


def test_table2_compares_the_times_of_an_epoch(results):
    row = row_of(beside.table2(results).assign(model=["lenet5", "vit_tiny"]), "lenet5")
    assert (row.train_seconds, row.train_seconds_paper) == (10, 20.29)
    assert row.times_ours == pytest.approx(2.029)
    assert (row.inference_ms_paper, row.inference_ms_paper_std) == (1427, 77)
    assert row.train_us_per_parameter_paper == 329
    part = row.train_seconds_std / row.train_seconds  # the count of weights is exact
    assert row.train_us_per_parameter_std == pytest.approx(part * row.train_us_per_parameter)


def test_gaps_are_train_minus_test(results):
    row = beside.losses(results).iloc[0]
    assert (row.title, row.running, row.evaluated) == ("LeNet-5", -8, -7)
    assert row.running_paper == pytest.approx(3.67)
    assert (row.test_loss, row.test_loss_paper) == (0.5, 0.3203)


def test_the_spread_of_a_gap_is_that_of_the_gap_of_each_run(results_of):  # noqa: F811
    runs = [{"seed": seed, "predicted": mistaken(N, range(seed))} for seed in (1, 3)]
    row = beside.losses(results_of(*runs)).iloc[0]
    assert (row.running, row.running_std) == (-16, pytest.approx(2**0.5))  # 82 − 99, 82 − 97


def test_epochs_of_several_runs_are_told_to_a_tenth(results_of):  # noqa: F811
    losses = [(0.5, 0.6), (0.5, 0.4), (0.5, 0.4, 0.3, 0.2)]  # best epochs 1, 2, 4; mean 2.33
    runs = [{"seed": seed, "losses": own} for seed, own in enumerate(losses)]
    cells = table_cells(beside.table1(results_of(*runs)), beside.TABLE1["formats"], {})
    assert cells["best_epoch"][0].text == "2.3 ± 1.5"
    cells = table_cells(beside.result(results_of(*runs), "lenet5"), beside.RESULT["formats"], {})
    assert [cell.text for cell in cells["epochs"]] == ["2.7 ± 1.2", "21", "−18.3"]


def test_every_run_of_a_model_has_a_row(results):
    rows = beside.runs(results, "lenet5")
    assert list(rows.name) == [run.name for run in results.of("lenet5")]
    assert set(rows.test_accuracy) == {90}


def test_the_two_patiences_stand_side_by_side(results_of, results):  # noqa: F811
    assert beside.patience_table(results).empty
    longer = {"stops": (Stop(patience=1), Stop(patience=9)), "losses": (0.5, 0.6, 0.4)}
    both = results_of(longer, rule=Stop(patience=1).name)
    rows = beside.patience_table(both)
    cells = table_cells(rows, beside.PATIENCE["formats"], {})
    assert list(cells) == list(beside.PATIENCE["columns"])
    assert (rows.best_epoch.item(), rows.best_epoch_long.item()) == (1, 3)


def test_a_claim_names_its_place(results):
    claims = beside.claims_table(judged(results))
    assert claims.claim[2].endswith("of its parameters. (section 5.2)")


def test_contradictions_are_all_there():
    assert len(beside.contradictions_table()) == len(contradictions())


@pytest.mark.parametrize("name", [name for name in MODELS if name != "baseline_cnn"])
def test_originals_head_their_columns(name):
    table = beside.originals_table(compare_with_original(name))
    first, _, lite = table
    assert (first, lite) == ("Feature", MODELS[name].title)
    assert "Model" not in set(table.Feature)


def test_shapes_are_in_words():
    table = beside.layers_table(layers(build_model("lenet5")))
    assert table.output_shape[0] == "6 × 28 × 28"
    assert table.output_shape.iloc[-1] == "10"
    assert table.parameters.sum() == 61_706


def test_settings_come_from_the_runs_and_name_their_source(results):
    table = protocol.settings(results).set_index("setting")
    assert table.value["Test images"] == str(N)
    assert table.value["Learning rate"] == "0.001, constant"
    assert table.source["Optimiser"] == protocol.ASSUMPTION
    assert "section 3.2" in table.source["Patience"]


def test_the_data_files_are_those_that_are_verified():
    assert dict(protocol.data_files()[["file", "sha256"]].itertuples(index=False)) == dict(SHA256)


def test_machines_and_runs_are_listed(results):
    machine = protocol.machines(results).set_index("")["Environment 1"]
    assert machine["Runs made there"] == len(results.runs)
    assert machine["Models timed there"] == 1
    runs = protocol.runs(results)
    assert list(runs.name) == [run.name for run in results.runs]
    assert set(runs.finished) == {"2026-01-01 10:01"}
    assert list(runs.epochs) == [len(run.history) for run in results.runs]
    assert list(runs.digest) == [results.kept(run).digest[:12] for run in results.runs]
    assert set(runs.commit) == {"c0ffee"}
    assert not pd.isna(runs.minutes).any()
    settings = protocol.configurations(results)
    assert list(settings.run) == list(runs.name)
    assert list(settings.seed) == [run.config.seed for run in results.runs]
    assert set(settings.stop) == {results.rule}
