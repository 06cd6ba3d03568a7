"""The same config is the same result, to the bit, in any process: every model, every engine."""

import json
import os
import subprocess
import sys
from typing import get_args

import pytest

from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import RunConfig

ENGINES = get_args(RunConfig.model_fields["engine"].annotation)

SCRIPT = """
import json, sys
from fmnist_lib.runs.config import make_config
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.runs.run import run_experiment

data = load(train_images=256, test_images=200)
settings = {"max_epochs": 2, "train_images": 256, "test_images": 200, "engine": sys.argv[1]}
configs = [make_config(model=model, **settings) for model in sys.argv[2:]]
found = {c.model: run_experiment(c, data=data).record.result_digest for c in configs}
print(json.dumps(found))
"""


def digests(engine, models, number):
    """The digests that a fresh process finds; `number` varies what must not matter."""
    varied = {"OMP_NUM_THREADS": str(number), "PYTHONHASHSEED": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine, *models],
        env=os.environ | varied,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "engine",
    [e if e == "eager" else pytest.param(e, marks=pytest.mark.long) for e in ENGINES],
)
def test_two_fresh_processes_agree_on_every_model(engine):
    first = digests(engine, MODELS, 1)
    assert digests(engine, reversed(MODELS), 2) == first
    assert len(set(first.values())) == len(MODELS)
