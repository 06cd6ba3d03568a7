"""The store where a writer is stopped anywhere, or the disk refuses: what was finished stays.

Stopped as by a kill: from one step on, no further step of that writer has any effect.
"""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from filelock import FileLock
from made_up import make_cost, make_run, sealed

import run_all
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import Stop
from fmnist_lib.runs.record import digest_arrays
from fmnist_lib.runs.store import RunStore

STEPS = 25  # more than any write has
RULE = Stop().name
FULL, NOT_PERMITTED = (OSError(n, os.strerror(n)) for n in (errno.ENOSPC, errno.EPERM))


class KilledError(BaseException):
    """The process is gone: no handler of the store's may do anything any more."""


class Disk:
    """The calls by which a store changes its folder; the `last` one fails, or kills."""

    def __init__(self, last=10**9, error=KilledError, between=lambda: None):
        self.count, self.last, self.error, self.between = 0, last, error, between
        self.inside, self.failed = False, None

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        calls = [(os, n) for n in ("replace", "fsync", "chmod", "fdopen", "unlink", "mkdir")]
        calls += [(shutil, "rmtree"), (tempfile, "mkstemp"), (FileLock, "acquire")]
        for place, name in calls:
            self.patch.setattr(place, name, self.counted(name, getattr(place, name)))
        return self

    def __exit__(self, *_):
        self.patch.undo()

    def counted(self, name, call):
        def step(*arguments, **options):
            if self.inside:  # rmtree calls unlink
                return call(*arguments, **options)
            self.count += 1
            if self.count == self.last or (self.count > self.last and self.error is KilledError):
                self.failed = name
                raise self.error
            self.between()
            try:
                self.inside = True
                return call(*arguments, **options)
            finally:
                self.inside = False

        return step


def run_of(model, version):
    """A run whose predictions, and whose weights, tell its version."""
    shared = {"losses": (0.9, 0.5), "test_images": 10, "train_images": 10}
    output = make_run(model, predicted=np.full(10, version % 10, np.uint8), **shared)
    weights = {"w": np.full(7, version, np.float32)}
    kept = output.record.stops[RULE].model_copy(update={"weights_sha256": digest_arrays(weights)})
    record = sealed(output.record.model_copy(update={"stops": {RULE: kept}}))
    return replace(output, record=record, weights={RULE: weights})


def check(store, *outputs):
    """A run reads as one of these outputs, whole, and no warning finds it damaged."""
    found = store.find(outputs[0].record.config)
    (output,) = [output for output in outputs if output.record == found]
    predicted = store.arrays(found, "predictions", RULE)["predicted"]
    assert np.array_equal(predicted, output.predictions[RULE]["predicted"])
    assert np.array_equal(store.arrays(found, "weights", RULE)["w"], output.weights[RULE]["w"])


@pytest.mark.parametrize("error", [KilledError, KeyboardInterrupt, FULL])
@pytest.mark.parametrize("before", [None, 1, 12])  # nothing, another version, its predictions
def test_every_single_step_may_be_the_last(tmp_path, error, before):
    """A run is written, in place of an earlier version, and the writer stopped after each step."""
    new, other, finished, told = run_of("lenet5", 2), run_of("vit_tiny", 3), 0, set()
    old = [run_of("lenet5", before)] if before else []
    for last in range(1, STEPS):
        store = RunStore(tmp_path / str(last))
        for output in (*old, other):
            store.write(output)
        try:
            with Disk(last, error):
                store.write(new)
                finished += 1
        except (FailedError, KilledError, KeyboardInterrupt) as fault:
            told.add(str(fault).removeprefix(str(store.folder)))
        check(store, other)
        if old or new.record.name in store.names():
            check(store, *old, new)
        store.write(new)  # and it goes on, nothing is left over
        check(store, new)
        assert sorted(store.folder.iterdir()) == [store.folder / name for name in store.names()]
        assert len(list((store.folder / new.record.name).iterdir())) == 3
    assert 5 < STEPS - finished < STEPS  # steps are really counted, and the last one was tried
    assert told == {": cannot be written to (No space left on device)" if error is FULL else ""}


def test_a_reader_sees_the_old_run_or_the_new_one_all_the_while(tmp_path):
    store, old, new = RunStore(tmp_path), run_of("lenet5", 1), run_of("lenet5", 2)
    store.write(old)
    with Disk(between=lambda: check(store, old, new)):
        store.write(new)
    check(store, new)


def test_a_run_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    """Between its record and its arrays; it is not found damaged, and not set aside."""
    store, old, new = RunStore(tmp_path), run_of("lenet5", 1), run_of("lenet5", 2)
    store.write(old)
    decode = records.decode

    def meanwhile(path, schema):
        record = decode(path, schema)
        monkeypatch.undo()
        store.write(new)
        return record

    monkeypatch.setattr(records, "decode", meanwhile)
    check(store, new)


@pytest.mark.parametrize("error", [KilledError, FULL])
def test_a_cost_is_the_old_or_the_new_one(tmp_path, error):
    config = run_of("lenet5", 0).record.config
    old, new = make_cost(config, blocks=(1.0,)), make_cost(config, blocks=(2.0,))
    for last in range(1, 8):
        store = RunStore(tmp_path / str(last))
        store.write_cost(old)
        with contextlib.suppress(KilledError, FailedError), Disk(last, error):
            store.write_cost(new)
        assert store.costs() in ([old], [new])


def test_what_cannot_be_set_aside_is_named_and_stays(tmp_path, monkeypatch):
    store, run = RunStore(tmp_path), run_of("lenet5", 1)
    store.write(run)
    path = tmp_path / run.record.name / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    monkeypatch.setattr(os, "replace", Mock(side_effect=NOT_PERMITTED))
    with pytest.warns(UserWarning, match="could not be set aside: Operation not permitted"):
        assert store.find(run.record.config) is None
    assert path.exists()


def test_a_disk_that_knows_no_modes_takes_runs_all_the_same(tmp_path, monkeypatch):
    """Shared folders and mounted object stores refuse to set them."""
    store, run = RunStore(tmp_path), run_of("lenet5", 1)
    for module, name in ((os, "chmod"), (os, "utime"), (shutil, "copystat"), (shutil, "copymode")):
        monkeypatch.setattr(module, name, Mock(side_effect=NOT_PERMITTED))
    with store.lock():
        for _ in range(2):
            store.write(run)
        store.write_cost(make_cost(run.record.config))
    check(store, run)
    (tmp_path / run.record.name / "record.json").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"counts as missing \(kept as"):
        assert store.find(run.record.config) is None


@pytest.mark.parametrize("error", [NOT_PERMITTED, NotImplementedError("no locks here")])
def test_a_folder_that_will_not_do_is_refused_before_any_work(tmp_path, error):
    """Whichever step it is that the folder does not take, the first time or later."""
    refused, told = set(), set()
    for last in range(1, STEPS):
        store, work = RunStore(tmp_path / str(last)), []
        with Disk(last, error) as disk:
            try:
                with store.lock():
                    work.append("done")
            except UserError as fault:
                told.add(str(fault).removeprefix(str(store.folder)))
                refused.add(disk.failed)
                assert not work
        with store.lock():  # and what the trial left is no hindrance
            store.write(run_of("lenet5", 1))
        assert {path.name for path in store.folder.iterdir()} <= {*store.names(), ".lock"}
    steps = {"mkdir", "acquire", "mkstemp", "fdopen", "fsync", "replace", "unlink", "rmtree"}
    assert refused - {"chmod"} == steps
    assert told == {f": cannot be written to ({getattr(error, 'strerror', error)})"}


@pytest.mark.parametrize("name", ["file", "file/runs", "link/runs", "loop/runs"])
def test_a_folder_that_leads_nowhere_or_is_a_file_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="cannot be written to") as error:
        RunStore(tmp_path / name).lock().__enter__()
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UserError("No space"), 2, "No space"),
        (FailedError("No space"), 1, "No space"),
        (OSError("No space"), 1, "No space"),
        (TimeoutError(), 1, "TimeoutError"),  # which says nothing itself
    ],
)
def test_the_command_has_no_traceback_for_it(monkeypatch, capsys, error, status, told):
    monkeypatch.setattr(run_all, "run", Mock(side_effect=error))
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    monkeypatch.setattr(run_all.warnings, "showwarning", run_all.warnings.showwarning)  # restored
    assert run_all.main() == status
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
