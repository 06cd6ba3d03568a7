"""The data: verified before use, normalised, split and ordered; the command that obtains it."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_data import TRAIN_IMAGES, Place
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fmnist_lib import paths
from fmnist_lib.data import fashion_mnist as data
from fmnist_lib.data import obtain, splits
from fmnist_lib.data.__main__ import main
from fmnist_lib.errors import UserError
from fmnist_lib.runs import config

# --- loading -----------------------------------------------------------------------------------


@pytest.fixture
def tiny(place) -> Place:
    place.fill(place.raw)
    return place


def test_load_normalises_as_torchvision_does(tiny):
    loaded = data.load(tiny.root)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(loaded.mean, loaded.std)]
    )
    for train, images, labels in [
        (True, loaded.train_images, loaded.train_labels),
        (False, loaded.test_images, loaded.test_labels),
    ]:
        expected = FashionMNIST(tiny.root, train=train, transform=transform)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert images.shape == (len(expected), 1, 28, 28)
        assert labels.tolist() == [label for _, label in expected]
        torch.testing.assert_close(images, torch.stack([image for image, _ in expected]))


def test_load_verifies_each_file_once(tiny, monkeypatch):
    verified = []
    sha256 = hashlib.sha256
    monkeypatch.setattr(
        obtain.hashlib, "sha256", lambda file: verified.append(file) or sha256(file)
    )
    data.load(tiny.root)
    assert sorted(verified) == sorted(tiny.files.values())


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_is_read_unverified(tiny, split):
    path = tiny.raw / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(obtain.DataError, match=f"{TRAIN_IMAGES} is not"):
        data.raw_images(tiny.root, split)


def test_a_subset_has_the_first_of_each_class(tiny):
    whole = data.load(tiny.root)
    part = data.load(tiny.root, train_images=23, test_images=10)
    assert (part.mean, part.std) == (whole.mean, whole.std)  # still of all training images
    # labels run 0 1 … 9 0 1 …: two of each class, a third of classes 0, 1 and 2
    torch.testing.assert_close(part.train_images, whole.train_images[:23])
    torch.testing.assert_close(part.train_labels, whole.train_labels[:23])
    assert part.test_labels.tolist() == list(range(10))


@pytest.mark.parametrize("count", [0, -1, 41])
def test_a_subset_that_does_not_exist_is_refused(tiny, count):
    with pytest.raises(UserError, match=rf"train_images is {count}: allowed are 1 to 40"):
        data.load(tiny.root, train_images=count)


def test_raw_images_refuses_another_split(tiny):
    with pytest.raises(UserError, match="allowed are 'train' and 'test'"):
        data.raw_images(tiny.root, "validation")


def test_pixel_mean_std_by_hand():
    images = torch.tensor([[[0, 255], [255, 0]]] * 3, dtype=torch.uint8)
    assert data.pixel_mean_std(images) == (0.5, 0.5)
    four = torch.tensor([[[0, 51], [102, 255]]], dtype=torch.uint8)  # 0.0, 0.2, 0.4, 1.0
    assert data.pixel_mean_std(four) == pytest.approx((0.4, 0.14**0.5))


# --- batch order and split ---------------------------------------------------------------------


def test_batch_order_is_a_permutation_and_pure():
    torch.manual_seed(1)
    first = splits.batch_order(100, seed=3, epoch=7)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, splits.batch_order(100, seed=3, epoch=7))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())  # nothing was drawn from the global generator
    assert first.dtype == torch.int64
    assert first.sort().values.tolist() == list(range(100))


def test_batch_order_differs_by_seed_and_epoch():
    orders = {
        tuple(splits.batch_order(50, seed=seed, epoch=epoch).tolist())
        for seed in range(5)
        for epoch in range(1, 6)
    }
    assert len(orders) == 25


def test_order_and_split_stay_what_they_were():
    """The released results rest on them: a change needs a new TRAINING_VERSION."""
    assert splits.derive_seed(0, 0, "") == 4334430513956379144
    assert splits.batch_order(10, seed=0, epoch=1).tolist() == [0, 2, 1, 8, 6, 9, 7, 4, 5, 3]
    assert splits.batch_order(10, seed=0, epoch=2).tolist() == [3, 6, 4, 8, 5, 1, 7, 9, 2, 0]
    labels = torch.arange(3).repeat(4)
    assert splits.stratified_split(labels, 6, seed=0)[1].tolist() == [0, 3, 4, 5, 10, 11]


def test_derived_seeds_fit_torch_and_keep_streams_apart():
    seeds = [
        splits.derive_seed(seed, epoch, stream)
        for seed in (0, 1, 2**32, 2**32 + 1)
        for epoch in (0, 1, 2)
        for stream in ("", "a", "b", "ab")
    ]
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)  # torch uses the low 32 bits
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_derive_seed_refuses_negative_numbers():
    with pytest.raises(UserError, match="allowed are whole numbers from 0"):
        splits.derive_seed(-1, 0, "batch order")


def test_stratified_split_by_hand():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    train, validation = splits.stratified_split(labels, 5, seed=0)
    # exact shares 3.0, 1.5 and 0.5: the odd image goes to the lower label of the two
    assert labels[validation].bincount(minlength=3).tolist() == [3, 2, 0]
    assert labels[train].bincount(minlength=3).tolist() == [3, 1, 1]


@given(
    labels=st.lists(st.integers(0, 9), min_size=2, max_size=60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**40),
)
def test_stratified_split_properties(labels, fraction, seed):
    labels = torch.tensor(labels)
    count = min(max(1, round(fraction * len(labels))), len(labels) - 1)
    train, validation = splits.stratified_split(labels, count, seed=seed)
    assert train.dtype == validation.dtype == torch.int64
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    assert len(validation) == count
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    for label in set(labels.tolist()):
        share = count * (labels == label).sum().item() / len(labels)
        assert abs((labels[validation] == label).sum().item() - share) < 1
    again = splits.stratified_split(labels, count, seed=seed)
    assert torch.equal(again[1], validation)


def test_stratified_split_depends_on_the_seed():
    labels = torch.arange(10).repeat(20)
    found = {tuple(splits.stratified_split(labels, 50, seed=s)[1].tolist()) for s in range(5)}
    assert len(found) == 5


@pytest.mark.parametrize("count", [0, -5, 10, 11])
def test_stratified_split_refuses_an_empty_side(count):
    with pytest.raises(UserError, match=f"validation_images is {count}: allowed are 1 to 9"):
        splits.stratified_split(torch.arange(10), count, seed=0)


@pytest.mark.parametrize("labels", [torch.zeros(10), torch.zeros(5, 2, dtype=torch.int64)])
def test_stratified_split_refuses_other_labels(labels):
    with pytest.raises(UserError, match="whole numbers in one dimension"):
        splits.stratified_split(labels, 3, seed=0)


# --- folds ---------------------------------------------------------------------------------------


def deal(labels, *, fold=0, folds=5, partition=0, stopping_images=8):
    return splits.stratified_folds(
        labels, fold=fold, folds=folds, partition=partition, stopping_images=stopping_images
    )


def test_folds_by_hand():
    labels = torch.arange(10).repeat(10)  # ten of each: 2 held out, 1 stops, 7 train
    for fold in range(5):
        train, stopping, held_out = deal(labels, fold=fold, stopping_images=10)
        assert labels[train].bincount().tolist() == [7] * 10
        assert labels[stopping].bincount().tolist() == [1] * 10
        assert labels[held_out].bincount().tolist() == [2] * 10
    uneven = torch.tensor([0] * 4 + [1] * 3)  # dealt card after card: 0 1 2 0, then 1 2 0
    held_out = [uneven[deal(uneven, fold=k, folds=3, stopping_images=1)[2]] for k in range(3)]
    assert [fold.tolist() for fold in held_out] == [[0, 0, 1], [0, 1], [0, 1]]


@given(
    labels=st.lists(st.integers(0, 9), min_size=4, max_size=60),
    folds=st.integers(2, 6),
    partition=st.integers(0, 2**40),
    part=st.floats(0, 1),
)
def test_folds_properties(labels, folds, partition, part):
    labels, folds = torch.tensor(labels), min(folds, len(labels))
    smallest_rest = len(labels) - -(-len(labels) // folds)
    count = min(max(1, round(part * smallest_rest)), smallest_rest - 1)
    covered = []
    for fold in range(folds):
        parts = deal(labels, fold=fold, folds=folds, partition=partition, stopping_images=count)
        assert all(part.dtype == torch.int64 for part in parts)
        assert all(part.tolist() == sorted(part.tolist()) for part in parts)
        assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))  # disjoint, all
        assert len(parts[1]) == count
        assert abs(len(parts[2]) - len(labels) / folds) < 1
        for label in labels.unique():
            each, held_out = (labels == label).sum() / folds, (labels[parts[2]] == label).sum()
            assert abs(held_out - each) < 1
        covered += parts[2].tolist()
    assert sorted(covered) == list(range(len(labels)))  # each image is held out exactly once


def test_folds_are_pure_and_depend_on_the_partition():
    labels = torch.arange(10).repeat(20)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    once = deal(labels)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(once, deal(labels), strict=True))
    assert len({tuple(deal(labels, partition=p)[2].tolist()) for p in range(5)}) == 5
    # what is held out does not depend on how many stop; which stop depends on the fold
    assert torch.equal(once[2], deal(labels, stopping_images=50)[2])
    assert not torch.equal(once[1], deal(labels, fold=1)[1])


@pytest.mark.parametrize(
    ("fold", "folds", "partition"), [(5, 5, 0), (-1, 5, 0), (0, 1, 0), (0, 51, 0), (0, 5, -1)]
)
def test_a_fold_that_cannot_be_is_refused(fold, folds, partition):
    with pytest.raises(UserError, match=f"partition {partition}, fold {fold} of {folds} folds: "):
        deal(torch.arange(10).repeat(5), fold=fold, folds=folds, partition=partition)


@pytest.mark.parametrize("count", [0, 40, 41])
def test_folds_leave_something_to_train_on_and_to_stop_by(count):
    with pytest.raises(UserError, match=f"stopping_images is {count}: allowed are 1 to 39"):
        deal(torch.arange(10).repeat(5), stopping_images=count)


# --- the command -------------------------------------------------------------------------------


def test_command_names_what_it_obtained_and_is_short_when_all_is_there(place, capsys):
    place.fill(place.system)
    assert main(["--root", str(place.root)]) == 0
    *obtained, last = capsys.readouterr().out.splitlines()
    assert len(obtained) == 4
    for line, (name, digest) in zip(obtained, obtain.SHA256.items(), strict=True):
        assert name in line
        assert digest in line
    assert main(["--root", str(place.root)]) == 0
    assert capsys.readouterr().out.splitlines() == [last]


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_command_fails_with_one_line_and_status_2(tmp_path, capsys, root):
    (tmp_path / "file").touch()
    assert main(["--root", str(tmp_path / root)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: cannot use the data folder")
    assert output.err.count("\n") == 1


def test_command_as_a_user_types_it():
    command = [sys.executable, "-m", "fmnist_lib.data"]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=paths.ROOT)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "--root" in asked.stdout
    assert subprocess.run([*command, "--rot"], capture_output=True, cwd=paths.ROOT).returncode == 2


@pytest.mark.parametrize("room", [data, obtain, splits])
def test_a_worker_can_import_the_rooms_without_what_only_downloads_need(room):
    tree = ast.parse(Path(room.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    modules |= {n.names[0].name for n in tree.body if isinstance(n, ast.Import)}
    packages = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
    assert packages <= {"filelock", "fmnist_lib", "numpy", "torch"}


# --- the real data, which the test command obtains first ---------------------------------------


@pytest.mark.parametrize(("split", "each"), [("train", 6000), ("test", 1000)])
def test_the_real_images_are_what_torchvision_reads(split, each):
    theirs = FashionMNIST(paths.DATA, train=split == "train")
    images, labels = data.raw_images(split=split)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(images, theirs.data)
    assert torch.equal(labels, theirs.targets)
    assert labels.bincount().tolist() == [each] * 10
    assert tuple(theirs.classes) == data.CLASS_NAMES


def test_five_folds_of_the_real_labels():
    labels = data.raw_images(split="train")[1]
    parts = deal(labels, fold=4, partition=1, stopping_images=4800)
    assert [len(part) for part in parts] == [43_200, 4_800, 12_000]
    each = [labels[part].bincount().tolist() for part in parts]
    assert each == [[4320] * 10, [480] * 10, [1200] * 10]


def test_real_files_have_the_published_sizes():
    assert {name: (paths.RAW / name).stat().st_size for name in obtain.SHA256} == obtain.BYTES


def test_one_hash_names_the_whole_data_set():
    lines = "".join(f"{name} {digest}\n" for name, digest in obtain.SHA256.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == config.DATA_SHA256


def test_real_data_loads_normalised():
    loaded = data.load(train_images=1000, test_images=200)
    assert loaded.train_labels.bincount().tolist() == [100] * 10
    assert loaded.test_labels.bincount().tolist() == [20] * 10
    assert (loaded.mean, loaded.std) == (0.2860405969887955, 0.3530242445149226)
    assert (round(loaded.mean, 4), round(loaded.std, 4)) == (data.MEAN, data.STD)
    black = torch.tensor(-loaded.mean / loaded.std, dtype=torch.float32)
    assert loaded.train_images.min().item() == pytest.approx(black.item(), rel=1e-6)
