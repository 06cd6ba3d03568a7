"""The files: obtained from whichever source has them, never used or left behind unverified."""

import gzip
import hashlib
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from tiny_data import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Place,
    hashes,
    tiny_files,
)
from torchvision.datasets import FashionMNIST

from fmnist_lib.data import fetching, sources
from fmnist_lib.errors import UserError


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


BAD = {"corrupt": flipped, "truncated": lambda content: content[:-1], "empty": lambda content: b""}


# --- already there -----------------------------------------------------------------------------


def test_good_files_are_left_alone(place, monkeypatch):
    place.fill(place.raw)
    before = {path: path.stat() for path in place.raw.iterdir()}
    monkeypatch.setattr(fetching, "SOURCES", {})
    assert fetching.ensure_data(str(place.root)) == place.root
    assert {path: path.stat() for path in place.raw.iterdir()} == before  # no lock file either


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_named_and_fetched_anew(place, fault):
    bad = BAD[fault](place.files[TEST_IMAGES])
    place.fill(place.raw, t10k_images_idx3_ubyte=bad)
    place.fill(place.system)
    with pytest.warns(UserWarning, match="fetched anew") as caught:
        fetching.ensure_data(place.root)
    message = str(caught[0].message)
    assert str(place.raw / TEST_IMAGES) in message
    assert fetching.SHA256[TEST_IMAGES] in message
    assert hashlib.sha256(bad).hexdigest() in message
    place.assert_complete()


def test_a_bad_file_that_cannot_be_replaced_is_not_left_behind(place):
    place.fill(place.raw, train_labels_idx1_ubyte=b"nonsense")
    with pytest.warns(UserWarning, match=TRAIN_LABELS), pytest.raises(fetching.DataError) as error:
        fetching.ensure_data(place.root)
    assert f"missing {TRAIN_LABELS} |" in str(error.value)  # and no other file
    assert not (place.raw / TRAIN_LABELS).exists()
    assert (place.raw / TRAIN_IMAGES).exists()


def test_only_missing_files_are_fetched(place, monkeypatch):
    place.fill(place.raw, train_labels_idx1_ubyte=None)
    place.fill(place.system)
    kept = (place.raw / TRAIN_IMAGES).stat()
    asked = []

    def source(names, scratch):
        asked.extend(names)
        return sources.from_system_copy(names, scratch)

    monkeypatch.setattr(fetching, "SOURCES", {"a source": source})
    fetching.ensure_data(place.root)
    assert asked == [TRAIN_LABELS]
    assert (place.raw / TRAIN_IMAGES).stat() == kept
    place.assert_complete()


def test_a_cache_of_an_old_torchvision_is_refused(place):
    place.fill(place.raw)
    processed = place.raw.parent / "processed"
    processed.mkdir()
    (processed / "training.pt").touch()
    (processed / "test.pt").touch()
    with pytest.raises(fetching.DataError, match="delete that folder"):
        fetching.ensure_data(place.root)


# --- the sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("gz", [False, True])
def test_system_copy(place, gz):
    place.fill(place.system, gz=gz)
    fetching.ensure_data(place.root)
    place.assert_complete()


def test_torchvisions_mirrors(place, monkeypatch):
    place.fill(place.mirror, gz=True)
    nowhere = f"{place.mirror.as_uri()}-elsewhere/"
    monkeypatch.setattr(FashionMNIST, "mirrors", [nowhere, *FashionMNIST.mirrors])
    fetching.ensure_data(place.root)
    place.assert_complete()


def test_a_download_without_end_is_given_up(place, monkeypatch):
    place.fill(place.mirror, gz=True)
    monkeypatch.setattr(sources, "MAX_BYTES", 20)
    with pytest.raises(fetching.DataError, match="more than 20 bytes came"):
        fetching.ensure_data(place.root)
    assert not list(place.raw.glob("*ubyte*"))


def test_an_archive_is_not_unpacked_beyond_the_size_its_file_has(place):
    place.fill(place.system, gz=True)
    bomb = place.system / f"{TEST_IMAGES}.gz"
    bomb.write_bytes(gzip.compress(bytes(10 * sources.CHUNK_BYTES)))
    with pytest.raises(fetching.DataError, match=rf"{bomb} holds more than the") as error:
        fetching.ensure_data(place.root)
    assert f"missing {TEST_IMAGES} |" in str(error.value)
    assert not (place.raw / ".incoming").exists()


def write_program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def debian(place) -> Place:
    """Stand-ins: apt-get "downloads" an empty package, dpkg-deb "unpacks" `mirror` from it."""
    if os.name == "nt":
        pytest.skip("the stand-ins are shell scripts")
    place.fill(place.mirror, gz=True)
    write_program(
        place.programs,
        "apt-get",
        f'echo "$@" >> {place.programs}/calls\n'
        'case "$*" in *download*) touch dataset-fashion-mnist_1_all.deb;; esac',
    )
    write_program(
        place.programs,
        "dpkg-deb",
        f'mkdir -p "$3{place.system}" && cp {place.mirror}/*.gz "$3{place.system}"',
    )
    return place


def only(monkeypatch, source) -> None:
    monkeypatch.setattr(fetching, "SOURCES", {"the source": source})


def test_debian_package(debian, monkeypatch):
    only(monkeypatch, sources.from_debian_package)
    fetching.ensure_data(debian.root)
    debian.assert_complete()
    update, download = (debian.programs / "calls").read_text().splitlines()
    assert update.endswith(" update")
    assert download.endswith(" download dataset-fashion-mnist")
    for call in (update, download):  # what root alone may write is not touched
        assert f"Dir::State::Lists={debian.root}/" in call
        assert f"Dir::Cache={debian.root}/" in call


def test_debian_package_in_spite_of_an_unreachable_list(debian, monkeypatch):
    only(monkeypatch, sources.from_debian_package)
    script = (debian.programs / "apt-get").read_text()
    (debian.programs / "apt-get").write_text(
        script + 'case "$*" in *update) echo "E: no such list"; exit 100;; esac\n'
    )
    fetching.ensure_data(debian.root)
    debian.assert_complete()


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("apt-get", 'echo "Reading"; echo "E: Unable to locate package"; exit 100'),
        ("dpkg-deb", 'echo "dpkg-deb: error: not a package"; exit 2'),
    ],
)
def test_debian_package_that_fails_says_why(debian, monkeypatch, program, script):
    only(monkeypatch, sources.from_debian_package)
    write_program(debian.programs, program, script)
    reason = r"the source: (apt-get|dpkg-deb) ended with status \d+: (E:|dpkg-deb: error:?) "
    with pytest.raises(fetching.DataError, match=reason):
        fetching.ensure_data(debian.root)


def test_a_source_with_some_of_the_files_is_completed_by_the_next(place):
    place.fill(place.system, train_images_idx3_ubyte=None)
    place.fill(place.mirror, gz=True)
    fetching.ensure_data(place.root)
    place.assert_complete()


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("gz", [False, True])
def test_a_bad_copy_is_passed_over(place, fault, gz):
    place.fill(place.system, gz=gz, t10k_labels_idx1_ubyte=BAD[fault](place.files[TEST_LABELS]))
    place.fill(place.mirror, gz=True)
    fetching.ensure_data(place.root)
    place.assert_complete()


def test_a_bad_copy_is_named_with_both_hashes(place):
    bad = flipped(place.files[TEST_LABELS])
    place.fill(place.system, gz=True, t10k_labels_idx1_ubyte=bad)
    with pytest.raises(fetching.DataError) as error:
        fetching.ensure_data(place.root)
    assert f"{place.system / TEST_LABELS}.gz is not FashionMNIST's" in str(error.value)
    assert f"expected sha256 {fetching.SHA256[TEST_LABELS]}" in str(error.value)
    assert f"found {hashlib.sha256(bad).hexdigest()}" in str(error.value)
    assert {path.name for path in place.raw.iterdir()} - {".lock"} == set(fetching.SHA256) - {
        TEST_LABELS
    }


@pytest.mark.parametrize("damage", [lambda archive: archive[:-20], lambda archive: b"<html>"])
def test_a_damaged_archive_is_named(place, damage):
    place.fill(place.mirror, gz=True)
    archive = place.mirror / f"{TRAIN_IMAGES}.gz"
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(
        fetching.DataError, match=rf"{TRAIN_IMAGES}\.gz cannot be unpacked"
    ) as error:
        fetching.ensure_data(place.root)
    assert fetching.SHA256[TRAIN_IMAGES] in str(error.value)
    assert not (place.raw / TRAIN_IMAGES).exists()


def test_when_all_sources_fail_each_is_listed_with_its_reason(place):
    with pytest.raises(fetching.DataError) as error:
        fetching.ensure_data(place.root)
    message = str(error.value)
    assert isinstance(error.value, UserError)
    assert "\n" not in message
    what, system, torchvision, debian, by_hand = message.split(" | ")
    assert all(name in what for name in fetching.SHA256)
    assert system.endswith(f": there is no folder {place.system}")
    assert torchvision.startswith(f"torchvision's download: {place.mirror.as_uri()}/{TRAIN_IMAGES}")
    assert debian == "Debian's package dataset-fashion-mnist: this system has no apt-get"
    assert str(place.raw) in by_hand


# --- interrupted, or not alone -----------------------------------------------------------------


def test_an_interruption_leaves_whole_files_and_a_retry_fetches_the_rest(place, monkeypatch):
    asked = []

    def interrupted(names, scratch):
        asked.append(list(names))
        yield names[0], place.system / names[0]
        (scratch / f"{names[1]}.gz").write_bytes(b"half")
        raise KeyboardInterrupt

    place.fill(place.system)
    only(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.ensure_data(place.root)
    assert {path.name for path in place.raw.iterdir()} - {".lock"} == {TRAIN_IMAGES}
    assert (place.raw / TRAIN_IMAGES).read_bytes() == place.files[TRAIN_IMAGES]
    with pytest.raises(KeyboardInterrupt):
        fetching.ensure_data(place.root)
    assert asked == [list(fetching.SHA256), list(fetching.SHA256)[1:]]


def test_nothing_half_written_stands_under_a_final_name(place, monkeypatch):
    place.fill(place.system)

    def no_rename(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching.os, "replace", no_rename)
        with pytest.raises(KeyboardInterrupt):
            fetching.ensure_data(place.root)
    assert not any((place.raw / name).exists() for name in fetching.SHA256)
    fetching.ensure_data(place.root)
    place.assert_complete()


def in_another_process(folder: str, ready, die: bool) -> None:
    """ensure_data() with a slow source that logs what it is asked for, or dies in the middle."""
    folder = Path(folder)
    fetching.SHA256 = hashes(tiny_files())

    def source(names, scratch):
        for name in names:
            with (folder / "asked").open("a") as log:
                log.write(f"{name}\n")
            yield name, folder / "system" / name
            if die:
                (scratch / f"{names[1]}.partial").write_bytes(b"half")
                os._exit(9)  # no clean-up of any kind, as with a kill
            time.sleep(0.05)  # so that the other one comes while this one works

    fetching.SOURCES = {"a slow source": source}
    ready.wait(timeout=100)
    fetching.ensure_data(folder / "data")


def start_processes(folder: Path, number: int, *, die: bool = False) -> list[int | None]:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(number)
    processes = [
        context.Process(target=in_another_process, args=(str(folder), ready, die))
        for _ in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=200)  # only so that a deadlock fails here instead of hanging
        process.kill()
    return [process.exitcode for process in processes]


def test_two_processes_at_once(place, tmp_path):
    place.fill(place.system)
    assert start_processes(tmp_path, 2) == [0, 0]
    place.assert_complete()
    assert (tmp_path / "asked").read_text().split() == list(fetching.SHA256)  # each file once


def test_a_killed_process_harms_nobody(place, tmp_path):
    place.fill(place.system)
    assert start_processes(tmp_path, 1, die=True) == [9]
    assert {name for name in fetching.SHA256 if (place.raw / name).exists()} == {TRAIN_IMAGES}
    fetching.ensure_data(place.root)
    place.assert_complete()


def test_an_unusable_root_is_the_users_to_mend(place, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot use the data folder .* that you may write"):
        fetching.ensure_data(tmp_path / "file" / "data")
    (place.raw / TRAIN_IMAGES).mkdir(parents=True)  # a folder where a file belongs
    with pytest.raises(UserError, match=TRAIN_IMAGES):
        fetching.ensure_data(place.root)
