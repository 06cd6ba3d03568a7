"""Rules of the pipeline that need no training: releases, and what becomes of each run."""

import pytest
from made_up import ENVIRONMENT, make_cost, make_run

from fmnist_lib import paths
from fmnist_lib.commands import assembly, pipeline, released
from fmnist_lib.commands.job import Job, Report, RunFailedError, check_output
from fmnist_lib.commands.pipeline import has_cost, one_a_model
from fmnist_lib.commands.released import check_release
from fmnist_lib.commands.train import state_of
from fmnist_lib.errors import UserError
from fmnist_lib.execution import here
from fmnist_lib.models import MODELS
from fmnist_lib.reporting.folder import MARKER
from fmnist_lib.reporting.render import PdfUnavailableError
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore


@pytest.fixture
def no_pdf(monkeypatch):
    """A machine without WeasyPrint's system libraries."""

    def fail():
        raise PdfUnavailableError("no PDF can be made")

    monkeypatch.setattr(released, "import_weasyprint", fail)


def job(tmp_path, profile="smoke", *, models="", seeds="", precision="fp32", **options):
    stores = {name: RunStore(tmp_path / name) for name in ("store", "released")}
    configs = plan(profile, models=models, seeds=seeds, precision=precision)
    return Job(profile=profile, configs=configs, output=tmp_path, **stores, **options)


@pytest.mark.parametrize("status", [" M README.md", None])
def test_a_release_needs_a_clean_checkout(tmp_path, monkeypatch, status):
    monkeypatch.setattr(released, "git", lambda *arguments: status)
    with pytest.raises(UserError, match="without uncommitted changes"):
        check_release(job(tmp_path, "paper"))


def test_a_release_needs_all_models_and_whole_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "git", lambda *arguments: "")
    check_release(job(tmp_path, "paper"))
    with pytest.raises(UserError, match="all models"):
        check_release(job(tmp_path, "paper", models="lenet5"))
    with pytest.raises(UserError, match="shortened"):
        check_release(job(tmp_path, "smoke"))


def test_a_release_keeps_what_was_released(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "git", lambda *arguments: "")
    one, two = (job(tmp_path, "paper", seeds=seeds) for seeds in ("1", "0-1"))
    for model in MODELS:
        check_release(one)  # of seed 0 there are some models alone, or none
        one.released.write(make_run(model))
    with pytest.raises(UserError, match=r"leaves out lenet5-s0-\w+, .* at least --seeds 0,1, with"):
        check_release(one)
    check_release(two)
    other = job(tmp_path, "paper", seeds="0-1", precision="bf16")
    with pytest.raises(UserError, match=r"leaves out lenet5-s0-.* precision"):
        check_release(other)


def test_a_release_needs_its_pdf(tmp_path, monkeypatch, no_pdf):
    monkeypatch.setattr(released, "git", lambda *arguments: "")
    with pytest.raises(UserError, match="release: needs its PDF, but no PDF can be made"):
        check_release(job(tmp_path, "paper"))


def test_a_run_is_cached_released_or_to_train(tmp_path):
    (config,) = plan("smoke", models="baseline_cnn")
    own, release = job(tmp_path), job(tmp_path, release=True)
    assert state_of(own, config).text.startswith("to train, because no record")
    output = run_experiment(config)
    own.released.write(output)
    assert state_of(own, config).text == "released, to be trained here too"
    assert state_of(own, config).record is None
    assert state_of(release, config).text == "released"
    assert state_of(release, config).record == output.record
    own.store.write(output)
    assert state_of(own, config).text == "cached"
    assert state_of(job(tmp_path, force=True), config).record is None


def test_costs_are_measured_once_a_model_whatever_the_seeds():
    class Record:
        def __init__(self, config):
            self.config = config

    configs = plan("smoke", models="lenet5,baseline_cnn", seeds="0-2")
    chosen = one_a_model([Record(config) for config in configs])
    assert [(config.model, config.seed) for config in chosen] == [
        ("lenet5", 0),
        ("baseline_cnn", 0),
    ]


def test_a_timing_counts_only_with_training_code_of_this_report(tmp_path):
    (config,) = plan("smoke", models="lenet5")
    own, release = job(tmp_path), job(tmp_path, release=True)
    code = ENVIRONMENT.code_sha256
    assert not has_cost(own, config, {code})
    own.released.write_cost(make_cost(config, name="before"))
    assert not has_cost(own, config, {code})
    assert has_cost(release, config, {code})
    own.store.write_cost(make_cost(config))
    assert has_cost(own, config, {"other", code})
    assert not has_cost(own, config, {"other"})
    assert not has_cost(release, config, {"other"})


def test_without_the_device_of_the_runs_there_are_no_times(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "has_device", lambda name: False)
    monkeypatch.setattr(pipeline, "load", None)  # nothing is tried
    (config,) = plan("smoke", models="lenet5", device="cuda")
    record = make_run().record.model_copy(update={"config": config})
    report = Report(tmp_path)
    pipeline.measure_missing(job(tmp_path), [record], report)
    assert [line.partition(":")[0] for line in report.notices] == ["no times of LeNet-5"]


def test_training_for_another_rule_keeps_the_rules_there_were(tmp_path):
    store = RunStore(tmp_path)
    (config,) = plan("smoke", models="baseline_cnn")
    assert store.with_recorded_rules(config) == config
    store.write(run_experiment(config))
    wanted = config.model_copy(update={"stops": (Stop(patience=7),)})
    assert store.find(wanted) is None
    assert store.with_recorded_rules(wanted).stops == (Stop(patience=7), Stop())


# --- the folder of a report ---


def job_into(folder, **settings):
    return Job(profile="smoke", configs=plan("smoke", models="lenet5"), output=folder, **settings)


@pytest.mark.parametrize("name", ["ROOT", "NOTEBOOKS", "REPORT", "RUNS", "DATA"])
def test_a_report_never_goes_into_a_folder_of_the_project(tmp_path, monkeypatch, name):
    monkeypatch.setattr(paths, name, tmp_path / "own")
    for folder in (tmp_path / "own", tmp_path if name == "ROOT" else tmp_path / "own" / "part"):
        with pytest.raises(UserError, match=r"output: .* belongs to the project"):
            check_output(job_into(folder))
        assert not (tmp_path / "own").exists()


def test_a_report_never_goes_where_other_files_lie(tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(UserError, match=r"output: .* holds other files"):
        check_output(job_into(tmp_path))
    (tmp_path / "records").mkdir()  # many projects have such a folder
    with pytest.raises(UserError, match=r"output: .* holds other files"):
        check_output(job_into(tmp_path))
    (tmp_path / MARKER).touch()  # it is an earlier report's
    check_output(job_into(tmp_path))
    check_output(job_into(tmp_path / "new"))


def test_a_report_that_was_cut_short_is_not_taken_for_the_one_before(tmp_path, monkeypatch):
    def stop(job, report):
        raise KeyboardInterrupt

    (tmp_path / assembly.MADE_FROM).write_text("an earlier report's digest")
    monkeypatch.setattr(assembly, "execute", stop)
    with pytest.raises(KeyboardInterrupt):
        assembly.make_pages(job_into(tmp_path), Report(tmp_path))
    assert not (tmp_path / assembly.MADE_FROM).exists()


def test_when_every_run_failed_the_report_before_is_left_alone(tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    (output / "records").mkdir(parents=True)
    (output / "records" / "kept").touch()
    (output / MARKER).touch()

    def fail_all(configs, **options):
        return ((config, ValueError("no luck")) for config in configs)

    monkeypatch.setattr(here, "run_many", fail_all)
    job = job_into(output, keep_going=True, store=RunStore(tmp_path / "runs"))
    with pytest.raises(RunFailedError, match="no run succeeded"):
        pipeline.make_report(job)
    assert (output / "records" / "kept").exists()
    assert "ValueError: no luck" in capsys.readouterr().err


def test_a_release_needs_every_run(monkeypatch):
    monkeypatch.setattr(released, "git", lambda *arguments: "")
    job = Job(profile="paper", configs=plan("paper"), output=paths.REPORT, keep_going=True)
    with pytest.raises(UserError, match="leave --keep-going out"):
        check_release(job)
