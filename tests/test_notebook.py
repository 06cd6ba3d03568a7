"""What a notebook shows when it is opened by hand: own records, released ones, or why not."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from made_up import make_run

from fmnist_lib import paths
from fmnist_lib.commands.notebook import open_results
from fmnist_lib.errors import UserError
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore


@pytest.fixture
def run(smoke_store):
    """A finished smoke run of the smallest model."""
    (config,) = plan("smoke", models="baseline_cnn")
    return smoke_store.find(config)


def open_smoke(**options):
    return open_results(models="baseline_cnn", profile="smoke", **options)


def test_released_records_are_shown_and_labelled_unless_there_are_own(project, smoke_store, run):
    with pytest.raises(UserError, match=r"no record of baseline_cnn-s0.*train = True.*run_all.py"):
        open_smoke()
    smoke_store.copy(run, RunStore(paths.REPORT / "records"))
    results = open_smoke()
    assert [each.name for each in results.runs] == [run.name]
    assert "released" in results.origin
    smoke_store.copy(run, RunStore(paths.RUNS))
    assert "released" not in open_smoke().origin


def test_without_seeds_every_seed_that_there_is_is_shown(project):
    store = RunStore(paths.RUNS)
    for seed in (0, 2, 5):
        store.write(make_run("lenet5", seed))
    store.write(make_run("lenet5", 7, test_images=20))  # shortened: of another profile
    assert [run.config.seed for run in open_results(models="lenet5").runs] == [0, 2, 5]
    assert [run.config.seed for run in open_results(models="lenet5", seeds="2").runs] == [2]


def test_released_records_of_more_models_come_before_own_ones(project):
    RunStore(paths.RUNS).write(make_run("lenet5", 1))
    released = RunStore(paths.REPORT / "records")
    for model in ("lenet5", "vit_tiny"):
        released.write(make_run(model))
    assert open_results().models == ["lenet5", "vit_tiny"]
    assert open_results(models="lenet5").runs[0].config.seed == 1
    RunStore(paths.RUNS).write(make_run("vit_tiny", precision="bf16"))  # however it was computed
    assert "released" not in open_results().origin
    assert open_results(models="vit_tiny", train=True).runs[0].config.precision == "bf16"


def test_a_folder_given_is_the_only_one_read_and_told_by_its_place(
    project, smoke_store, run, monkeypatch
):
    smoke_store.copy(run, RunStore(paths.RUNS))
    with pytest.raises(UserError, match="elsewhere"):
        open_smoke(records=project / "elsewhere")
    monkeypatch.setattr(paths, "ROOT", project)
    smoke_store.copy(run, RunStore(project / "a" / "records"))
    for records in ("a/records", project / "a" / "records"):
        assert open_smoke(records=records).origin == "the records in a/records"


def test_in_a_notebook_missing_records_are_one_line(project):
    shell, said = InteractiveShell(), []
    shell._showtraceback = lambda kind, value, lines: said.extend(lines)
    shell.run_cell(
        "from fmnist_lib.commands.notebook import open_results; open_results(records='elsewhere')"
    )
    (line,) = said
    assert str(paths.ROOT / "elsewhere") in line


def test_with_train_it_trains_what_is_missing_once(project, run):
    results = open_smoke(train=True)
    assert results.runs[0].result_digest == run.result_digest
    record = paths.RUNS / run.name / "record.json"
    before = record.stat().st_mtime_ns
    open_smoke(train=True)
    assert record.stat().st_mtime_ns == before
