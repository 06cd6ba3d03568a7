"""The files: obtained from whichever source has them, never used or left behind unverified."""

import contextlib
import gzip
import hashlib
import multiprocessing
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import pytest
from tiny_data import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from torchvision.datasets import FashionMNIST

from fmnist_lib.data import obtain
from fmnist_lib.errors import UserError


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
    """A mirror that has everything, where torchvision's is expected."""
    place.fill(place.mirror, gz=True)
    with Mirror(place.mirror) as server:
        monkeypatch.setattr(FashionMNIST, "mirrors", [server.url])
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


def test_good_files_are_left_alone_and_nothing_is_written(place):
    place.fill(place.raw)
    before = {path: path.stat() for path in place.raw.iterdir()}
    assert obtain.ensure_data(str(place.root)) == []
    assert {path: path.stat() for path in place.raw.iterdir()} == before  # no lock file either


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_named_and_replaced(place, fault, capsys):
    bad = BAD[fault](place.files[TEST_IMAGES])
    place.fill(place.raw, t10k_images_idx3_ubyte=bad)
    place.fill(place.system)
    assert obtain.ensure_data(place.root) == [TEST_IMAGES]
    (line,) = capsys.readouterr().err.splitlines()
    hashes = (hashlib.sha256(bad).hexdigest(), obtain.SHA256[TEST_IMAGES])
    assert all(part in line for part in (str(place.raw / TEST_IMAGES), *hashes))
    place.assert_complete()


def test_an_unusable_folder_is_the_users_to_mend(place, monkeypatch):
    refused = PermissionError(13, "Permission denied", str(place.raw))
    monkeypatch.setattr(obtain, "FileLock", Mock(side_effect=refused))  # as for anyone but root
    place.fill(place.raw, train_labels_idx1_ubyte=b"nonsense")
    with pytest.raises(UserError, match=rf"Permission denied.*{TRAIN_LABELS} is not"):
        obtain.ensure_data(place.root)
    (place.raw / TRAIN_IMAGES).unlink()
    (place.raw / TRAIN_IMAGES).mkdir()  # a folder where a file belongs
    with pytest.raises(UserError, match=rf"cannot use the data folder .*{TRAIN_IMAGES}"):
        obtain.ensure_data(place.root)


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
    (place.system / f"{TEST_IMAGES}.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    sizes, digest = [], hashlib.sha256
    monkeypatch.setattr(
        obtain.hashlib, "sha256", lambda content: sizes.append(len(content)) or digest(content)
    )
    with pytest.raises(UserError, match=rf"{TEST_IMAGES}\.gz is not"):
        obtain.ensure_data(place.root)
    assert max(sizes) <= max(obtain.BYTES.values()) + 1
    assert place.here() == {TRAIN_IMAGES, TRAIN_LABELS}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda file: file[:-20], rf"{TRAIN_IMAGES}\.gz is a damaged archive"),
        (lambda file: b"<html>", rf"{TRAIN_IMAGES}\.gz is a damaged archive"),
        (flipped, rf"{TRAIN_IMAGES}\.gz is a damaged archive"),
        ("breaks off", "IncompleteRead"),
        ("is silent", "timed out"),
    ],
)
def test_a_bad_download_is_named_and_not_used(place, mirror, monkeypatch, fault, told):
    archive = place.mirror / f"{TRAIN_IMAGES}.gz"
    mirror.cut = fault == "breaks off"
    if fault == "is silent":
        mirror.hold = f"/{archive.name}"
        monkeypatch.setattr(obtain, "SILENCE_SECONDS", 0.1)
    elif fault != "breaks off":
        archive.write_bytes(fault(archive.read_bytes()))
    with pytest.raises(UserError, match=rf"torchvision's download: [^|]*{told}"):
        obtain.ensure_data(place.root)
    assert mirror.paths == [f"/{archive.name}"]  # one file's wait, not four
    assert place.here() == set()


@pytest.mark.parametrize("module", ["pooch", "torchvision.datasets"])
def test_debian_package_is_fetched_once_where_the_download_fails(
    debian, monkeypatch, capsys, module
):
    monkeypatch.setitem(sys.modules, module, None)
    obtain.ensure_data(debian.root)
    assert debian.here() == set(debian.files)
    assert capsys.readouterr().err.count("torchvision's download") == 1  # not again in vain
    calls = (debian.programs / "calls").read_text().splitlines()
    wanted = {"Dir::State::Lists=./lists", "Dir::Cache=./cache"}  # as any user
    for call, end in zip(calls, ("update", "download dataset-fashion-mnist"), strict=True):
        assert call.endswith(f" {end}")
        assert wanted < set(call.split())


def test_when_all_sources_fail_each_is_listed_with_its_reason(debian):
    program(debian, "dpkg-deb", 'echo "Reading"; echo "E: the\nreason" >&2; exit 100')
    with pytest.raises(UserError) as error:
        obtain.ensure_data(debian.root)
    _, *missing, system, torchvision, package, by_hand = str(error.value).split(" | ")
    assert [line.split()[0] for line in missing] == list(debian.files)
    assert str(debian.system) in system
    assert f"/{TRAIN_IMAGES}.gz" in torchvision
    assert package.endswith("E: the reason")
    assert str(debian.raw) in by_hand


def start(place):
    """Start another process that obtains the data, in the same surroundings."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=obtain.ensure_data, args=(place.root,), daemon=True)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("kill", [False, True])
def test_killed_in_a_download_or_with_another_beside_it_each_file_is_fetched_once(
    place, mirror, kill
):
    mirror.hold = f"/{TRAIN_LABELS}.gz"
    first = start(place)
    assert mirror.held.wait(20)
    assert place.here() & set(place.files) == {TRAIN_IMAGES}
    assert len(place.here()) == 2  # and a scratch folder
    if kill:
        first.kill()
    second = start(place)
    time.sleep(0.1)
    mirror.go.set()
    first.join(20)
    second.join(20)
    assert (first.exitcode, second.exitcode) == (-9 if kill else 0, 0)
    wanted = list(place.files)
    if kill:
        wanted.insert(1, TRAIN_LABELS)  # whose download was cut off
    assert mirror.paths == [f"/{name}.gz" for name in wanted]
    place.assert_complete()
