"""The loop: when it stops, what it keeps, what it counts, and what it never looks at."""

import math
import os
import platform
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.data.splits import batch_order, derive_seed
from fmnist_lib.models import build_model
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.training.loop import (
    NonFiniteLossError,
    OutOfTimeError,
    Parts,
    Trainer,
    evaluate,
    finish,
    on_time,
    one_thread,
    place_model,
    predict,
    split_parts,
    train,
)
from fmnist_lib.training.metrics import Sums
from fmnist_lib.training.stopping import EarlyStopping


def seeded(config):
    torch.manual_seed(config.seed)
    return place_model(build_model(config.model, **config.model_options), config)


def trained(config, data, *, model=None, **given):
    """Train to the end; return history and rules."""
    trainer = Trainer(model or seeded(config), split_parts(data, config), config)
    return finish(train(trainer, **given))


def on(part, config, model=None):
    """A trainer on these images alone."""
    return Trainer(model or seeded(config), Parts(part, {"test": part}), config)


@pytest.fixture(scope="module")
def noise() -> Dataset:
    """Made-up images with labels that cannot be learnt: 60 to train on, 30 to test on."""
    generator = torch.Generator().manual_seed(0)
    return Dataset(
        train_images=torch.randn(60, 1, 28, 28, generator=generator),
        train_labels=torch.arange(60) % 10,
        test_images=torch.randn(30, 1, 28, 28, generator=generator),
        test_labels=torch.arange(30) % 10,
        mean=0.0,
        std=1.0,
    )


# --- early stopping ----------------------------------------------------------------------------


class OneWeight(nn.Module):
    """A model whose only weight is the number of the epoch it was last trained in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Scripted(Trainer):
    """Trains nothing; its losses are made up."""

    def __init__(self, losses, config):
        part = torch.zeros(1, 1, 28, 28), torch.zeros(1, dtype=torch.int64)
        super().__init__(OneWeight(), Parts(part, {"test": part}), config)
        self.losses = iter(losses)

    def train_epoch(self, epoch):
        yield
        self.model.weight.data.fill_(epoch)
        return Sums(1.0, 1, 1)

    def evaluate(self, split):
        yield
        return Sums(next(self.losses), 1, 1)


def scripted(losses, *, patiences, **settings):
    """Run the real loop with made-up losses; return history and rules."""
    stops = [Stop(patience=patience) for patience in patiences]
    return finish(train(Scripted(losses, make_config(model="lenet5", stops=stops, **settings))))


@pytest.mark.parametrize(
    ("losses", "patience", "best_epoch", "epochs"),
    [
        ([3, 2, 1, 4, 5], 2, 3, 5),
        ([1, 2], 1, 1, 2),
        ([1, 1, 1], 2, 1, 3),  # a tie is not an improvement
        ([2, 2, 1, 1, 2], 2, 3, 5),  # and does not restart the count either
        ([3, 4, 2, 4, 4, 4], 3, 3, 6),  # an improvement does
        ([1, math.nextafter(1, 0), 1, 1], 2, 2, 4),  # however small
    ],
)
def test_stops_at_the_kth_epoch_in_a_row_without_improvement(losses, patience, best_epoch, epochs):
    history, (rule,) = scripted([*losses, 0.5], patiences=[patience])
    assert [row["epoch"] for row in history] == list(range(1, epochs + 1))
    assert (rule.best_epoch, rule.last_epoch, rule.fired) == (best_epoch, epochs, True)
    assert rule.last_epoch - rule.best_epoch == patience
    assert rule.weights["weight"].item() == best_epoch


@pytest.mark.parametrize(("losses", "best_epoch"), [([3, 2, 1], 3), ([1, 2, 3], 1)])
def test_the_epoch_limit_is_not_a_firing(losses, best_epoch):
    history, (rule,) = scripted(losses, patiences=[3], max_epochs=3)
    assert len(history) == 3
    assert (rule.best_epoch, rule.last_epoch, rule.fired) == (best_epoch, 3, False)
    assert rule.weights["weight"].item() == best_epoch


def test_a_rule_that_fires_at_the_limit_has_fired():
    _, (rule,) = scripted([1, 2, 2], patiences=[2], max_epochs=3)
    assert rule.fired


def test_trains_until_the_last_rule_fires_and_freezes_the_earlier_ones():
    losses = [5, 4, 6, 3, 6, 6, 6]
    history, (long, short) = scripted(losses, patiences=[3, 1])
    assert len(history) == 7
    assert (short.best_epoch, short.last_epoch, short.weights["weight"].item()) == (2, 3, 2)
    assert (long.best_epoch, long.last_epoch, long.weights["weight"].item()) == (4, 7, 4)


def stopped(losses, patience):
    """Best and last epoch and whether the rule fired, straight from the definition."""
    for last in range(1, len(losses) + 1):
        seen = losses[:last]
        best = seen.index(min(seen)) + 1  # the first of equals
        if last - best == patience:
            return best, last, True
    return best, last, False


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 6))
def test_early_stopping_by_definition(losses, patience):
    rule = EarlyStopping(Stop(patience=patience))
    for epoch, loss in enumerate(losses, start=1):
        rule.update({"epoch": epoch, "test_loss": loss}, nn.Linear(1, 1))
    assert (rule.best_epoch, rule.last_epoch, rule.fired) == stopped(losses, patience)


# --- what an epoch counts ----------------------------------------------------------------------


def plain_adam_epoch(weights, moments, images, labels, order, batch_size, learning_rate):
    """One epoch of LeNet-5 in double precision, written out; returns loss and hits a batch.

    `weights` are changed in place; `moments` holds Adam's averages and the number of its steps.
    """
    results = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        w = leaves.__getitem__
        x = images[batch]
        x = F.conv2d(x, w("stage1.0.weight"), w("stage1.0.bias"), padding=2).tanh()
        x = F.avg_pool2d(x, 2)
        x = F.conv2d(x, w("stage2.0.weight"), w("stage2.0.bias")).tanh()
        x = F.avg_pool2d(x, 2).flatten(1)
        x = (x @ w("classifier.1.weight").T + w("classifier.1.bias")).tanh()
        x = (x @ w("classifier.3.weight").T + w("classifier.3.bias")).tanh()
        x = x @ w("classifier.5.weight").T + w("classifier.5.bias")
        chosen = x[torch.arange(len(batch)), labels[batch]]
        losses = x.exp().sum(1).log() - chosen
        results.append((losses.sum().item(), int((x.argmax(1) == labels[batch]).sum())))
        gradients = torch.autograd.grad(losses.mean(), list(leaves.values()))
        moments["steps"] += 1
        for name, gradient in zip(leaves, gradients, strict=True):
            first, second = moments.setdefault(name, [0.0, 0.0])
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            moments[name] = [first, second]
            first = first / (1 - 0.9 ** moments["steps"])
            second = second / (1 - 0.999 ** moments["steps"])
            weights[name] -= learning_rate * first / (second.sqrt() + 1e-8)
    return results


def test_epochs_equal_a_plain_second_implementation(small_data):
    config = make_config(model="lenet5", seed=3, batch_size=24)  # 100 images: a last batch of 4
    images, labels = small_data.train_images[:100], small_data.train_labels[:100]
    trainer = on((images, labels), config)
    model = trainer.model
    weights = {name: value.double().clone() for name, value in model.state_dict().items()}
    moments = {"steps": 0}
    for epoch in (1, 2, 3):
        order = batch_order(100, seed=3, epoch=epoch)
        results = plain_adam_epoch(weights, moments, images.double(), labels, order, 24, 1e-3)
        expected_loss = sum(loss for loss, _ in results) / 100
        expected_accuracy = sum(hits for _, hits in results)  # of 100 images: percent
        sums = finish(trainer.train_epoch(epoch))
        assert sums.seen == 100
        assert sums.mean_loss == pytest.approx(expected_loss, rel=1e-5)
        assert sums.accuracy == pytest.approx(expected_accuracy)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.double(), weights[name], rtol=1e-3, atol=1e-5)


def test_training_values_are_running_ones(small_data):
    """Counted while the weights change: the first batch by the model as it was drawn."""
    config = make_config(model="lenet5", batch_size=100)
    part = small_data.train_images[:100], small_data.train_labels[:100]  # a single step
    before = evaluate(seeded(config), part)
    trainer = on(part, config)
    running = finish(trainer.train_epoch(1))
    assert running.mean_loss == pytest.approx(before.mean_loss, rel=1e-5)
    assert running.correct == before.correct
    assert evaluate(trainer.model, part).mean_loss < before.mean_loss


def test_evaluation_counts_every_image_once_in_eval_mode(small_data):
    model = seeded(make_config(model="baseline_cnn"))  # dropout and batch norm
    part = small_data.test_images[:130], small_data.test_labels[:130]  # not a whole batch
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    sums = evaluate(model, part)
    assert not model.training
    with torch.no_grad():
        one_by_one = torch.cat([model(image[None]) for image in part[0]])
    expected = F.cross_entropy(one_by_one.double(), part[1])
    assert sums.seen == 130
    assert sums.mean_loss == pytest.approx(expected.item(), rel=1e-5)
    assert sums.correct == (one_by_one.argmax(1) == part[1]).sum().item()
    torch.testing.assert_close(predict(model, part), one_by_one, rtol=1e-4, atol=1e-5)
    for name, value in model.state_dict().items():  # batch norm's statistics too
        assert torch.equal(value, weights[name]), name


def test_an_epochs_randomness_depends_on_seed_and_epoch_alone(noise):
    config = make_config(model="baseline_cnn", batch_size=20, model_options={"dropout": 0.5})
    losses = []
    for disturbance in (0, 1):
        model = seeded(config)
        torch.manual_seed(disturbance)
        torch.rand(disturbance)
        trainer = on((noise.train_images, noise.train_labels), config, model)
        losses.append(finish(trainer.train_epoch(2)).loss)
    assert losses[0] == losses[1]


def test_dropout_and_batch_order_draw_from_different_streams():
    assert derive_seed(0, 1, "dropout") != derive_seed(0, 1, "batch order")


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- time that is over --------------------------------------------------------------------------


def test_a_run_out_of_time_stops_after_an_epoch_and_keeps_where_it_stands(noise):
    config = make_config(model="lenet5", batch_size=20, max_epochs=50)
    states = []
    with pytest.raises(OutOfTimeError, match="after epoch 1"):
        trained(config, noise, deadline=0.0, on_state=lambda *state: states.append(state))
    (state, now) = states[0]
    assert now
    history, _ = trained(config, noise, state=state)
    whole, _ = trained(config, noise)
    assert metrics(history) == metrics(whole)


def test_even_in_the_midst_of_an_epoch(noise):
    trainer = on((noise.train_images, noise.train_labels), make_config(model="lenet5"))
    with pytest.raises(OutOfTimeError):
        finish(on_time(trainer.train_epoch(1), 0.0))


def metrics(history):
    return [
        {n: v for n, v in row.items() if n not in ("train_seconds", "inference_ms")}
        for row in history
    ]


# --- losses that are not finite ----------------------------------------------------------------


class BrokenAtStep(nn.Module):
    """A linear classifier whose output is not a number from its n-th training step on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.linear = nn.Linear(28 * 28, 10)
        self.steps_left = step

    def forward(self, images):
        self.steps_left -= self.training
        return self.linear(images.flatten(1)) * (float("nan") if self.steps_left <= 0 else 1)


@pytest.mark.parametrize(("step", "epoch", "in_epoch"), [(1, 1, 1), (3, 1, 3), (5, 2, 2)])
def test_a_loss_that_is_not_finite_names_model_epoch_and_step(noise, step, epoch, in_epoch):
    config = make_config(model="lenet5", batch_size=20, seed=4)  # three steps an epoch
    rows = []
    message = f"^lenet5: the training loss is not finite in epoch {epoch}, step {in_epoch} of 3"
    with pytest.raises(NonFiniteLossError, match=message):
        trained(config, noise, model=BrokenAtStep(step), on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == list(range(1, epoch))


def test_a_learning_rate_beyond_reason_is_named(noise):
    config = make_config(model="lenet5", batch_size=20, learning_rate=1e38)
    with pytest.raises(NonFiniteLossError, match=r"^lenet5: .* learning rate 1e\+38"):
        trained(config, noise)


class BrokenInEvaluation(BrokenAtStep):
    """Trains well and evaluates badly, as batch norm with broken statistics does."""

    def forward(self, images):
        return self.linear(images.flatten(1)) * (1 if self.training else float("inf"))


@pytest.mark.parametrize("protocol", ["paper", "split"])
def test_a_test_loss_that_is_not_finite_stops_the_run_too(noise, protocol):
    held = {"validation_images": 10} if protocol == "split" else {}
    config = make_config(model="lenet5", protocol=protocol, train_images=60, batch_size=20, **held)
    with pytest.raises(NonFiniteLossError, match=r"lenet5: the test loss .* after epoch 1 "):
        trained(config, noise, model=BrokenInEvaluation(1))


# --- the split protocol ------------------------------------------------------------------------


def split_config(**settings):
    return make_config(
        **{"model": "lenet5", "protocol": "split", "train_images": 60, "validation_images": 20}
        | {"batch_size": 20, "learning_rate": 0.01}
        | settings
    )


def rows_of(images):
    return {tuple(image.flatten().tolist()) for image in images}


def test_the_papers_protocol_trains_on_everything_and_holds_nothing_out(noise):
    parts = split_parts(noise, make_config(model="lenet5"))
    assert torch.equal(parts.train[0], noise.train_images)
    assert torch.equal(parts.test[0], noise.test_images)
    assert list(parts.held) == ["test"]


def test_the_validation_part_is_disjoint_and_stratified(noise):
    parts = split_parts(noise, split_config())
    train_part, held_out = rows_of(parts.train[0]), rows_of(parts.held["validation"][0])
    assert len(train_part) == 40
    assert len(held_out) == 20
    assert not train_part & held_out
    assert train_part | held_out == rows_of(noise.train_images)
    assert parts.train[1].bincount().tolist() == [4] * 10
    assert parts.held["validation"][1].bincount().tolist() == [2] * 10
    assert torch.equal(parts.test[0], noise.test_images)


def test_images_keep_their_labels_in_the_split(noise):
    label_of = {
        tuple(image.flatten().tolist()): label.item()
        for image, label in zip(noise.train_images, noise.train_labels, strict=True)
    }
    parts = split_parts(noise, split_config())
    for images, labels in (parts.train, parts.held["validation"]):
        assert [label_of[tuple(i.flatten().tolist())] for i in images] == labels.tolist()


def test_the_split_depends_on_the_seed(noise):
    held_out = [
        rows_of(split_parts(noise, split_config(seed=s)).held["validation"][0]) for s in (0, 1)
    ]
    assert held_out[0] != held_out[1]


def test_a_rule_on_the_validation_loss_never_reads_the_test_images(noise):
    """Another test set, with labels that say the opposite: the same training, the same stop."""
    config = split_config(stops=[Stop(monitor="validation_loss", patience=2)], max_epochs=30)
    poisoned = Dataset(
        noise.train_images,
        noise.train_labels,
        -noise.test_images[:7],
        9 - noise.test_labels[:7],
        noise.mean,
        noise.std,
    )
    runs = [trained(config, data) for data in (noise, poisoned)]
    (history, (rule,)), (other_history, (other_rule,)) = runs
    assert rule.fired
    assert (rule.best_epoch, rule.last_epoch) == (other_rule.best_epoch, other_rule.last_epoch)
    for name, value in rule.weights.items():
        assert torch.equal(value, other_rule.weights[name])
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        assert [row[name] for row in history] == [row[name] for row in other_history]
    assert [row["test_loss"] for row in history] != [row["test_loss"] for row in other_history]


def test_the_validation_loss_decides_and_test_metrics_are_logged_every_epoch(noise):
    config = split_config(stops=[Stop(monitor="validation_loss", patience=2)], max_epochs=30)
    history, (rule,) = trained(config, noise)
    losses = [row["validation_loss"] for row in history]
    assert rule.best_epoch == losses.index(min(losses)) + 1
    assert all(math.isfinite(row["test_loss"]) for row in history)
    assert all(0 <= row["test_accuracy"] <= 100 for row in history)
    assert all(row["train_seconds"] > 0 and row["inference_ms"] > 0 for row in history)


def test_the_papers_protocol_has_no_validation_metrics(noise):
    config = make_config(model="lenet5", max_epochs=1)
    seen = []
    history, _ = trained(config, noise, on_epoch=seen.append)
    assert seen == history
    assert history[0]["validation_loss"] is None
    assert history[0]["validation_accuracy"] is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_memory_stays_with_the_process():
    script = """
import resource
from fmnist_lib.training.loop import keep_freed_memory
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
keep_freed_memory()
faults()  # the first block is new
print(given_back, faults())
"""
    # Set, this keeps the C library from adapting by itself, as in Dask's workers.
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 20 * 500  # 1024 pages a block, some of them huge
    assert kept < 100
