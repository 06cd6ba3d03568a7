"""Augmentation, optimisers, schedules and averages: each against a second, plainer way."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_lib.data import augment
from fmnist_lib.data.splits import batch_order, derive_seed
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import loop
from fmnist_lib.training.loop import Parts, Trainer, finish, place_model

RECIPE = {
    "augment": "flip+shift",
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "onecycle",
    "learning_rate": 0.01,
    "epochs": 3,
    "average": 0.9,
    "label_smoothing": 0.1,
}
ON_VALIDATION = [{"monitor": "validation_loss", "patience": 9}]
SHORT = {"train_images": 256, "test_images": 200}  # as in the fixture small_data
NUMBER = 50  # images: two batches of 20 and one of 10


@pytest.fixture
def part(small_data):
    return small_data.train_images[:NUMBER], small_data.train_labels[:NUMBER]


def trainer_of(part, *, model="baseline_cnn", **settings):
    config = make_config(model=model, batch_size=20, model_options={}, **settings)
    torch.manual_seed(config.seed)
    built = place_model(build_model(config.model), config)
    return Trainer(built, Parts(part, {"test": part}, background=-0.8), config)


def weights_of(trainer):
    return [value.clone() for value in trainer.model.state_dict().values()]


def assert_near(ours, theirs):
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# --- augmentation


def by_hand(image, *, mirrored, down, right, background):
    """One image (28, 28) mirrored, then moved: pixel by pixel."""
    if mirrored:
        image = [row[::-1] for row in image]
    return [
        [
            image[y - down][x - right] if 0 <= y - down < 28 and 0 <= x - right < 28 else background
            for x in range(28)
        ]
        for y in range(28)
    ]


@pytest.mark.parametrize("kind", ["flip", "shift", "flip+shift"])
def test_augmented_images_pixel_by_pixel(small_data, kind):
    images = small_data.train_images[:40]
    found = augment.augment_epoch(images, kind, -7.0, seed=5, epoch=2)
    generator = torch.Generator().manual_seed(derive_seed(5, 2, "augmentation"))
    mirrored = (torch.rand(40, generator=generator) < 0.5).tolist() if "flip" in kind else [0] * 40
    cuts = [[2, 2]] * 40
    if "shift" in kind:
        cuts = torch.randint(0, 5, (40, 2), generator=generator).tolist()
        assert {tuple(cut) for cut in cuts} > {(0, 0)} or len({tuple(c) for c in cuts}) > 10
    for i, image in enumerate(images[:, 0].tolist()):
        down, right = 2 - cuts[i][0], 2 - cuts[i][1]
        expected = by_hand(image, mirrored=mirrored[i], down=down, right=right, background=-7.0)
        torch.testing.assert_close(found[i, 0], torch.tensor(expected))
    for seed, epoch in ((5, 3), (6, 2)):
        other = augment.augment_epoch(images, kind, -7.0, seed=seed, epoch=epoch)
        assert not torch.equal(found, other)
    if "flip" in kind:
        assert 0 < sum(mirrored) < 40


def test_mixup_mixes_images_and_losses(part):
    """Against one-hot targets mixed by the same weights, in a loop written out."""
    trainer = trainer_of(part, model="lenet5", augment="mixup", optimizer="sgd")
    model = copy.deepcopy(trainer.model)
    weights = augment.mixing_weights(3, seed=0, epoch=1).tolist()
    assert all(0 <= weight <= 1 for weight in weights)
    losses = []
    batches = batch_order(NUMBER, seed=0, epoch=1).split(20)
    for batch, weight in zip(batches, weights, strict=True):
        images, targets = part[0][batch], F.one_hot(part[1][batch], 10).float()
        partners = [i - 1 for i in range(len(batch))]
        mixed = weight * images + (1 - weight) * images[partners]
        mixed_targets = weight * targets + (1 - weight) * targets[partners]
        loss = F.cross_entropy(model(mixed), mixed_targets)
        losses.append(loss.item() * len(batch))
        loss.backward()
        with torch.no_grad():
            for value in model.parameters():
                value -= trainer.config.learning_rate * value.grad
                value.grad = None
    sums = finish(trainer.train_epoch(1))
    assert sums.mean_loss == pytest.approx(sum(losses) / NUMBER, rel=1e-5)
    assert_near(trainer.model, model)


def test_mixup_with_its_weight_at_one_is_no_mixup(part, monkeypatch):
    monkeypatch.setattr(loop, "mixing_weights", lambda steps, **_: torch.ones(steps))
    mixed, plain = trainer_of(part, augment="mixup"), trainer_of(part)
    losses = [finish(trainer.train_epoch(1)).loss for trainer in (mixed, plain)]
    assert losses[0] == losses[1]
    for ours, theirs in zip(weights_of(mixed), weights_of(plain), strict=True):
        assert torch.equal(ours, theirs)


def test_mixup_counts_the_label_that_is_seen_more(part, monkeypatch):
    """With no weight on the image itself the partner's label is the right one."""
    monkeypatch.setattr(loop, "mixing_weights", lambda steps, **_: torch.zeros(steps))
    trainer = trainer_of((part[0][:20], part[1][:20]), model="lenet5", augment="mixup")
    trainer.model.classifier[-1].weight.data.mul_(100)  # or it would call all images the same
    batch = batch_order(20, seed=0, epoch=1)
    partners = torch.tensor([batch[i - 1] for i in range(20)])
    with torch.no_grad():
        predicted = trainer.model(part[0][partners]).argmax(1)
    expected = int((predicted == part[1][partners]).sum())
    assert finish(trainer.train_epoch(1)).correct == expected


def test_mixing_weights_have_the_spread_of_their_distribution():
    weights = augment.mixing_weights(20_000, seed=0, epoch=1).numpy()
    alpha = augment.MIXUP_ALPHA
    assert weights.mean() == pytest.approx(0.5, abs=0.02)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


# --- optimisers, schedules, averages


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_cycle_is_pytorchs(part, epochs):
    """The whole step: PyTorch's optimiser and scheduler in a plain loop give the same weights."""
    settings = {"schedule": "onecycle", "epochs": epochs, "learning_rate": 0.02}
    trainer = trainer_of(part, model="lenet5", **settings)
    model = copy.deepcopy(trainer.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.02, epochs=epochs, steps_per_epoch=3, cycle_momentum=False
    )
    for epoch in range(1, epochs + 1):
        for batch in batch_order(NUMBER, seed=0, epoch=epoch).split(20):
            F.cross_entropy(model(part[0][batch]), part[1][batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
            if not (epoch == epochs and len(batch) == 10):
                schedule.step()
        finish(trainer.train_epoch(epoch))
    assert_near(trainer.model, model)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD),
        ({"optimizer": "sgd", "weight_decay": 0.1}, torch.optim.SGD),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW),
        ({"optimizer": "adamw"}, torch.optim.AdamW),
    ],
)
def test_optimisers_are_pytorchs(part, settings, kind):
    trainer = trainer_of(part, model="lenet5", learning_rate=0.01, **settings)
    model = copy.deepcopy(trainer.model)
    theirs = {"weight_decay": 0.0, **settings}
    del theirs["optimizer"]
    optimizer = kind(model.parameters(), lr=0.01, **theirs)
    for batch in batch_order(NUMBER, seed=0, epoch=1).split(20):
        optimizer.zero_grad()
        F.cross_entropy(model(part[0][batch]), part[1][batch]).backward()
        optimizer.step()
    finish(trainer.train_epoch(1))
    assert_near(trainer.model, model)


def test_averages_are_those_of_swa_utils_batch_norm_included(part):
    trainer = trainer_of(part, average=0.8)
    reference = AveragedModel(
        trainer.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True
    )
    for epoch in (1, 2):
        for _ in trainer.train_epoch(epoch):  # twice, and then the last, short batch
            reference.update_parameters(trainer.model)
        reference.update_parameters(trainer.model)
    expected = reference.module.state_dict()
    for name, value in trainer.evaluated.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    own = trainer.model.state_dict()
    changed = [n for n, v in trainer.evaluated.state_dict().items() if not torch.equal(v, own[n])]
    assert any("running_mean" in name for name in changed)


def test_the_average_is_what_is_evaluated_and_kept(small_data):
    config = make_config(model="baseline_cnn", average=0.9, max_epochs=1, **SHORT)
    plain = config.model_copy(update={"average": 0.0})
    averaged, usual = (run_experiment(c, data=small_data) for c in (config, plain))
    rows = averaged.record.history[0], usual.record.history[0]
    assert rows[0].train_loss == rows[1].train_loss  # training itself is the same
    assert rows[0].test_loss != rows[1].test_loss
    model = build_model("baseline_cnn").eval()
    weights = averaged.weights["test_loss-p5"]
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    with torch.no_grad():
        predicted = model(small_data.test_images).argmax(1)
    right = (predicted == small_data.test_labels).double().mean().item()
    assert averaged.record.stops["test_loss-p5"].test_accuracy == pytest.approx(100 * right)


def test_label_smoothing_is_that_of_mixed_targets(part):
    trainer = trainer_of((part[0][:20], part[1][:20]), model="lenet5", label_smoothing=0.2)
    with torch.no_grad():
        logits = trainer.model(part[0][:20])
    targets = 0.8 * F.one_hot(part[1][:20], 10) + 0.2 / 10
    expected = -(targets * logits.log_softmax(1)).sum(1).mean().item()
    assert finish(trainer.train_epoch(1)).mean_loss == pytest.approx(expected, rel=1e-5)


def test_bf16_trains_near_fp32_and_keeps_its_weights_single(small_data):
    single, low = (
        run_experiment(
            make_config(model="lenet5", precision=precision, max_epochs=2, **SHORT), data=small_data
        )
        for precision in ("fp32", "bf16")
    )
    losses = [output.record.history[-1].train_loss for output in (single, low)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
    kinds = {array.dtype for array in low.weights["test_loss-p5"].values()}
    assert kinds == {np.dtype("float32")}


# --- whole runs


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": "mixup"},
        {"augment": "flip+shift"},
        {"optimizer": "sgd", "momentum": 0.9},
        {"average": 0.9, "label_smoothing": 0.1},
        RECIPE,
        {"protocol": "fold", "fold": 1, "validation_images": 32, "stops": ON_VALIDATION},
        {"protocol": "split", "validation_images": 56, "batch_size": 30},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_a_run_that_goes_on_ends_like_one_never_stopped(
    small_data, tmp_path, monkeypatch, settings
):
    monkeypatch.setattr("fmnist_lib.training.checkpoint.EVERY_SECONDS", 0)
    config = make_config(model="baseline_cnn", **{"max_epochs": 3} | SHORT | settings)
    whole = run_experiment(config, data=small_data).record

    def stop(row):
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, data=small_data, checkpoints=tmp_path, on_epoch=stop)
    rows = []
    given = {"data": small_data, "checkpoints": tmp_path, "on_epoch": rows.append}
    assert run_experiment(config, **given).record.result_digest == whole.result_digest
    assert [row["epoch"] for row in rows] == [2, 3]
