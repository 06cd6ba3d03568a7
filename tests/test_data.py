"""The data: verified before use, normalised, split and ordered; the command that obtains it."""

import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import TRAIN_IMAGES, Place
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fmnist_lib import paths
from fmnist_lib.data import __main__ as command
from fmnist_lib.data import fashion_mnist as data
from fmnist_lib.data import obtain, splits
from fmnist_lib.errors import UserError
from fmnist_lib.runs import config

# --- loading -----------------------------------------------------------------------------------


@pytest.fixture
def tiny(place) -> Place:
    place.fill(place.raw)
    return place


def test_load_normalises_as_torchvision_does(tiny):
    loaded = data.load(tiny.root)
    steps = [transforms.ToTensor(), transforms.Normalize(loaded.mean, loaded.std)]
    assert (*FashionMNIST.classes,) == data.CLASS_NAMES
    for train, images, labels in [
        (True, loaded.train_images, loaded.train_labels),
        (False, loaded.test_images, loaded.test_labels),
    ]:
        expected = FashionMNIST(tiny.root, train=train, transform=transforms.Compose(steps))
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert labels.tolist() == [label for _, label in expected]
        torch.testing.assert_close(images, torch.stack([image for image, _ in expected]))


@pytest.mark.parametrize("read", [data.load, data.raw_images])
def test_nothing_is_read_unverified(tiny, read, monkeypatch):
    verified, sha256 = [], hashlib.sha256
    monkeypatch.setattr(
        obtain.hashlib, "sha256", lambda file: verified.append(file) or sha256(file)
    )
    read(tiny.root)
    assert sorted(verified) == sorted(tiny.files.values())  # each file once
    path = tiny.raw / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=f"{TRAIN_IMAGES} is not"):
        read(tiny.root)


def test_a_subset_has_the_first_of_each_class(tiny):
    whole = data.load(tiny.root)
    part = data.load(tiny.root, train_images=23, test_images=10)
    # labels run 0 1 … 9 0 1 …: two of each class, a third of classes 0, 1 and 2
    assert torch.equal(part.train_images, whole.train_images[:23])
    assert torch.equal(part.train_labels, whole.train_labels[:23])
    assert part.test_labels.tolist() == list(range(10))
    for count in (0, 41):
        with pytest.raises(UserError, match=rf"train_images is {count}: allowed are 1 to 40"):
            data.load(tiny.root, train_images=count)


# --- batch order, split and folds --------------------------------------------------------------


def deal(labels, *, fold=0, folds=5, partition=0, stopping_images=8):
    return splits.stratified_folds(
        labels, fold=fold, folds=folds, partition=partition, stopping_images=stopping_images
    )


def test_order_split_and_folds_stay_what_they_were():
    """The released results rest on them: a change needs a new TRAINING_VERSION."""
    before = torch.get_rng_state()
    assert splits.derive_seed(0, 0, "") == 4334430513956379144
    assert splits.batch_order(10, seed=0, epoch=1).tolist() == [0, 2, 1, 8, 6, 9, 7, 4, 5, 3]
    assert splits.batch_order(10, seed=0, epoch=2).tolist() == [3, 6, 4, 8, 5, 1, 7, 9, 2, 0]
    labels = torch.arange(3).repeat(4)
    assert splits.stratified_split(labels, 6, seed=0)[1].tolist() == [0, 3, 4, 5, 10, 11]
    dealt = deal(labels, fold=1, folds=3, partition=2, stopping_images=3)
    assert [part.tolist() for part in dealt] == [[3, 6, 7, 8, 11], [4, 5, 9], [0, 1, 2, 10]]
    assert torch.equal(torch.get_rng_state(), before)  # nothing global was drawn from


def test_split_and_folds_by_hand():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    train, validation = splits.stratified_split(labels, 5, seed=0)
    # exact shares 3.0, 1.5 and 0.5: the odd image goes to the lower label of the two
    assert labels[validation].bincount(minlength=3).tolist() == [3, 2, 0]
    assert labels[train].bincount(minlength=3).tolist() == [3, 1, 1]
    labels = torch.arange(10).repeat(10)  # ten of each: 2 held out, 1 stops, 7 train
    counts = [labels[part].bincount() for part in deal(labels, fold=4, stopping_images=10)]
    assert torch.stack(counts).tolist() == [[7] * 10, [1] * 10, [2] * 10]
    uneven = torch.tensor([0] * 4 + [1] * 3)  # dealt card after card: 0 1 2 0, then 1 2 0
    held_out = [uneven[deal(uneven, fold=k, folds=3, stopping_images=1)[2]] for k in range(3)]
    assert [fold.tolist() for fold in held_out] == [[0, 0, 1], [0, 1], [0, 1]]


@given(
    labels=st.lists(st.integers(0, 9), min_size=4, max_size=60).map(torch.tensor),
    folds=st.integers(2, 6),
    seed=st.integers(0, 2**40),
    share=st.floats(0, 1),
)
@settings(deadline=None)
def test_split_and_folds_cover_everything_evenly(labels, folds, seed, share):
    folds = min(folds, len(labels))
    smallest_rest = len(labels) - -(-len(labels) // folds)
    count = min(max(1, round(share * smallest_rest)), smallest_rest - 1)
    given = {"folds": folds, "partition": seed, "stopping_images": count}
    dealt = [deal(labels, fold=fold, **given) for fold in range(folds)]
    for *train, chosen in [splits.stratified_split(labels, count, seed=seed), *dealt]:
        assert torch.cat([*train, chosen]).sort().values.tolist() == list(range(len(labels)))
        assert all(part.tolist() == sorted(part.tolist()) for part in (*train, chosen))
        wanted = len(labels) / folds if len(train) == 2 else count
        assert abs(len(chosen) - wanted) < 1
        for label in labels.unique():
            each = (labels == label).sum() * wanted / len(labels)
            assert abs((labels[chosen] == label).sum() - each) < 1
    held_out = torch.cat([parts[2] for parts in dealt])
    assert held_out.sort().values.tolist() == list(range(len(labels)))  # each image once
    assert all(len(parts[1]) == count for parts in dealt)


def test_split_and_folds_depend_on_what_they_should():
    labels = torch.arange(10).repeat(20)
    found = {tuple(splits.stratified_split(labels, 50, seed=s)[1].tolist()) for s in range(5)}
    assert len(found) == 5
    assert len({tuple(deal(labels, partition=p)[2].tolist()) for p in range(5)}) == 5
    # what is held out does not depend on how many stop; which stop depends on the fold
    assert torch.equal(deal(labels)[2], deal(labels, stopping_images=50)[2])
    assert not torch.equal(deal(labels)[1], deal(labels, fold=1)[1])


@pytest.mark.parametrize(
    ("fold", "folds", "count"),
    [(5, 5, 8), (-1, 5, 8), (0, 51, 8), (0, 5, 0), (0, 5, 40), (0, 1, 1)],
)
def test_a_split_or_fold_with_an_empty_part_is_refused(fold, folds, count):
    with pytest.raises(UserError, match=rf"^fold {fold} of {folds}|^validation_images: "):
        deal(torch.arange(10).repeat(5), fold=fold, folds=folds, stopping_images=count)


# --- the command -------------------------------------------------------------------------------


def test_command_tells_what_it_obtained_and_what_was_there(place, capsys, monkeypatch):
    monkeypatch.setattr(command, "DATA", place.root)
    place.fill(place.system)
    for told in ("obtained", "verified"):
        assert command.main() == 0
        lines = [f"{told} {name}, sha256 {digest}" for name, digest in obtain.SHA256.items()]
        assert capsys.readouterr().out.splitlines() == lines


def test_command_fails_with_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(command, "DATA", tmp_path / "file")
    assert command.main() == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("error: cannot use the data folder")


# --- the real data, which the test command obtains first ---------------------------------------


def test_mean_and_deviation_are_those_of_all_training_pixels():
    pixels = data.raw_images()["train"][0].flatten()
    counts = sum(part.bincount(minlength=256) for part in pixels.split(10**6)).numpy()
    counts = counts.astype(object)  # whole numbers of any size: exact
    total, squares = (sum(counts * np.arange(256) ** power) for power in (1, 2))
    number = len(pixels)
    assert total / number / 255 == data.MEAN
    assert math.sqrt(number * squares - total**2) / number / 255 == data.STD


def test_what_is_known_of_the_files_is_true_and_has_one_name():
    raw = paths.DATA / "FashionMNIST" / "raw"
    assert {name: (raw / name).stat().st_size for name in obtain.SHA256} == obtain.BYTES
    lines = "".join(f"{name} {digest}\n" for name, digest in obtain.SHA256.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == config.DATA_SHA256
