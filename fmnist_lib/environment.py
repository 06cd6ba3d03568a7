"""Where a number was measured: versions, machine, code. Not here: any measurement."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import cpuinfo
import torch

from fmnist_lib.config import DATA_SHA256
from fmnist_lib.paths import ROOT
from fmnist_lib.records import Environment

PACKAGES = ("fmnist_lib", "torch", "torchvision", "numpy", "safetensors", "distributed")
TRAINING_CODE = (
    *("config.py", "data.py", "metrics.py", "engine.py", "training.py", "experiment.py"),
    "models",
)
"""The files a run's numbers can depend on, below `fmnist_lib/`."""

RULES = ("claims", "intervals", "judging", "paired", "rules")
"""The files that judge claims, below `fmnist_lib/reporting/`."""

STARTED, COUNTER = datetime.now(UTC), time.perf_counter()


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second.

    The clock is read once a process and counted on from there, so that a clock that is set in the
    middle of a run neither shortens nor lengthens it.
    """
    passed = timedelta(seconds=time.perf_counter() - COUNTER)
    return (STARTED + passed).isoformat(timespec="seconds")


def describe_environment() -> Environment:
    """Return the environment of something that starts now.

    At the start, because the code may be edited while it runs; `ended` adds the end.
    """
    started = now()
    return Environment(
        python=platform.python_version(),
        packages={name: package_version(name) for name in PACKAGES},
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        commit=git("rev-parse", "HEAD"),
        dirty=None if (status := git("status", "--porcelain")) is None else bool(status),
        code_sha256=code_sha256(),
        data_sha256=DATA_SHA256,
        rules_sha256=rules_sha256(),
        started=started,
        finished=started,
    )


def ended(environment: Environment) -> Environment:
    """Return the environment of what started in it and ends now."""
    return environment.model_copy(update={"finished": now()})


def package_version(name: str) -> str:
    """Return a package's version; a folder that Python runs in place has none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def has_device(name: str) -> bool:
    """Return whether this machine can train on `cpu`, `cuda` or `mps`."""
    if name == "cuda":
        return torch.cuda.is_available()
    return name == "cpu" or torch.backends.mps.is_available()


def peak_memory_mib() -> float | None:
    """Return the highest memory use of this process so far, None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@cache
def cpu_name() -> str:
    """Return the processor's name, or its architecture where the system does not tell."""
    return cpuinfo.get_cpu_info().get("brand_raw") or platform.machine()


@cache
def code_sha256() -> str:
    """Return one digest over the source files a run's numbers can depend on."""
    package = ROOT / "fmnist_lib"
    files = [file for part in TRAINING_CODE for file in sorted(package.glob(f"{part}/*.py"))]
    files += [package / part for part in TRAINING_CODE if part.endswith(".py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(package).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def rules_sha256() -> str:
    """Return one digest over the rules that judge claims.

    A record keeps it, so that a report can say which runs were trained under the very rules that
    judge them.
    """
    digest = hashlib.sha256()
    for name in RULES:
        digest.update((ROOT / "fmnist_lib" / "reporting" / f"{name}.py").read_bytes())
    return digest.hexdigest()


@cache
def git(*arguments: str) -> str | None:
    """Return what git prints in the project's folder, stripped; None where that fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
