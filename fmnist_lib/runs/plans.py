"""Which runs there are: profiles, and the words a user picks models and seeds with."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fmnist_lib.runs.config import MAX_SEED, RunConfig, Stop, make_config
from fmnist_lib.training.engine import resolve_auto
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS


@dataclass(frozen=True)
class Profile:
    """A named set of runs: what it is for, its seeds, and how its runs differ from the paper's."""

    purpose: str
    seeds: str = "0"
    settings: Mapping[str, Any] = field(default_factory=dict)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "smoke": Profile(
            "shortened runs that show in a minute and a half whether everything works",
            settings={"train_images": 640, "test_images": 500, "max_epochs": 2},
        ),
        "paper": Profile("the paper's protocol, one run a model"),
        "study": Profile(
            "the paper's protocol, five runs a model, with a patient stopping rule besides",
            seeds="0-4",
            settings={"stops": (Stop(), Stop(patience=20))},
        ),
    }
)


def plan(
    profile: str,
    *,
    models: str = "",
    seeds: str = "",
    device: str = "cpu",
    engine: str = "eager",
    precision: str = "fp32",
) -> list[RunConfig]:
    """Return the runs of a profile, model by model in the paper's order.

    `models` and `seeds` as on the command line; empty means all, or the profile's own. The engine
    `auto` becomes, for each run, the one that is faster for it here. Raises `UserError` for
    anything unknown.
    """
    if profile not in PROFILES:
        raise UserError(f"profile: unknown {profile!r}; allowed: {', '.join(PROFILES)}")
    chosen = PROFILES[profile]
    how = {
        "device": device,
        "engine": "eager" if engine == "auto" else engine,
        "precision": precision,
    }
    configs = [
        make_config(model=model, seed=seed, **how, **chosen.settings)
        for model in parse_models(models)
        for seed in parse_seeds(seeds or chosen.seeds)
    ]
    return [resolve_auto(config) for config in configs] if engine == "auto" else configs


def parse_models(text: str) -> list[str]:
    """Return the models named in `a,b`, in the paper's order; all of them for an empty text."""
    names = [name.strip() for name in text.split(",")] if text.strip() else list(MODELS)
    for name in names:
        if name not in MODELS:
            raise UserError(f"models: unknown {name!r}; allowed: {', '.join(MODELS)}")
    return [name for name in MODELS if name in names]


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of a text like `0-4,7`, each once, ascending."""
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_SEED or last - first >= 10_000:
            raise UserError(f"seeds: cannot read {part.strip()!r}; allowed: e.g. 0 or 0-4,7")
        seeds |= set(range(first, last + 1))
    return sorted(seeds)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
