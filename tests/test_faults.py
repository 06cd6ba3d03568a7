"""What the machine may do to us: a full disk, one that cannot be written or knows no modes."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from filelock import FileLock
from made_up import make_cost, make_run

import run_all
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.runs.store import RunStore

FULL, READ_ONLY, NOT_PERMITTED = (
    OSError(code, os.strerror(code)) for code in (errno.ENOSPC, errno.EROFS, errno.EPERM)
)


def small_run(seed=0):
    return make_run(seed=seed, test_images=100)


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


def test_a_disk_that_fills_up_leaves_what_was_there_and_nothing_half_written(disk):
    store = RunStore(disk)
    first, second = small_run(), make_run(seed=1)  # of the second: 50 KB
    store.write(first)
    (disk / "another's").write_bytes(bytes(80 * 1024))
    before = files_in(disk)
    with pytest.raises(FailedError) as error:
        store.write(second)
    assert str(error.value) == f"{disk}: cannot be written to (No space left on device)"
    assert files_in(disk) == before
    assert store.find(first.record.config) == first.record
    (disk / "another's").unlink()
    store.write(second)
    assert store.find(second.record.config) == second.record


def test_on_a_disk_without_a_byte_left_the_command_says_so(disk, tmp_path):
    with pytest.raises(OSError, match="No space"):
        disk.joinpath("another's").write_bytes(bytes(2**20))
    command = [sys.executable, run_all.__file__, "--profile", "smoke", "--models", "lenet5"]
    done = subprocess.run(
        [*command, "--output", tmp_path / "out"],
        env=os.environ | {"FMNIST_RUNS": str(disk / "runs")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{disk / 'runs'}: cannot be written to" in line


def test_a_read_only_store_is_read_and_writing_to_it_refused(disk):
    store, run, cut = RunStore(disk), small_run(), small_run(seed=1)
    store.write(run)
    store.write(cut)
    path = disk / cut.record.name / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    mount("-o", "remount,ro", disk)
    assert store.find(run.record.config) == run.record
    with pytest.warns(UserWarning, match="could not be set aside: Read-only file system"):
        assert store.find(cut.record.config) is None
    with pytest.raises(FailedError, match=r"cannot be written to \(Read-only"):
        store.write(small_run(seed=2))
    with pytest.raises(UserError, match=r"cannot be written to \(Read-only"), store.lock():
        pass


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_what_the_system_refuses_is_one_line_for_the_user(tmp_path, monkeypatch, step, error):
    def refuse(*_):
        raise error

    store, run = RunStore(tmp_path), small_run()
    store.write(run)
    before = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        for write in (
            lambda: store.write(small_run(seed=1)),
            lambda: store.write_cost(make_cost(run.record.config)),
        ):
            with pytest.raises(FailedError) as caught:
                write()
            assert str(caught.value) == f"{tmp_path}: cannot be written to ({error.strerror})"
    assert files_in(tmp_path) == before
    assert store.find(run.record.config) == run.record


def test_a_disk_that_knows_no_modes_takes_runs_all_the_same(tmp_path, monkeypatch):
    """Shared folders and mounted object stores refuse to set them."""

    def refuse(*_, **__):
        raise NOT_PERMITTED

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


@pytest.mark.parametrize(
    ("module", "step", "number"),
    [
        *[(FileLock, "acquire", 1), (os, "rmdir", 1), (os, "unlink", 1), (os, "unlink", 2)],
        *[(tempfile, "mkstemp", n) for n in (1, 2)],
        *[(os, step, n) for step in ("fsync", "replace", "mkdir") for n in (1, 2)],
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
        store.write(small_run())
    assert len(store.names()) == 1
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
    with monkeypatch.context() as patch:
        patch.setattr(run_all.warnings, "showwarning", run_all.warnings.showwarning)
        assert run_all.main() == status
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space" in line
