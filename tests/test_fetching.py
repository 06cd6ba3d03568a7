"""The files: obtained from whichever source has them, never used or left behind unverified."""

import contextlib
import gzip
import hashlib
import json
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tiny_data import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from torchvision.datasets import FashionMNIST

from fmnist_lib.data import obtain
from fmnist_lib.errors import UserError
from fmnist_lib.paths import ROOT


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


BAD = {"corrupt": flipped, "truncated": lambda content: content[:-1], "empty": lambda content: b""}


class Mirror(ThreadingHTTPServer):
    """Serves a folder; the request for `hold` waits for `go`, and all answers are `cut`."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(MirrorHandler, directory=folder))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.paths, self.cut, self.hold = [], False, None
        self.held, self.go = threading.Event(), threading.Event()


class MirrorHandler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path == self.server.hold:
            self.server.held.set()
            self.server.go.wait(20)
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.server.cut else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(place, monkeypatch):
    """A mirror that has everything, known to torchvision after one where nobody answers."""
    place.fill(place.mirror, gz=True)
    with Mirror(place.mirror) as server:
        monkeypatch.setattr(FashionMNIST, "mirrors", [*FashionMNIST.mirrors, server.url])
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.go.set()
        server.shutdown()


def program(place, name: str, script: str) -> None:
    (place.programs / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    (place.programs / name).chmod(0o755)


@pytest.fixture
def debian(place):
    """Stand-ins: apt-get "downloads" an empty package, dpkg-deb "unpacks" `mirror` from it."""
    place.fill(place.mirror, gz=True)
    program(
        place,
        "apt-get",
        f'echo "$@" >> {place.programs}/calls\n'
        # one unreachable list fails the update
        'case "$*" in *update) exit 100;; *) touch dataset-fashion-mnist_1_all.deb;; esac',
    )
    unpacked = f"$3/{place.system.relative_to('/')}"
    program(place, "dpkg-deb", f"mkdir -p {unpacked} && cp {place.mirror}/*.gz {unpacked}")
    return place


# --- already there -----------------------------------------------------------------------------


def test_good_files_are_left_alone_and_nothing_is_written(place):
    place.fill(place.raw)
    before = {path: path.stat() for path in place.raw.iterdir()}
    assert obtain.ensure_data(str(place.root)) == place.root
    assert {path: path.stat() for path in place.raw.iterdir()} == before  # no lock file either


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_replaced_and_named(place, fault):
    bad = BAD[fault](place.files[TEST_IMAGES])
    place.fill(place.raw, t10k_images_idx3_ubyte=bad)
    place.fill(place.system)
    with pytest.warns(UserWarning, match="replaced") as caught:
        assert obtain.obtain_missing(place.root) == [TEST_IMAGES]
    hashes = (hashlib.sha256(bad).hexdigest(), obtain.SHA256[TEST_IMAGES])
    for part in (str(place.raw / TEST_IMAGES), *hashes):
        assert part in str(caught[0].message)
    place.assert_complete()


def test_a_bad_file_that_cannot_be_replaced_is_named_and_kept_aside(place, recwarn):
    place.fill(place.raw, train_labels_idx1_ubyte=b"nonsense")
    with pytest.raises(obtain.DataError) as error:
        obtain.ensure_data(place.root)
    assert f"missing {TRAIN_LABELS} |" in str(error.value)  # and no other file
    assert hashlib.sha256(b"nonsense").hexdigest() in str(error.value)
    assert f"kept aside as {TRAIN_LABELS}.bad" in str(error.value)
    assert place.here() == {*place.files, f"{TRAIN_LABELS}.bad"} - {TRAIN_LABELS}
    assert not recwarn  # nothing was replaced


def test_only_missing_files_are_fetched(place, mirror):
    place.fill(place.raw, train_labels_idx1_ubyte=None)
    assert obtain.obtain_missing(place.root) == [TRAIN_LABELS]
    assert mirror.paths == [f"/{TRAIN_LABELS}.gz"]
    place.assert_complete()


def test_a_cache_of_an_old_torchvision_is_refused(place):
    place.fill(place.raw)
    processed = place.raw.parent / "processed"
    processed.mkdir()
    (processed / "training.pt").touch()
    (processed / "test.pt").touch()
    with pytest.raises(obtain.DataError, match="delete that folder"):
        obtain.ensure_data(place.root)


def test_an_unusable_folder_is_the_users_to_mend(place, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot use the data folder .* that you may write"):
        obtain.ensure_data(tmp_path / "file" / "data")
    (place.raw / TRAIN_IMAGES).mkdir(parents=True)  # a folder where a file belongs
    with pytest.raises(UserError, match=TRAIN_IMAGES):
        obtain.ensure_data(place.root)


def test_a_bad_file_in_a_folder_that_nobody_may_write_is_named(place, monkeypatch):
    place.fill(place.raw, train_labels_idx1_ubyte=b"nonsense")

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(obtain, "FileLock", refused)  # as for anyone but root
    with pytest.raises(UserError, match=rf"Permission denied.*{TRAIN_LABELS} is not"):
        obtain.ensure_data(place.root)


# --- the sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("gz", [False, True])
def test_system_copy(place, gz):
    place.fill(place.system, gz=gz)
    obtain.ensure_data(place.root)
    place.assert_complete()


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("gz", [False, True])
def test_what_a_source_lacks_or_has_wrong_comes_from_the_next(place, mirror, fault, gz):
    bad = BAD[fault](place.files[TEST_IMAGES])
    place.fill(place.system, gz=gz, t10k_images_idx3_ubyte=bad, t10k_labels_idx1_ubyte=None)
    obtain.ensure_data(place.root)
    assert mirror.paths == [f"/{TEST_IMAGES}.gz", f"/{TEST_LABELS}.gz"]
    place.assert_complete()


def test_an_archive_is_not_unpacked_beyond_the_size_its_file_has(place, monkeypatch):
    place.fill(place.system, gz=True)
    bomb = place.system / f"{TEST_IMAGES}.gz"
    bomb.write_bytes(gzip.compress(bytes(50_000_000)))
    unpacked = []
    digest = hashlib.sha256
    monkeypatch.setattr(
        obtain.hashlib, "sha256", lambda content: unpacked.append(len(content)) or digest(content)
    )
    with pytest.raises(obtain.DataError, match=rf"{bomb} is not"):
        obtain.ensure_data(place.root)
    assert max(unpacked) <= max(obtain.BYTES.values()) + 1
    assert place.here() == {TRAIN_IMAGES, TRAIN_LABELS}


@pytest.mark.parametrize(
    "damage", [lambda file: file[:-20], lambda file: b"<html>", lambda file: flipped(file)]
)
@pytest.mark.parametrize("source", ["system", "mirror"])
def test_a_damaged_archive_is_named(place, mirror, damage, source):
    archive = place.mirror / f"{TRAIN_IMAGES}.gz"
    archive.write_bytes(damage(archive.read_bytes()))
    if source == "system":
        place.mirror.rename(place.system)
    with pytest.raises(obtain.DataError, match=rf"{TRAIN_IMAGES}\.gz") as error:
        obtain.ensure_data(place.root)
    assert "\n" not in str(error.value)
    assert place.here() == set()


def test_a_download_that_breaks_off_is_not_used(place, mirror):
    mirror.cut = True
    with pytest.raises(obtain.DataError, match=f"{mirror.url}{TRAIN_IMAGES}.gz: .*IncompleteRead"):
        obtain.ensure_data(place.root)
    assert place.here() == set()


def test_a_silent_mirror_is_given_up(place, mirror, monkeypatch):
    monkeypatch.setattr(obtain, "TIMEOUT_SECONDS", 0.1)
    mirror.hold = f"/{TRAIN_IMAGES}.gz"
    with pytest.raises(obtain.DataError, match="timed out"):
        obtain.ensure_data(place.root)
    assert mirror.paths == [f"/{TRAIN_IMAGES}.gz"]  # one file's wait, not four


@pytest.mark.parametrize("module", ["pooch", "torchvision.datasets"])
def test_without_a_package_its_source_says_so_and_the_next_is_tried(
    debian, monkeypatch, capsys, module
):
    monkeypatch.setitem(sys.modules, module, None)
    obtain.ensure_data(debian.root)
    assert {path.name for path in debian.raw.iterdir()} >= set(debian.files)
    program(debian, "apt-get", "exit 1")
    (debian.raw / TRAIN_IMAGES).unlink()
    with pytest.raises(obtain.DataError, match=rf"torchvision's download: [^|]*{module}"):
        obtain.ensure_data(debian.root)


def test_debian_package_is_fetched_once_and_not_installed(debian, capsys):
    obtain.ensure_data(debian.root)
    debian.assert_complete()
    assert capsys.readouterr().err.count("torchvision's download") == 1  # not again in vain
    update, download = (debian.programs / "calls").read_text().splitlines()
    assert update.endswith(" update")
    assert download.endswith(" download dataset-fashion-mnist")
    for folder in ("Dir::State::Lists=./lists", "Dir::Cache=./cache"):  # as any user
        assert folder in update
        assert folder in download


@pytest.mark.parametrize("name", ["apt-get", "dpkg-deb"])
def test_debian_package_that_fails_says_why(debian, name):
    program(debian, name, 'echo "Reading"; echo "E: the\nreason" >&2; exit 100')
    with pytest.raises(obtain.DataError, match=r"Debian's package [^|:]*: (E: the reason ?)+ \|"):
        obtain.ensure_data(debian.root)


def test_when_all_sources_fail_each_is_listed_with_its_reason(place):
    with pytest.raises(obtain.DataError) as error:
        obtain.ensure_data(place.root)
    assert isinstance(error.value, UserError)
    assert "\n" not in str(error.value)
    what, system, torchvision, debian, by_hand = str(error.value).split(" | ")
    assert all(name in what for name in place.files)
    assert str(place.system) in system
    assert f"http://127.0.0.1:9/{TRAIN_IMAGES}.gz" in torchvision
    assert "apt-get: not found" in debian
    assert str(place.raw) in by_hand


# --- interrupted, or not alone -----------------------------------------------------------------


def test_an_interruption_leaves_whole_files_and_a_retry_fetches_the_rest(place):
    place.fill(place.system)
    asked = []

    def interrupted(name, scratch):
        asked.append(name)
        if len(asked) == 2:
            (scratch / "partial").write_bytes(b"half")
            raise KeyboardInterrupt
        return place.system / name

    with pytest.raises(KeyboardInterrupt):
        obtain.obtain_missing(place.root, {"a source": interrupted})
    assert place.here() == {TRAIN_IMAGES}
    obtain.obtain_missing(place.root, {"a source": interrupted})
    assert asked == [TRAIN_IMAGES, TRAIN_LABELS, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS]
    place.assert_complete()


def test_nothing_half_written_stands_under_a_final_name(place, monkeypatch):
    place.fill(place.system)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(obtain.Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obtain.ensure_data(place.root)
    assert place.here() == set()


# Another process with the same data folder and mirror, and nothing else.
SCRIPT = """
import json, sys, types
from pathlib import Path
from fmnist_lib.data import obtain
root, system, sha256, sizes, torchvision = json.loads(sys.argv[1])
sys.modules["torchvision.datasets"] = types.SimpleNamespace(
    FashionMNIST=types.SimpleNamespace(**torchvision)
)
obtain.SYSTEM_COPY, obtain.SHA256, obtain.BYTES = Path(system), sha256, sizes
print("ready", flush=True)
obtain.ensure_data(root)
"""


@pytest.fixture
def start(place, mirror):
    """Start such processes; each is ready when it is returned, and ends with the test."""
    processes = []

    def start():
        known = {"mirrors": [mirror.url], "resources": place.archives}
        told = [str(place.root), str(place.system), obtain.SHA256, obtain.BYTES, known]
        command = [sys.executable, "-c", SCRIPT, json.dumps(told)]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
        assert processes[-1].stdout.readline() == b"ready\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_killed_in_a_download_it_goes_on_where_it_stood(place, mirror, start):
    mirror.hold = f"/{TRAIN_LABELS}.gz"
    process = start()
    assert mirror.held.wait(20)
    process.kill()
    process.wait()
    mirror.go.set()
    assert place.here() >= {TRAIN_IMAGES}
    assert not place.here() & {TRAIN_LABELS, TEST_IMAGES, TEST_LABELS}
    assert len(place.here()) == 2  # a scratch folder was left behind
    mirror.paths.clear()
    obtain.ensure_data(place.root)
    assert f"/{TRAIN_IMAGES}.gz" not in mirror.paths
    place.assert_complete()


def test_two_processes_at_once(place, mirror, start):
    mirror.hold = f"/{TRAIN_LABELS}.gz"
    first = start()
    assert mirror.held.wait(20)
    second = start()
    time.sleep(0.1)
    mirror.go.set()
    assert [first.wait(20), second.wait(20)] == [0, 0]
    assert mirror.paths == [f"/{name}.gz" for name in place.files]  # each file once
    place.assert_complete()


# --- from one machine to another ---------------------------------------------------------------


def test_what_another_machine_sends_is_verified(place, tmp_path):
    place.fill(place.raw)
    files = obtain.read_files(place.root)
    assert files == place.files
    with pytest.raises(obtain.DataError, match=f"{TEST_LABELS} is not"):
        obtain.accept_files({**files, TEST_LABELS: b"else"}, tmp_path / "other")
    assert not (tmp_path / "other" / "FashionMNIST" / "raw" / TEST_LABELS).exists()
    obtain.accept_files({**files, "../evil": b"evil"}, tmp_path / "other")
    assert obtain.read_files(tmp_path / "other") == files
    assert not list(tmp_path.rglob("evil"))
