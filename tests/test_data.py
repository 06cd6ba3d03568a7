"""The data: verified before use, normalised, split and ordered; the command that obtains it."""

import hashlib

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
from fmnist_lib.data import fetching
from fmnist_lib.errors import UserError
from fmnist_lib.runs import config

# --- loading -----------------------------------------------------------------------------------


@pytest.fixture
def tiny(place, monkeypatch) -> Place:
    place.fill(place.raw)
    pixels = np.frombuffer(place.files[TRAIN_IMAGES][16:], np.uint8) / 255
    monkeypatch.setattr(data, "MEAN", round(pixels.mean(), 4))
    monkeypatch.setattr(data, "STD", round(pixels.std(), 4))
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
    digest = hashlib.file_digest

    def counted(file, name):
        verified.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(fetching.hashlib, "file_digest", counted)
    data.load(tiny.root)
    assert sorted(verified) == sorted(str(tiny.raw / name) for name in data.SHA256)


@pytest.mark.parametrize("split", ["train", "test"])
def test_nothing_is_read_unverified(tiny, split):
    path = tiny.raw / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match=TRAIN_IMAGES), pytest.raises(data.DataError):
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


def test_other_normalisation_constants_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(data, "STD", data.STD + 0.0001)
    with pytest.raises(data.DataError, match="standard deviation"):
        data.load(tiny.root)


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
    first = data.batch_order(100, seed=3, epoch=7)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(first, data.batch_order(100, seed=3, epoch=7))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())  # nothing was drawn from the global generator
    assert first.dtype == torch.int64
    assert first.sort().values.tolist() == list(range(100))


def test_batch_order_differs_by_seed_and_epoch():
    orders = {
        tuple(data.batch_order(50, seed=seed, epoch=epoch).tolist())
        for seed in range(5)
        for epoch in range(1, 6)
    }
    assert len(orders) == 25


def test_batch_order_stays_what_it_was():
    """The released results rest on it: a change needs a new TRAINING_VERSION."""
    assert data.batch_order(10, seed=0, epoch=1).tolist() == [0, 2, 1, 8, 6, 9, 7, 4, 5, 3]
    assert data.batch_order(10, seed=0, epoch=2).tolist() == [3, 6, 4, 8, 5, 1, 7, 9, 2, 0]


def test_derived_seeds_fit_torch_and_keep_streams_apart():
    seeds = [
        data.derive_seed(seed, epoch, stream)
        for seed in (0, 1, 2**32, 2**32 + 1)
        for epoch in (0, 1, 2)
        for stream in ("", "a", "b", "ab")
    ]
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)  # torch uses the low 32 bits
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_derive_seed_refuses_negative_numbers():
    with pytest.raises(UserError, match="allowed are whole numbers from 0"):
        data.derive_seed(-1, 0, "batch order")


def test_stratified_split_by_hand():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    train, validation = data.stratified_split(labels, 5, seed=0)
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
    train, validation = data.stratified_split(labels, count, seed=seed)
    assert train.dtype == validation.dtype == torch.int64
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    assert len(validation) == count
    assert sorted(train.tolist() + validation.tolist()) == list(range(len(labels)))
    for label in set(labels.tolist()):
        share = count * (labels == label).sum().item() / len(labels)
        assert abs((labels[validation] == label).sum().item() - share) < 1
    again = data.stratified_split(labels, count, seed=seed)
    assert torch.equal(again[1], validation)


def test_stratified_split_depends_on_the_seed():
    labels = torch.arange(10).repeat(20)
    splits = {tuple(data.stratified_split(labels, 50, seed=s)[1].tolist()) for s in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize("count", [0, -5, 10, 11])
def test_stratified_split_refuses_an_empty_side(count):
    with pytest.raises(UserError, match=f"validation_images is {count}: allowed are 1 to 9"):
        data.stratified_split(torch.arange(10), count, seed=0)


@pytest.mark.parametrize("labels", [torch.zeros(10), torch.zeros(5, 2, dtype=torch.int64)])
def test_stratified_split_refuses_other_labels(labels):
    with pytest.raises(UserError, match="whole numbers in one dimension"):
        data.stratified_split(labels, 3, seed=0)


# --- the command -------------------------------------------------------------------------------


def test_command_names_what_it_obtained_and_is_short_when_all_is_there(place, capsys):
    place.fill(place.system)
    assert data.main(["--root", str(place.root)]) == 0
    *obtained, last = capsys.readouterr().out.splitlines()
    assert len(obtained) == 4
    for line, (name, digest) in zip(obtained, fetching.SHA256.items(), strict=True):
        assert name in line
        assert digest in line
    assert data.main(["--root", str(place.root)]) == 0
    assert capsys.readouterr().out.splitlines() == [last]


def test_command_fails_with_one_line_and_status_2(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert data.main(["--root", str(tmp_path / "file")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: cannot use the data folder")
    assert output.err.count("\n") == 1


# --- the real data, which the test command obtains first ---------------------------------------


def test_torchvision_itself_opens_the_real_data():
    train, test = FashionMNIST(paths.DATA, train=True), FashionMNIST(paths.DATA, train=False)
    assert train.targets.bincount().tolist() == [6000] * 10
    assert test.targets.bincount().tolist() == [1000] * 10
    assert tuple(train.classes) == data.CLASS_NAMES


def test_real_files_have_the_published_sizes():
    assert {name: (paths.RAW / name).stat().st_size for name in data.SHA256} == fetching.BYTES


def test_one_hash_names_the_whole_data_set():
    lines = "".join(f"{name} {digest}\n" for name, digest in data.SHA256.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == config.DATA_SHA256


def test_real_data_loads_normalised():
    loaded = data.load(train_images=1000, test_images=200)
    assert loaded.train_labels.bincount().tolist() == [100] * 10
    assert loaded.test_labels.bincount().tolist() == [20] * 10
    # a second way to the constants: an average of the images' own moments, from the file's bytes
    pixels = np.fromfile(paths.RAW / TRAIN_IMAGES, np.uint8, offset=16).reshape(60, -1)
    means = np.array([(part / 255).mean() for part in pixels])
    squares = np.array([((part / 255) ** 2).mean() for part in pixels])
    assert loaded.mean == pytest.approx(means.mean(), abs=1e-12)
    assert loaded.std == pytest.approx(np.sqrt(squares.mean() - means.mean() ** 2), abs=1e-12)
    black = torch.tensor(-loaded.mean / loaded.std, dtype=torch.float32)
    assert loaded.train_images.min().item() == pytest.approx(black.item(), rel=1e-6)
