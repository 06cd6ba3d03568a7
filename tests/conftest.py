"""What every test shares."""

import pytest
import torch
from made_up import make_cost
from tiny_data import Place, hashes
from torchvision.datasets import FashionMNIST

from fmnist_lib.data import fashion_mnist as data
from fmnist_lib.data import fetching, sources
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore

torch.set_num_threads(1)  # as in the runs themselves: one thread each, one run a core


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    """A data folder without data, and its sources, all of them empty and on this disk."""
    place = Place(tmp_path)
    sizes = {name: len(content) for name, content in place.files.items()}
    monkeypatch.setattr(fetching, "SHA256", hashes(place.files))
    monkeypatch.setattr(data, "SHA256", fetching.SHA256)
    monkeypatch.setattr(fetching, "BYTES", sizes)
    monkeypatch.setattr(sources, "SYSTEM_COPY", place.system)
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"{place.mirror.as_uri()}/"])
    monkeypatch.setenv("PATH", str(place.programs))  # neither apt-get nor dpkg-deb
    return place


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory) -> RunStore:
    """The smoke profile's runs, really trained; times are made up.

    Two models have seed 1 too, and there a longer patience besides.
    """
    store = RunStore(tmp_path_factory.mktemp("smoke"))
    again = plan("smoke", models="lenet5,baseline_cnn", seeds="1")
    patient = {"stops": (Stop(), Stop(patience=20))}
    configs = [*plan("smoke"), *(config.model_copy(update=patient) for config in again)]
    shortened = {name: getattr(configs[0], name) for name in ("train_images", "test_images")}
    loaded = data.load(**shortened)
    for config in configs:
        store.write(run_experiment(config, data=loaded))
        store.write_cost(make_cost(config))
    return store


@pytest.fixture(scope="session")
def small_data() -> data.Dataset:
    """256 training and 200 test images of the real data."""
    return data.load(train_images=256, test_images=200)


@pytest.fixture(scope="session")
def small_run(small_data) -> RunOutput:
    """A run of LeNet-5 on `small_data`, two epochs long."""
    config = make_config(model="lenet5", max_epochs=2, train_images=256, test_images=200)
    return run_experiment(config, data=small_data)
