"""Augmentation, optimisers, schedules and averages: each against a second, plainer way."""

import copy

import pytest
import torch
import torch.nn.functional as F
from made_up import SMALL
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmnist_lib.data import augment
from fmnist_lib.data.fashion_mnist import BLACK
from fmnist_lib.data.splits import batch_order, derive_seed
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.training import loop
from fmnist_lib.training.loop import Parts, Trainer, carry_out, place_model

NUMBER = 50  # images: two batches of 20 and one of 10


@pytest.fixture
def part(small_data):
    return small_data.train_images[:NUMBER], small_data.train_labels[:NUMBER]


def trainer_of(part, *, model="baseline_cnn", **settings):
    config = make_config(model=model, batch_size=20, model_options={}, **settings)
    torch.manual_seed(config.seed)
    built = place_model(build_model(config.model), config)
    return Trainer(built, Parts(part, {"test": part}), config)


def weights_of(trainer):
    return torch.cat([value.flatten() for value in trainer.evaluated.state_dict().values()])


def assert_near(ours, theirs):
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def by_hand(image, *, mirrored, down, right):
    """One image (28, 28) mirrored, then moved over black: pixel by pixel."""
    if mirrored:
        image = [row[::-1] for row in image]
    seen = range(28)
    return [
        [image[y - down][x - right] if {y - down, x - right} <= {*seen} else BLACK for x in seen]
        for y in seen
    ]


@pytest.mark.parametrize("kind", ["flip", "shift", "flip+shift"])
def test_augmented_images_pixel_by_pixel(small_data, kind):
    images = small_data.train_images[:40]
    found = augment.augment_epoch(images, kind, seed=5, epoch=2)
    generator = torch.Generator().manual_seed(derive_seed(5, 2, "augmentation"))
    mirrored, cuts = [False] * 40, [[2, 2]] * 40
    if "flip" in kind:
        mirrored = (torch.rand(40, generator=generator) < 0.5).tolist()
        assert 0 < sum(mirrored) < 40
    if "shift" in kind:
        cuts = torch.randint(0, 5, (40, 2), generator=generator).tolist()
        assert len({tuple(cut) for cut in cuts}) > 10
    for i, image in enumerate(images[:, 0].tolist()):
        down, right = 2 - cuts[i][0], 2 - cuts[i][1]
        expected = by_hand(image, mirrored=mirrored[i], down=down, right=right)
        torch.testing.assert_close(found[i, 0], torch.tensor(expected))
    for seed, epoch in ((5, 3), (6, 2)):
        assert not torch.equal(found, augment.augment_epoch(images, kind, seed=seed, epoch=epoch))


def test_mixup_mixes_images_and_losses_and_counts_the_label_that_is_seen_more(part):
    """Against one-hot targets mixed by the same weights, in a loop written out."""
    trainer = trainer_of(part, model="lenet5", augment="mixup", optimizer="sgd")
    trainer.model.classifier[-1].weight.data.mul_(30)  # or it would call all images the same
    model = copy.deepcopy(trainer.model)
    weights, losses, right = augment.mixing_weights(3, seed=0, epoch=1).tolist(), [], 0
    assert weights == pytest.approx([0.9711869, 0.6247163, 0.0827102])  # of Beta(0.2, 0.2)
    batches = batch_order(NUMBER, seed=0, epoch=1).split(20)
    for batch, weight in zip(batches, weights, strict=True):
        images, targets = part[0][batch], F.one_hot(part[1][batch], 10).float()
        partners = [i - 1 for i in range(len(batch))]
        mixed = weight * images + (1 - weight) * images[partners]
        mixed_targets = weight * targets + (1 - weight) * targets[partners]
        logits = model(mixed)
        loss = F.cross_entropy(logits, mixed_targets)
        losses.append(loss.item() * len(batch))
        right += int((logits.argmax(1) == mixed_targets.argmax(1)).sum())
        loss.backward()
        with torch.no_grad():
            for value in model.parameters():
                value -= trainer.config.learning_rate * value.grad
                value.grad = None
    sums = carry_out(trainer.train_epoch(1))
    assert sums.mean_loss == pytest.approx(sum(losses) / NUMBER, rel=1e-5)
    assert sums.correct == right
    assert_near(trainer.model, model)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"optimizer": "sgd", "momentum": 0.9, "label_smoothing": 0.2}, torch.optim.SGD),
        ({"optimizer": "sgd", "weight_decay": 0.1}, torch.optim.SGD),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW),
        ({"optimizer": "adamw"}, torch.optim.AdamW),
        ({"schedule": "onecycle", "epochs": 1}, torch.optim.Adam),
        ({"schedule": "onecycle", "epochs": 3}, torch.optim.Adam),
    ],
)
def test_optimisers_and_the_schedule_are_pytorchs(part, settings, kind):
    trainer = trainer_of(part, model="lenet5", learning_rate=0.02, **settings)
    model = copy.deepcopy(trainer.model)
    own = {name: settings[name] for name in ("momentum", "weight_decay") if name in settings}
    optimizer = kind(model.parameters(), **{"lr": 0.02, "weight_decay": 0.0} | own)
    steps, schedule = 3 * settings.get("epochs", 1), None
    smoothing = settings.get("label_smoothing", 0.0)
    if "schedule" in settings:
        schedule = OneCycleLR(optimizer, max_lr=0.02, total_steps=steps, cycle_momentum=False)
    for epoch in range(1, steps // 3 + 1):
        for batch in batch_order(NUMBER, seed=0, epoch=epoch).split(20):
            optimizer.zero_grad()
            targets = (1 - smoothing) * F.one_hot(part[1][batch], 10) + smoothing / 10
            F.cross_entropy(model(part[0][batch]), targets).backward()
            optimizer.step()
            if schedule and schedule.last_epoch < steps - 1:
                schedule.step()
        carry_out(trainer.train_epoch(epoch))
    assert_near(trainer.model, model)


def test_steps_in_groups_are_single_steps(part, monkeypatch):
    """To the bit, where each has a weight, a rate and an average of its own."""
    found = []
    for size in (1, 2):
        monkeypatch.setattr(loop, "STEPS_A_GROUP", size)
        trainer = trainer_of(part, augment="mixup", schedule="onecycle", epochs=2, average=0.9)
        losses = [carry_out(trainer.train_epoch(epoch)).loss for epoch in (1, 2)]
        found.append((losses, weights_of(trainer), trainer.sums.clone()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(*pair) for pair in zip(found[0][1:], found[1][1:], strict=True))


def test_averages_are_those_of_swa_utils_batch_norm_included(part):
    trainer = trainer_of(part, average=0.8)
    reference = AveragedModel(
        trainer.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True
    )
    for epoch in (1, 2):
        for _ in trainer.train_epoch(epoch):  # three steps, too few for a group
            reference.update_parameters(trainer.model)
    expected = reference.module.state_dict()
    for name, value in trainer.evaluated.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
    own = trainer.model.state_dict()
    changed = [n for n, v in trainer.evaluated.state_dict().items() if not torch.equal(v, own[n])]
    assert any("running_mean" in name for name in changed)


def test_the_average_is_what_is_evaluated_and_kept(small_data):
    config = make_config(model="baseline_cnn", average=0.9, max_epochs=1, **SMALL)
    plain = config.model_copy(update={"average": 0.0})
    averaged, usual = (run_experiment(c, data=small_data) for c in (config, plain))
    rows = averaged.record.history[0], usual.record.history[0]
    assert rows[0].train_loss == rows[1].train_loss  # training itself is the same
    assert rows[0].test_loss != rows[1].test_loss
    model, weights = build_model("baseline_cnn").eval(), averaged.weights["test_loss-p5"]
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    right = model(small_data.test_images).argmax(1) == small_data.test_labels
    assert rows[0].test_accuracy == pytest.approx(100 * right.double().mean().item())


def test_bf16_trains_near_fp32_and_keeps_its_weights_single(small_data):
    settings = {"model": "lenet5", "max_epochs": 2, **SMALL}
    single, low = (
        run_experiment(make_config(precision=precision, **settings), data=small_data)
        for precision in ("fp32", "bf16")
    )
    losses = [output.record.history[-1].train_loss for output in (single, low)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {str(array.dtype) for array in low.weights["test_loss-p5"].values()} == {"float32"}
