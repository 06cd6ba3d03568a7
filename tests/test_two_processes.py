"""The same config is the same result, to the bit, in any process: every model."""

import json
import os
import subprocess
import sys

from fmnist_lib.models import MODELS

SCRIPT = """
import json, sys
from fmnist_lib.data.fashion_mnist import load
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.run import run_experiment

data = load(train_images=256, test_images=200)
settings = {"max_epochs": 2, "train_images": 256, "test_images": 200}
configs = [make_config(model=model, **settings) for model in sys.argv[1:]]
found = {c.model: run_experiment(c, data=data).record.result_digest for c in configs}
print(json.dumps(found))
"""


def digests(models, number):
    """The digests that a fresh process finds; `number` varies what must not matter."""
    varied = {"OMP_NUM_THREADS": str(number), "PYTHONHASHSEED": str(number)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *models],
        env=os.environ | varied,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_fresh_processes_agree_on_every_model():
    first = digests(MODELS, 1)
    assert digests(reversed(MODELS), 2) == first
    assert len(set(first.values())) == len(MODELS)
