"""Rules of the pipeline that need no training: releases, and what becomes of each run."""

import pytest

from fmnist_lib import released
from fmnist_lib.config import Stop
from fmnist_lib.errors import UserError
from fmnist_lib.experiment import run_experiment
from fmnist_lib.job import Job
from fmnist_lib.pipeline import one_a_model, state_of
from fmnist_lib.released import check_release
from fmnist_lib.store import RunStore
from fmnist_lib.study import plan


def job(tmp_path, profile="smoke", *, models="", **options):
    stores = {name: RunStore(tmp_path / name) for name in ("store", "released")}
    return Job(
        profile=profile, configs=plan(profile, models=models), output=tmp_path, **stores, **options
    )


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


def test_training_for_another_rule_keeps_the_rules_there_were(tmp_path):
    store = RunStore(tmp_path)
    (config,) = plan("smoke", models="baseline_cnn")
    assert store.with_recorded_rules(config) == config
    store.write(run_experiment(config))
    wanted = config.model_copy(update={"stops": (Stop(patience=7),)})
    assert store.find(wanted) is None
    assert store.with_recorded_rules(wanted).stops == (Stop(patience=7), Stop())
