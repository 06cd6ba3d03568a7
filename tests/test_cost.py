"""What models cost, against counts made by hand and files really written."""

import pytest
import torch

from fmnist_lib.data.fashion_mnist import Dataset
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.models.describe import count_parameters
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.cost import (
    BLOCK_IMAGES,
    SCALED_TO,
    cost_name,
    count_macs,
    measure_costs,
)
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore

A, B, C = 28 * 28, 14 * 14, 7 * 7  # pixels at full, half and quarter resolution


def conv(pixels, kernel, channels_in, channels_out):
    """One multiplication for each output pixel, kernel weight, channel in and channel out."""
    return pixels * kernel * kernel * channels_in * channels_out


def depthwise(pixels, kernel, channels):
    return pixels * kernel * kernel * channels


def dense(inputs, outputs):
    return inputs * outputs


def encoder_layer(tokens, width, mlp_width):
    attention = tokens * tokens * width  # all heads together: their widths add up to it
    return sum(
        (
            tokens * dense(width, 3 * width),  # queries, keys, values
            attention,  # queries times keys
            attention,  # weights times values
            tokens * dense(width, width),
            tokens * dense(width, mlp_width),
            tokens * dense(mlp_width, width),
        )
    )


BY_HAND = {
    "lenet5": [
        conv(A, 5, 1, 6),
        conv(10 * 10, 5, 6, 16),
        dense(400, 120),
        dense(120, 84),
        dense(84, 10),
    ],
    "resnet_mini": [
        conv(A, 1, 1, 4),
        *[conv(A, 3, 4, 4)] * 4,
        *(conv(B, 3, 4, 8), conv(B, 1, 4, 8), *[conv(B, 3, 8, 8)] * 3),  # second: the shortcut
        *(conv(C, 3, 8, 16), conv(C, 1, 8, 16), *[conv(C, 3, 16, 16)] * 3),
        dense(16, 10),
    ],
    "densenet_tiny": [
        conv(A, 3, 1, 8),
        *(conv(A, 3, 8, 8), conv(A, 3, 16, 8), conv(A, 3, 24, 8)),
        conv(A, 1, 32, 8),  # convolved before it is pooled
        *(conv(B, 3, 8, 8), conv(B, 3, 16, 8), conv(B, 3, 24, 8)),
        conv(B, 1, 32, 8),
        *(conv(C, 3, 8, 8), conv(C, 3, 16, 8), conv(C, 3, 24, 8)),
        dense(32, 10),
    ],
    "mobilenet_lite": [
        conv(A, 3, 1, 16),
        *(depthwise(A, 3, 16), conv(A, 1, 16, 32)),
        *(depthwise(B, 3, 32), conv(B, 1, 32, 64)),
        *(depthwise(C, 3, 64), conv(C, 1, 64, 128)),
        dense(128, 10),
    ],
    "vit_tiny": [
        49 * dense(4 * 4, 64),  # each patch of 16 pixels into 64 numbers
        *[encoder_layer(50, 64, 128)] * 3,
        dense(64, 10),
    ],
    "baseline_cnn": [
        conv(A, 3, 1, 8),
        conv(B, 3, 8, 16),
        conv(C, 3, 16, 32),
        dense(32, 10),
    ],
}

PARAMETERS = {
    "lenet5": 61_706,
    "resnet_mini": 11_402,
    "densenet_tiny": 11_666,
    "mobilenet_lite": 14_218,
    "vit_tiny": 105_546,
    "baseline_cnn": 6_330,
}


@pytest.mark.parametrize("model", MODELS)
def test_macs_equal_a_count_by_hand(model):
    assert count_macs(model, {}) == sum(BY_HAND[model])


def test_options_change_the_macs():
    relu, wide = {"activation": "relu"}, {"widths": [16, 16, 32]}
    assert count_macs("lenet5", relu) == sum(BY_HAND["lenet5"])
    expected = conv(A, 3, 1, 16) + conv(B, 3, 16, 16) + conv(C, 3, 16, 32) + dense(32, 10)
    assert count_macs("baseline_cnn", wide) == expected


def test_counting_draws_no_random_numbers():
    before = torch.get_rng_state()
    count_macs("vit_tiny", {})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("model", MODELS)
def test_parameters_are_the_papers(model):
    assert count_parameters(build_model(model)) == PARAMETERS[model]


def test_only_trainable_weights_are_parameters():
    model = build_model("baseline_cnn")
    model.classifier.requires_grad_(False)
    assert count_parameters(model) == PARAMETERS["baseline_cnn"] - 330


@pytest.mark.parametrize("model", MODELS)
def test_checkpoint_bytes_are_those_of_the_file(model, small_data, tmp_path):
    config = make_config(model=model, max_epochs=1, train_images=64, test_images=50)
    run = run_experiment(config, data=first_images(small_data, 64, 50))
    store = RunStore(tmp_path)
    store.write(run)
    (path,) = (tmp_path / config.name).glob("weights-*.safetensors")
    assert run.record.checkpoint_bytes == path.stat().st_size
    assert run.record.macs == sum(BY_HAND[model])
    assert run.record.parameters == PARAMETERS[model]


def first_images(data, train, test):
    return Dataset(
        data.train_images[:train],
        data.train_labels[:train],
        data.test_images[:test],
        data.test_labels[:test],
        data.mean,
        data.std,
    )


# --- times -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cost(small_data):
    config = make_config(model="lenet5", train_images=64, test_images=50, max_epochs=1)
    other = make_config(model="baseline_cnn", train_images=64, test_images=50, max_epochs=1)
    rounds = []
    images = first_images(small_data, 64, 50)
    first, second = measure_costs([config, other], images, on_round=rounds.append)
    assert rounds == [1, 2, 3, 4, 5]
    assert (first.model, second.model) == ("lenet5", "baseline_cnn")
    assert first.environment == second.environment
    return first


def test_every_time_was_taken_often_enough(cost):
    assert len(cost.train_seconds_blocks) >= 5
    assert len(cost.inference_ms_passes) == 5
    assert len(cost.latency_ms) >= 100
    for times in (cost.train_seconds_blocks, cost.inference_ms_passes, cost.latency_ms):
        assert all(time > 0 for time in times)


def test_it_says_how_many_images_were_timed(cost):
    assert (cost.block_images, cost.inference_images) == (64, 50)
    assert cost.scaled_to_images == SCALED_TO == 60_000
    assert BLOCK_IMAGES >= 10_000  # what a run on all images has in a block
    assert 0 <= cost.busy_percent <= 100
    assert cost.environment.threads == 1
    assert cost.name == cost_name(cost.config)
    assert cost.model == "lenet5"


def test_a_cost_survives_the_disk(cost, tmp_path):
    store = RunStore(tmp_path)
    assert store.find_cost(cost.name) is None
    store.write_cost(cost)
    assert store.find_cost(cost.name) == cost
    assert store.costs() == [cost]


def name(**settings):
    return cost_name(make_config(**{"model": "lenet5"} | settings))


def test_runs_that_cost_the_same_share_a_measurement():
    assert name(seed=1) == name()
    assert name(stops=[Stop(patience=20)]) == name()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 128},
        {"model_options": {"activation": "relu"}},
        {"model": "baseline_cnn"},
        {"train_images": 640},
        {"device": "cuda"},
    ],
)
def test_runs_that_cost_something_else_do_not(settings):
    assert name(**settings) != name()
