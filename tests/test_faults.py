"""What the machine may do to us: a disk that refuses to be written or knows no modes."""

import errno
import os
import shutil
import sys
import tempfile

import pytest
from filelock import FileLock
from made_up import make_cost, make_run

import run_all
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.runs.store import RunStore

NOT_PERMITTED = OSError(errno.EPERM, os.strerror(errno.EPERM))


def small_run(seed=0):
    return make_run(seed=seed, test_images=100)


def refuse(*_, **__):
    raise NOT_PERMITTED


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_the_system_refuses_is_one_line_for_the_user(tmp_path, monkeypatch, step):
    store, run = RunStore(tmp_path), small_run()
    store.write(run)
    before = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        told = rf"^{tmp_path}: cannot be written to \(Operation not permitted\)$"
        with pytest.raises(FailedError, match=told):
            store.write(small_run(seed=1))
        with pytest.raises(FailedError, match=told):
            store.write_cost(make_cost(run.record.config))
    assert files_in(tmp_path) == before
    assert store.find(run.record.config) == run.record


def test_what_cannot_be_set_aside_is_named_and_stays(tmp_path, monkeypatch):
    store, run = RunStore(tmp_path), small_run()
    store.write(run)
    path = tmp_path / run.record.name / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.warns(UserWarning, match="could not be set aside: Operation not permitted"):
            assert store.find(run.record.config) is None
    assert path.exists()


def test_a_disk_that_knows_no_modes_takes_runs_all_the_same(tmp_path, monkeypatch):
    """Shared folders and mounted object stores refuse to set them."""
    store, run = RunStore(tmp_path), small_run()
    for module, name in ((os, "chmod"), (os, "utime"), (shutil, "copystat"), (shutil, "copymode")):
        monkeypatch.setattr(module, name, refuse)
    with store.lock():
        for _ in range(2):
            store.write(run)
        store.write_cost(make_cost(run.record.config))
    assert store.find(run.record.config) == run.record
    (tmp_path / run.record.name / "record.json").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"counts as missing \(kept as"):
        assert store.find(run.record.config) is None


STEPS = [(step, n) for step in ("mkdir", "mkstemp", "fsync", "replace", "unlink") for n in (1, 2)]


@pytest.mark.parametrize(("step", "number"), [("acquire", 1), ("rmdir", 1), *STEPS])
def test_a_folder_that_will_not_do_is_refused_before_any_work(tmp_path, monkeypatch, step, number):
    """Whichever step it is that the folder does not take, the first time or later."""
    work, calls = [], []
    module = {"acquire": FileLock, "mkstemp": tempfile}.get(step, os)
    error = NotImplementedError("no locks here") if step == "acquire" else NOT_PERMITTED
    real = getattr(module, step)

    def refuse_late(*arguments, **options):
        calls.append(step)
        if len(calls) >= number:
            raise error
        return real(*arguments, **options)

    store = RunStore(tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr(module, step, refuse_late)
        told = rf"^{store.folder}: cannot be written to \(.*\)$"
        with pytest.raises(UserError, match=told), store.lock():
            work.append("done")
    assert not work
    with store.lock():  # and what the trial left is no hindrance
        store.write(small_run())
    assert {path.name for path in store.folder.iterdir()} <= {*store.names(), ".lock"}


@pytest.mark.parametrize("name", ["file", "file/runs", "link/runs", "loop/runs"])
def test_a_folder_that_leads_nowhere_or_is_a_file_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="cannot be written to") as error:
        RunStore(tmp_path / name).lock().__enter__()
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(("kind", "status"), [(UserError, 2), (FailedError, 1), (OSError, 1)])
def test_the_command_has_no_traceback_for_it(monkeypatch, capsys, kind, status):
    def fail(_):
        raise kind("No space")

    monkeypatch.setattr(run_all, "run", fail)
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    monkeypatch.setattr(run_all.warnings, "showwarning", run_all.warnings.showwarning)  # restored
    assert run_all.main() == status
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space" in line
