"""The store under a writer that is stopped anywhere: what was finished stays readable, and equal.

Stopped as by a kill: from one step on, no further step of that writer has any effect.
"""

import contextlib
import os
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import make_cost, make_run, sealed

from fmnist_lib.errors import FailedError
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.record import digest_arrays
from fmnist_lib.runs.store import RunStore

NAMES = [("lenet5", 0), ("vit_tiny", 1)]
STEPS = 28  # more than any write has
RULE = Stop().name
FULL = OSError(28, "No space left on device")


class KilledError(BaseException):
    """The process is gone: no handler of the store's may do anything any more."""


class Disk:
    """The system's calls by which a store changes its folder; the `last` one fails, or kills."""

    def __init__(self, last=10**9, error=KilledError, between=lambda: None):
        self.count, self.last, self.error, self.between = 0, last, error, between

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for name in ("replace", "fsync", "chmod", "fdopen", "unlink", "mkdir"):
            self.patch.setattr(os, name, self.counted(getattr(os, name)))
        self.patch.setattr(shutil, "rmtree", self.counted(shutil.rmtree))
        return self

    def __exit__(self, *_):
        self.patch.undo()

    def counted(self, call):
        def step(*arguments, **options):
            if step.inside:  # rmtree calls unlink
                return call(*arguments, **options)
            self.count += 1
            killed = self.error is KilledError
            if self.count == self.last or (killed and self.count > self.last):
                raise self.error
            self.between()
            try:
                step.inside = True
                return call(*arguments, **options)
            finally:
                step.inside = False

        step.inside = False
        return step


def run_of(which, version):
    """A run whose predictions, and whose weights, tell its version."""
    model, seed = NAMES[which]
    shared = {"losses": (0.9, 0.5), "test_images": 10, "train_images": 10}
    output = make_run(model, seed, predicted=np.full(10, version % 10, np.uint8), **shared)
    weights = {"w": np.full(7, version, np.float32)}
    kept = output.record.stops[RULE].model_copy(update={"weights_sha256": digest_arrays(weights)})
    record = sealed(output.record.model_copy(update={"stops": {RULE: kept}}))
    return replace(output, record=record, weights={RULE: weights})


def check(folder, finished, attempted):
    """Every finished run reads as itself, or as what was being put in its place; none is lost."""
    store = RunStore(folder)
    assert {run.record.name for run in finished.values()} <= set(store.names())
    for which, run in finished.items():
        found = store.find(run.record.config)
        (output,) = [o for o in (run, attempted[which]) if o.record == found][:1]
        finished[which] = output
        predicted = store.predictions(found, RULE)["predicted"]
        assert np.array_equal(predicted, output.predictions[RULE]["predicted"])
        assert np.array_equal(store.weights(found, RULE)["w"], output.weights[RULE]["w"])


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, len(NAMES) - 1),  # which run is written
        st.one_of(st.none(), st.integers(1, STEPS)),  # after how many steps it is stopped
        st.sampled_from([KilledError, FULL, KeyboardInterrupt]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(OPERATIONS)
def test_what_was_finished_is_always_readable(operations):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is ever found damaged
        finished, attempted = {}, {}
        for version, (which, last, error) in enumerate(operations):
            attempted[which] = run_of(which, version)
            with contextlib.suppress(KilledError, FailedError, KeyboardInterrupt):
                with Disk(last or 10**9, error):
                    RunStore(Path(folder)).write(attempted[which])
                finished[which] = attempted[which]
            check(Path(folder), finished, attempted)


@pytest.mark.parametrize("same_predictions", [False, True])
@pytest.mark.parametrize("error", [KilledError, FULL])
def test_every_single_step_may_be_the_last(tmp_path, error, same_predictions):
    """The same without chance: a run replaced by another version, stopped after each step."""
    finished = 0
    for last in range(1, STEPS):
        store = RunStore(tmp_path / str(last))
        old, new, other = run_of(0, 1), run_of(0, 11 if same_predictions else 2), run_of(1, 3)
        store.write(old)
        store.write(other)
        with Disk(last, error), contextlib.suppress(KilledError, FailedError):
            store.write(new)
            finished += 1
        check(store.folder, {0: old, 1: other}, {0: new, 1: other})
        store.write(new)  # and it goes on, nothing is left over
        check(store.folder, {0: new}, {0: new})
        assert sorted(store.folder.iterdir()) == [store.folder / name for name in store.names()]
        assert len(list((store.folder / new.record.name).iterdir())) == 3
    assert 5 < STEPS - finished < STEPS  # steps are really counted, and the last one was tried


def test_a_reader_sees_the_old_run_or_the_new_one_all_the_while(tmp_path):
    store, old, new = RunStore(tmp_path), run_of(0, 1), run_of(0, 2)
    store.write(old)
    with Disk(between=lambda: check(tmp_path, {0: old}, {0: new})):
        store.write(new)
    check(tmp_path, {0: new}, {0: new})


def test_a_run_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    """Between its record and its arrays; it is not found damaged, and not set aside."""
    store, old, new, decode = RunStore(tmp_path), run_of(0, 1), run_of(0, 2), records.decode
    store.write(old)

    def meanwhile(path, schema):
        record = decode(path, schema)
        monkeypatch.undo()
        store.write(new)
        return record

    monkeypatch.setattr(records, "decode", meanwhile)
    assert store.find(old.record.config) == new.record


def test_a_cost_is_the_old_or_the_new_one(tmp_path):
    config = run_of(0, 0).record.config
    old, new = make_cost(config, blocks=(1.0,)), make_cost(config, blocks=(2.0,))
    for last in range(1, 8):
        store = RunStore(tmp_path / str(last))
        store.write_cost(old)
        with Disk(last), contextlib.suppress(KilledError):
            store.write_cost(new)
        assert store.costs() in ([old], [new])
