"""How long the models take, in words, from records with chosen times."""

import numpy as np
import pytest
from made_up import ENVIRONMENT
from test_findings import results_of  # noqa: F401, a fixture
from test_standing import run_of, three  # noqa: F401, a fixture

from fmnist_lib.reporting import speed


def test_the_pace_is_that_of_the_models_that_were_timed(three):  # noqa: F811
    found = speed.pace(three)
    assert {found.fastest, found.slowest} <= {"LeNet-5", "ViT-Tiny"}
    assert found.paper_order == "LeNet-5 and ViT-Tiny"
    assert found.factor == pytest.approx(1)  # all made-up times are alike
    assert found.paper_least == pytest.approx(2.029)
    assert found.paper_most == pytest.approx(13.628)
    assert found.close == "Too close to tell apart are LeNet-5 and ViT-Tiny."
    assert found.margin == pytest.approx(5, abs=0.5)
    assert found.in_runs == "the runs"


def test_runs_on_another_processor_than_the_one_timed_are_told(results_of):  # noqa: F811
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another processor"})
    here, there = run_of("lenet5", 60), run_of("lenet5", 60, seed=1, environment=elsewhere)
    found = speed.pace(results_of(here, there, costs=["lenet5"]))
    assert found.in_runs == "the 1 of 2 runs on the processor that was timed"
    assert found.in_runs_least > 0


def test_runs_none_of_which_had_the_processor_timed(results_of):  # noqa: F811
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another processor"})
    there = run_of("lenet5", 60, seed=1, environment=elsewhere)
    assert speed.clocked(results_of(there)) == "the runs"  # nothing was timed
    found = speed.pace(results_of(there, costs=["lenet5"]))
    assert found.in_runs == "the runs, on another processor than the one timed"
    assert np.isnan(found.in_runs_least)


def test_without_times_there_is_no_pace(results_of):  # noqa: F811
    assert speed.pace(results_of(run_of("lenet5", 60))) is None


def test_times_clearly_apart_are_not_called_close(results_of):  # noqa: F811
    found = speed.pace(results_of(run_of("lenet5", 60), costs=["lenet5"]))
    assert found.close == ""
    assert speed.pace(results_of(run_of("lenet5", 60), costs=["lenet5"])).varied_model == "LeNet-5"
