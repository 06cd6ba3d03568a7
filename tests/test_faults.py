"""What the machine may do to us: a full disk, one that cannot be written, a clock that is set."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from filelock import FileLock
from made_up import ENVIRONMENT, make_cost
from made_up import make_run as made_run
from test_records import honest

import fmnist_lib.runs.store
import run_all
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.reporting.analysis import load_results, run_table
from fmnist_lib.runs import environment
from fmnist_lib.runs.store import RunStore

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))


def make_run(*arguments, **options):
    return honest(made_run(*arguments, **options))


def mount(*arguments) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small disk of our own cannot be mounted here")


@pytest.fixture
def disk(tmp_path):
    """A disk of 128 KiB, where the system lets us have one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root: a disk is mounted")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=128k", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- a full disk -------------------------------------------------------------------------------


def test_a_disk_that_fills_up_leaves_what_was_there_and_nothing_half_written(disk):
    store = RunStore(disk)
    first, second = make_run(test_images=100), make_run(seed=1)  # of the second: 50 KB
    store.write(first)
    (disk / "another's").write_bytes(bytes(80 * 1024))
    before = files_in(disk)
    with pytest.raises(FailedError) as error:
        store.write(second)
    assert str(disk) in str(error.value)
    assert "No space left on device" in str(error.value)
    assert files_in(disk) == before
    assert store.names() == [first.record.name]
    assert store.find(first.record.config) == first.record
    (disk / "another's").unlink()
    store.write(second)
    assert store.find(second.record.config) == second.record


def test_on_a_disk_without_a_byte_left_the_command_says_so(disk, tmp_path):
    with pytest.raises(OSError, match="No space"):
        disk.joinpath("another's").write_bytes(bytes(2**20))
    done = command_with_runs_in(disk / "runs", tmp_path / "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{disk / 'runs'}: cannot be written to" in line


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_what_the_system_refuses_is_one_line_for_the_user(tmp_path, monkeypatch, step, error):
    def refuse(*_):
        raise error

    store, run = RunStore(tmp_path), make_run(test_images=100)
    store.write(run)
    before = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fmnist_lib.runs.store.os, step, refuse)
        for write in (
            lambda: store.write(make_run(seed=1, test_images=100)),
            lambda: store.write_cost(make_cost(run.record.config)),
        ):
            with pytest.raises(FailedError) as caught:
                write()
            assert str(caught.value) == f"{tmp_path}: cannot be written to ({error.strerror})"
    assert files_in(tmp_path) == before
    assert store.find(run.record.config) == run.record


NOT_PERMITTED = OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_disk_that_knows_no_modes_takes_runs_all_the_same(tmp_path, monkeypatch):
    """Shared folders and mounted object stores refuse to set them."""

    def refuse(*_, **__):
        raise NOT_PERMITTED

    store, run = RunStore(tmp_path), make_run(test_images=100)
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


@pytest.mark.parametrize(
    ("module", "step", "number"),
    [
        *[(FileLock, "acquire", 1), (os, "replace", 3), (os, "replace", 4)],
        *[(tempfile, "mkstemp", n) for n in (1, 2)],
        *[
            (os, step, n)
            for step in ("fsync", "replace", "mkdir", "rmdir", "unlink")
            for n in (1, 2)
        ],
    ],
    ids=lambda value: "" if isinstance(value, type(os) | type) else str(value),
)
def test_a_folder_that_will_not_do_is_refused_before_any_work(
    tmp_path, monkeypatch, module, step, number
):
    """Whichever step it is that the folder does not take, the first time or later."""
    work, calls = [], []
    error = NotImplementedError("no locks here") if step == "acquire" else NOT_PERMITTED

    def refuse(*arguments, **options):
        calls.append(step)
        if len(calls) >= number:
            raise error
        return real(*arguments, **options)

    real = getattr(module, step)
    store = RunStore(tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr(module, step, refuse)
        with pytest.raises(UserError) as caught, store.lock():
            work.append("done")
    assert not work
    assert str(caught.value).startswith(f"{store.folder}: cannot be written to (")
    assert "\n" not in str(caught.value)
    with store.lock():  # and what the trial left is no hindrance
        store.write(make_run(test_images=100))
    assert len(store.names()) == 1
    assert {path.name for path in store.folder.iterdir()} <= {*store.names(), ".lock"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("runs: cannot be written to (No space)"), 2),
        (FailedError("runs: cannot be written to (No space)"), 1),
        (FULL, 1),
    ],
)
def test_the_command_has_no_traceback_for_it(monkeypatch, capsys, error, status):
    def fail(_):
        raise error

    monkeypatch.setattr(run_all, "run", fail)
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    with monkeypatch.context() as patch:
        patch.setattr(run_all.warnings, "showwarning", run_all.warnings.showwarning)
        assert run_all.main() == status
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space" in line


# --- a disk that cannot be written -------------------------------------------------------------


def command_with_runs_in(runs, output):
    return subprocess.run(
        [
            *(sys.executable, run_all.__file__, "--profile", "smoke", "--models", "lenet5"),
            *("--output", output),
        ],
        env=os.environ | {"FMNIST_RUNS": str(runs)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_read_only_store_is_read_and_writing_to_it_refused(disk):
    store, run = RunStore(disk), make_run(test_images=100)
    store.write(run)
    cut = make_run(seed=1, test_images=100)
    store.write(cut)
    path = disk / cut.record.name / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    mount("-o", "remount,ro", disk)
    assert store.find(run.record.config) == run.record
    with pytest.warns(UserWarning, match="could not be set aside: Read-only file system"):
        assert store.find(cut.record.config) is None
    with pytest.raises(FailedError, match=r"cannot be written to \(Read-only"):
        store.write(make_run(seed=2, test_images=100))
    with pytest.raises(UserError, match=r"cannot be written to \(Read-only"), store.lock():
        pass


# --- a clock that is set -----------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_is_set_in_mid_run_changes_no_duration(monkeypatch, hours):
    class SetClock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + timedelta(hours=hours)

    begun = ENVIRONMENT.model_copy(update={"started": environment.now()})
    monkeypatch.setattr(environment, "datetime", SetClock)
    over = environment.ended(begun)
    passed = datetime.fromisoformat(over.finished) - datetime.fromisoformat(over.started)
    assert timedelta(0) <= passed < timedelta(minutes=1)


def test_a_record_that_ended_before_it_began_does_no_harm(tmp_path):
    """From a clock that was set back: such a record is read, and its duration is that measured."""
    backwards = {"started": ENVIRONMENT.finished, "finished": ENVIRONMENT.started}
    run = make_run(test_images=100, environment=ENVIRONMENT.model_copy(update=backwards))
    store = RunStore(tmp_path)
    store.write(run)
    results = load_results(store, [run.record.config])
    assert run_table(results).wall_seconds.item() == pytest.approx(60.6)  # what its epochs took


def test_files_from_the_future_or_long_ago_are_read(tmp_path):
    store, run = RunStore(tmp_path), make_run(test_images=100)
    store.write(run)
    for time in (0, 2**33):
        for path in files_in(tmp_path):
            os.utime(path, (time, time))
        assert store.find(run.record.config) == run.record
