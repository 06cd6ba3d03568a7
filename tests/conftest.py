"""What every test shares."""

import pytest
import torch
from bs4 import BeautifulSoup
from made_report import report
from made_up import SMALL, make_cost
from tiny_data import Place
from torchvision.datasets import FashionMNIST

from fmnist_lib import paths
from fmnist_lib.data import fashion_mnist as data
from fmnist_lib.data import obtain
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.plans import plan, plan_families
from fmnist_lib.runs.record import RunOutput
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore

torch.set_num_threads(1)  # as in the runs themselves: one thread each, one run a core


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    """A data folder without data; nothing installed, nobody who answers, no apt-get."""
    place = Place(tmp_path)
    monkeypatch.setattr(obtain, "SHA256", place.sha256)
    monkeypatch.setattr(obtain, "BYTES", {name: len(file) for name, file in place.files.items()})
    monkeypatch.setattr(obtain, "SYSTEM_COPY", place.system)
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    monkeypatch.setattr(FashionMNIST, "resources", place.archives)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PATH", str(place.programs))
    return place


@pytest.fixture(scope="session")
def page() -> BeautifulSoup:
    """The page of the made-up report."""
    return BeautifulSoup((report() / "index.html").read_text(encoding="utf-8"), "html.parser")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Folders of one's own in place of the project's; nothing is trained, made or released."""
    for name in ("RUNS", "BUILD", "REPORT", "STUDY"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    return tmp_path


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory) -> RunStore:
    """The smoke profile's runs, those of the study included, really trained; times are made up.

    Two models have seed 1 too, and there a longer patience besides.
    """
    store = RunStore(tmp_path_factory.mktemp("smoke"))
    again = plan("smoke", models="lenet5,baseline_cnn", seeds="1")
    patient = {"stops": (Stop(), Stop(patience=20))}
    every = [config for configs in plan_families("smoke").values() for config in configs]
    configs = [*every, *(config.model_copy(update=patient) for config in again)]
    shortened = {name: getattr(configs[0], name) for name in ("train_images", "test_images")}
    loaded = data.load(**shortened)
    for config in configs:
        store.write(run_experiment(config, data=loaded))
        store.write_cost(make_cost(config))
    return store


@pytest.fixture(scope="session")
def small_data() -> data.Dataset:
    """256 training and 200 test images of the real data."""
    return data.load(**SMALL)


@pytest.fixture(scope="session")
def small_run(small_data) -> RunOutput:
    """A run of LeNet-5 on `small_data`, two epochs long."""
    return run_experiment(make_config(model="lenet5", max_epochs=2, **SMALL), data=small_data)
