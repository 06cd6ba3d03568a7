"""The store under writers that are stopped anywhere: what was finished stays readable, and equal.

Stopped as by a kill: from one step on, no further step of that writer has any effect.
"""

import contextlib
import itertools
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

TINY = {"test_images": 10, "train_images": 10}
NAMES = [("lenet5", 0), ("vit_tiny", 1)]
STEPS = 28  # more than any write has
RULE = Stop().name


class KilledError(BaseException):
    """The process is gone: no handler of the store's may do anything any more."""


class Disk:
    """The system's calls by which a store changes its folder; the `last` one fails, or kills."""

    def __init__(self, last=10**9, error=KilledError, between=lambda: None):
        self.count, self.last, self.error, self.between = 0, last, error, between

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for module, names in (
            (os, ("replace", "fsync", "chmod", "fdopen", "unlink", "mkdir")),
            (shutil, ("rmtree",)),
        ):
            for name in names:
                self.patch.setattr(module, name, self.counted(getattr(module, name)))
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
    predicted = np.full(10, version % 10, np.uint8)
    output = make_run(model, seed, losses=(0.9, 0.5), predicted=predicted, **TINY)
    weights = {"w": np.full(7, version, np.float32)}
    kept = output.record.stops[RULE].model_copy(update={"weights_sha256": digest_arrays(weights)})
    record = sealed(output.record.model_copy(update={"stops": {RULE: kept}}))
    return replace(output, record=record, weights={RULE: weights})


def assert_readable(store, output):
    """The run is there, equal in all its parts."""
    record = output.record
    assert store.find(record.config) == record
    for rule in record.stops:
        for name, array in output.predictions[rule].items():
            assert np.array_equal(store.predictions(record, rule)[name], array)
        assert np.array_equal(store.weights(record, rule)["w"], output.weights[rule]["w"])


def check(folder, finished, attempted):
    """Every finished run reads as itself, or as what was being put in its place; none is lost."""
    store = RunStore(folder)
    assert {run.record.name for run in finished.values()} <= set(store.names())
    for which, run in finished.items():
        found = store.find(run.record.config)
        (finished[which],) = [o for o in (run, attempted[which]) if o.record == found][:1]
        assert_readable(store, finished[which])


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, len(NAMES) - 1),  # which run is written
        st.integers(0, 1),  # by which of two writers
        st.one_of(st.none(), st.integers(1, STEPS)),  # after how many steps it is stopped
        st.sampled_from([KilledError, OSError(28, "No space left on device"), KeyboardInterrupt]),
        st.one_of(st.none(), st.integers(0, len(NAMES) - 1)),  # what the other writes meanwhile
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(OPERATIONS)
def test_what_was_finished_is_always_readable(operations):
    versions = itertools.count()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is ever found damaged
        writers = [RunStore(Path(folder)), RunStore(Path(folder))]
        finished, attempted = {}, {}
        for which, writer, last, error, other in operations:
            attempted[which] = run_of(which, next(versions))
            finishes = []

            def meanwhile(which=which, writer=writer, other=other, finishes=finishes):
                """At every step of one writer the other, too, may finish a run, once."""
                if other in (None, which) or finishes or disk.count < 3:
                    return
                finishes.append(run_of(other, 100))
                disk.patch.undo()
                writers[1 - writer].write(finishes[0])
                disk.__enter__()

            try:
                with Disk(last or 10**9, error, meanwhile) as disk:
                    writers[writer].write(attempted[which])
                finished[which] = attempted[which]
            except (KilledError, FailedError, KeyboardInterrupt):
                pass
            for output in finishes:
                finished[other] = attempted[other] = output
            check(Path(folder), finished, attempted)


@pytest.mark.parametrize("same_predictions", [False, True])
@pytest.mark.parametrize("error", [KilledError, OSError(28, "No space left on device")])
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
        assert_readable(store, new)
        assert sorted(store.folder.iterdir()) == [store.folder / name for name in store.names()]
        files = {path.name for path in (store.folder / new.record.name).iterdir()}
        assert len(files) == 3
    assert 5 < STEPS - finished < STEPS  # steps are really counted, and the last one was tried


def test_a_reader_sees_the_old_run_or_the_new_one_all_the_while(tmp_path):
    store, old, new = RunStore(tmp_path), run_of(0, 1), run_of(0, 2)
    store.write(old)
    with Disk(between=lambda: check(tmp_path, {0: old}, {0: new})):
        store.write(new)
    assert_readable(store, new)


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
        assert store.find_cost(old.name) in (old, new)
        assert len(store.costs()) == 1
