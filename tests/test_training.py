"""The loop: when it stops, what it keeps, what it counts, and what it never looks at."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.data.splits import batch_order
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.training import loop
from fmnist_lib.training.loop import NonFiniteLossError, OutOfTimeError, Parts, Trainer, carry_out
from fmnist_lib.training.metrics import Sums


def seeded(config):
    torch.manual_seed(config.seed)
    return loop.place_model(build_model(config.model, **config.model_options), config)


def trained(config, data, *, model=None, **given):
    """Train to the end; return history and rules."""
    trainer = Trainer(model or seeded(config), loop.split_parts(data, config), config)
    return carry_out(loop.train(trainer, **given))


def on(part, config):
    """A trainer on these images alone."""
    return Trainer(seeded(config), Parts(part, {"test": part}), config)


@pytest.fixture(scope="module")
def noise() -> Dataset:
    """Made-up images with labels that cannot be learnt: 60 to train on, 30 to test on."""
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 1, 28, 28, generator=generator) for n in (60, 30))
    return Dataset(train, torch.arange(60) % 10, test, torch.arange(30) % 10)


class Scripted(Trainer):
    """Trains nothing but a bias, to the number of the epoch; its losses are made up."""

    def __init__(self, losses, config):
        part = torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)
        super().__init__(nn.Linear(1, 1), Parts(part, {"test": part}), config)
        self.losses = losses

    def train_epoch(self, epoch):
        yield
        self.model.bias.data.fill_(epoch)
        return Sums(1.0, 1, 1)

    def evaluate(self, split):
        yield
        return Sums(self.losses[int(self.model.bias) - 1], 1, 1)


def stopped(losses, patience):
    """Best and last epoch and whether the rule fired, straight from the definition."""
    for last in range(1, len(losses) + 1):
        seen = losses[:last]
        best = seen.index(min(seen)) + 1  # the first of equals
        if last - best == patience:
            return best, last, True
    return best, last, False


@given(
    losses=st.lists(st.integers(0, 4), min_size=1, max_size=20),
    patiences=st.sets(st.integers(1, 6), min_size=1, max_size=3).map(list),
)
@example(losses=[1, math.nextafter(1, 0), 1, 1], patiences=[2])  # however small an improvement
@example(losses=[1, 2, 2], patiences=[2])  # fires at the limit
@settings(deadline=None)
def test_trains_until_the_last_rule_fires_and_keeps_each_ones_best(losses, patiences):
    stops = [Stop(patience=patience) for patience in patiences]
    config = make_config(model="lenet5", stops=stops, max_epochs=len(losses))
    history, rules = carry_out(loop.train(Scripted(losses, config)))
    expected = [stopped(losses, patience) for patience in patiences]
    assert [(rule.best_epoch, rule.last_epoch, rule.fired) for rule in rules] == expected
    assert [rule.weights["bias"].item() for rule in rules] == [best for best, *_ in expected]
    assert [row["epoch"] for row in history] == list(range(1, max(n for _, n, _ in expected) + 1))


def lenet_by_hand(weights, x):
    """Logits of images in the weights' precision."""
    convolutions, dense = weights[:4], weights[4:]
    for weight, bias, padding in ((*convolutions[:2], 2), (*convolutions[2:], 0)):
        x = F.avg_pool2d(F.conv2d(x, weight, bias, padding=padding).tanh(), 2)
    x = x.flatten(1)
    for weight, bias in zip(dense[::2], dense[1::2], strict=True):
        x = x @ weight.T + bias
        x = x.tanh() if len(weight) > 10 else x
    return x


def test_epochs_equal_a_plain_loop_in_double_precision(small_data):
    config = make_config(model="lenet5", seed=3, batch_size=24)  # 100 images: a last batch of 4
    images, labels = small_data.train_images[:100], small_data.train_labels[:100]
    trainer = on((images, labels), config)
    weights = [value.detach().double().requires_grad_() for value in trainer.model.parameters()]
    adam = torch.optim.Adam(weights, lr=1e-3)
    for epoch in (1, 2, 3):
        total = hits = 0
        for batch in batch_order(100, seed=3, epoch=epoch).split(24):
            logits = lenet_by_hand(weights, images[batch].double())
            loss = F.cross_entropy(logits, labels[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(batch)
            hits += (logits.argmax(1) == labels[batch]).sum().item()
        sums = carry_out(trainer.train_epoch(epoch))
        assert (sums.correct, sums.seen) == (hits, 100)
        assert sums.loss == pytest.approx(total, rel=1e-5)
    for ours, theirs in zip(trainer.model.parameters(), weights, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-5)


def test_evaluation_counts_every_image_once_in_eval_mode(small_data):
    model = seeded(make_config(model="baseline_cnn"))  # dropout and batch norm
    part = small_data.test_images[:130], small_data.test_labels[:130]  # not a whole batch
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    sums, logits = loop.evaluate(model, part), loop.predict(model, part)
    with torch.no_grad():
        one_by_one = torch.cat([model.eval()(image[None]) for image in part[0]])
    assert sums.seen == 130
    expected = F.cross_entropy(one_by_one.double(), part[1])
    assert sums.mean_loss == pytest.approx(expected.item(), rel=1e-5)
    assert sums.correct == (one_by_one.argmax(1) == part[1]).sum().item()
    torch.testing.assert_close(logits, one_by_one, rtol=1e-4, atol=1e-5)
    for name, value in model.state_dict().items():  # batch norm's statistics too
        assert torch.equal(value, weights[name]), name


def metrics(history):
    times = ("train_seconds", "inference_ms")
    assert all(row[name] > 0 for row in history for name in times)
    return [{n: v for n, v in row.items() if n not in times} for row in history]


def test_a_run_out_of_time_stops_after_an_epoch_and_keeps_where_it_stands(noise):
    config = make_config(model="lenet5", batch_size=20, max_epochs=4)
    states = []
    with pytest.raises(OutOfTimeError, match="after epoch 1"):
        trained(config, noise, deadline=0.0, on_state=lambda *state: states.append(state))
    ((state, must_be_written),) = states
    assert must_be_written
    history, _ = trained(config, noise, state=state)
    assert metrics(history) == metrics(trained(config, noise)[0])
    trainer = on((noise.train_images, noise.train_labels), config)
    with pytest.raises(OutOfTimeError):  # even in the midst of an epoch
        carry_out(trainer.train_epoch(1), 0.0)


class Broken(nn.Module):
    """A linear classifier that gives no numbers from a training step on, or in evaluation (0)."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.linear, self.steps_left, self.at = nn.Linear(28 * 28, 10), step, step

    def forward(self, images):
        self.steps_left -= self.training
        broken = self.steps_left <= 0 if self.at else not self.training
        return self.linear(images.flatten(1)) * (float("nan") if broken else 1)


@pytest.mark.parametrize(
    ("step", "epochs", "named"),
    [
        (1, 0, "training loss .* epoch 1, step 1 of 3"),
        (5, 1, "training loss .* epoch 2, step 2 of 3"),
        (0, 0, "test loss .* after epoch 1"),
    ],
)
def test_a_loss_that_is_not_finite_names_model_and_place(noise, step, epochs, named):
    config = make_config(model="lenet5", batch_size=20, seed=4)  # three steps an epoch
    rows = []
    with pytest.raises(NonFiniteLossError, match=rf"^lenet5: the {named} .*seed 4.* 0.001"):
        trained(config, noise, model=Broken(step), on_epoch=rows.append)
    assert len(rows) == epochs


def split_config(**settings):
    split = {"protocol": "split", "train_images": 60, "validation_images": 20, "batch_size": 20}
    stops = [Stop(monitor="validation_loss", patience=2)]
    return make_config(model="lenet5", learning_rate=0.01, stops=stops, **split | settings)


def test_parts_are_disjoint_keep_their_labels_and_depend_on_protocol_and_seed(noise):
    paper = loop.split_parts(noise, make_config(model="lenet5"))
    assert torch.equal(paper.train[0], noise.train_images)
    assert list(paper.held) == ["test"]
    parts = loop.split_parts(noise, split_config())
    pairs = [
        (image.sum().item(), label.item())
        for part in (parts.train, parts.held["validation"])
        for image, label in zip(*part, strict=True)
    ]
    known = [image.sum().item() for image in noise.train_images]
    assert sorted(pairs) == sorted(zip(known, noise.train_labels.tolist(), strict=True))
    assert [len(part[1]) for part in (parts.train, parts.held["validation"])] == [40, 20]
    assert torch.equal(parts.held["test"][0], noise.test_images)
    others = loop.split_parts(noise, split_config(seed=1)).held["validation"][0]
    assert not torch.equal(others, parts.held["validation"][0])


def test_a_rule_on_the_validation_loss_decides_and_never_reads_the_test_images(noise):
    """Another test set, with labels that say the opposite: the same training, the same stop."""
    config = split_config(max_epochs=30)
    opposite = {"test_images": -noise.test_images[:7], "test_labels": 9 - noise.test_labels[:7]}
    (history, (rule,)), (other_history, (other_rule,)) = (
        trained(config, data) for data in (noise, replace(noise, **opposite))
    )
    losses = [row["validation_loss"] for row in history]
    assert rule.fired
    assert rule.best_epoch == other_rule.best_epoch == losses.index(min(losses)) + 1
    for name, value in rule.weights.items():
        assert torch.equal(value, other_rule.weights[name])
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        assert [row[name] for row in history] == [row[name] for row in other_history]
    assert [row["test_loss"] for row in history] != [row["test_loss"] for row in other_history]
