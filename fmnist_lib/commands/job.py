"""What one call of the command asks for, and whether it can be had. Not here: doing it."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import UserError
from fmnist_lib.execution.forecast import longest_first, tell
from fmnist_lib.execution.gpu import MOST_AT_ONCE
from fmnist_lib.execution.here import JOBS_ON_GPU
from fmnist_lib.models import MODELS
from fmnist_lib.runs import plans
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.environment import has_device, usable_cores
from fmnist_lib.runs.store import RunStore

NO_VARIANT = {"seed", "device", "precision", "train_images", "test_images", "max_epochs"}
"""Settings in which a run may differ from the paper's and still be one of its six models."""


def released_records() -> RunStore:
    """Return the store of the released report."""
    return RunStore(paths.REPORT / "records", read_only=True)


def study_records() -> RunStore:
    """Return the store of the study's finished families that are not released yet."""
    return RunStore(paths.STUDY, read_only=True)


@dataclass(frozen=True)
class Job:
    """What one call of the command asks for."""

    profile: str
    configs: Sequence[RunConfig]  # in the order in which they are trained
    output: Path
    jobs: int = 1
    force: bool = False
    keep_going: bool = False
    release: bool = False
    minutes: float = math.inf  # for training, which stops in good order by then
    store: RunStore = field(default_factory=lambda: RunStore(paths.RUNS))
    released: RunStore = field(default_factory=released_records)
    beside: Sequence[RunConfig] = ()  # released runs, shown where none of that kind is asked for

    @property
    def shown(self) -> Sequence[RunConfig]:
        """The runs that most of a report shows: the paper's models by its protocol."""
        plain = {model: RunConfig(model=model) for model in MODELS}
        own = [c for c in self.configs if not c.differs(plain[c.model], ignoring=NO_VARIANT)]
        return own or self.beside

    @property
    def models(self) -> list[str]:
        """The models that a report shows, in the paper's order."""
        return [name for name in MODELS if any(c.model == name for c in self.shown)]

    @property
    def seeds(self) -> list[int]:
        """The seeds that a report shows."""
        return sorted({config.seed for config in self.shown})


def finder(*stores: RunStore) -> plans.Find:
    """Return what finds a run's record in the first store that has it."""
    return lambda config: next(filter(None, (store.find(config) for store in stores)), None)


def finish(place: Path, failures: Sequence[str]) -> int:
    """Print what failed and where the results lie; return the exit status."""
    for failure in failures:
        tell(f"failed: {failure}")
    print(place)
    return 1 if failures else 0


def job_of(options: argparse.Namespace) -> Job:
    """Return what the command line asks for. Raises `UserError`, also where it cannot be had."""
    if not has_device(options.device):
        raise UserError(f"device: PyTorch finds no {options.device} here; allowed: cpu")
    on_gpu = options.device == "cuda"
    if on_gpu and (options.jobs or 0) > MOST_AT_ONCE:
        raise UserError(f"jobs: {options.jobs} is too many on a GPU; allowed: {MOST_AT_ONCE}")
    store = RunStore(options.store or paths.RUNS, read_only=options.dry_run)
    chosen = ("families", "models", "seeds", "device", "precision")
    families = plans.plan_families(
        options.profile,
        find=finder(store, released_records(), study_records()),
        **{name: getattr(options, name) for name in chosen},
    )
    for name in filter(None, families):
        search, known = plans.FAMILIES[name].search, {config.model for config in families[name]}
        waiting = [m for m in plans.parse_models(options.models) if m not in known]
        if search and waiting:
            tell(f"{name}: {', '.join(waiting)} to be planned once {search} is whole")
    home = paths.REPORT if options.release else paths.BUILD / options.profile
    return Job(
        profile=options.profile,
        configs=[c for configs in families.values() for c in longest_first(configs)],
        output=options.output or home,
        jobs=options.jobs or (JOBS_ON_GPU if on_gpu else usable_cores()),
        force=options.force,
        keep_going=options.keep_going or options.train_only,
        release=options.release,
        minutes=options.minutes or math.inf,
        store=store,
    )
