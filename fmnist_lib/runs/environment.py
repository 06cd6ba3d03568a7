"""Where a number was measured: versions, machine, code. Not here: any measurement."""

import ast
import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import DATA_SHA256
from fmnist_lib.runs.record import Environment

PACKAGES = ("fmnist_lib", "torch", "torchvision", "numpy", "safetensors", "distributed")
TRAINING_CODE = ("data", "models", "training", "runs/config.py", "runs/run.py")
"""The files and folders that a run's numbers can depend on, below `fmnist_lib/`."""
RULES = ("claims", *(f"results/{name}.py" for name in ("statistics", "tables", "times")))
"""Those that judge claims: a record tells under which rules it began."""

STARTED, COUNTER = datetime.now(UTC), time.perf_counter()


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    # Counted on from the start of the process, so that a clock that is set changes no duration.
    passed = timedelta(seconds=time.perf_counter() - COUNTER)
    return (STARTED + passed).isoformat(timespec="seconds")


def describe_environment() -> Environment:
    """Return the environment of what starts now, with the code as it is now; `ended` ends it."""
    started = now()
    status = git("status", "--porcelain", "--untracked-files=normal")
    return Environment(
        python=platform.python_version(),
        packages={name: package_version(name) for name in PACKAGES},
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        commit=git("rev-parse", "HEAD"),
        dirty=None if status is None else bool(status),
        code_sha256=code_sha256(),
        data_sha256=DATA_SHA256,
        rules_sha256=digest_of_code(*RULES),
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
    name = None
    try:
        import cpuinfo

        name = cpuinfo.get_cpu_info().get("brand_raw")
    except ImportError:
        if sys.platform == "linux":
            name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
            name = name and name[1].strip()
    return name or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use: of the machine, and of its container's share."""
    try:
        from dask.system import cpu_count
    except ImportError:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cpu_count()


def code_sha256() -> str:
    """Return one digest over the code that a run's numbers can depend on."""
    return digest_of_code(*TRAINING_CODE)


@cache
def digest_of_code(*parts: str) -> str:
    """Return one digest over what files and folders below `fmnist_lib/` define.

    Over definitions, not bytes: comments, docstrings, imports, layout and the file in which a
    definition lies do not matter, so that moving code does not make it other code.
    """
    definitions: list[str] = []
    for place in (ROOT / "fmnist_lib" / part for part in parts):
        for file in [place] if place.suffix == ".py" else place.rglob("*.py"):
            tree = ast.parse(file.read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(body := getattr(node, "body", None), list):
                    node.body = [statement for statement in body if not is_silent(statement)]
            definitions += map(ast.unparse, tree.body)  # a dump differs from Python to Python
    return hashlib.sha256("\n".join(sorted(definitions)).encode()).hexdigest()


def is_silent(statement: ast.stmt) -> bool:
    """Return whether a statement is an import or a docstring."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or isinstance(statement, ast.Import | ast.ImportFrom)


@cache
def git(*arguments: str) -> str | None:
    """Return what git prints of the project's own checkout, stripped; None where it has none."""
    # Told where: a tarball may lie in another's repository, and a hook speaks of its own.
    kept = {n: v for n, v in os.environ.items() if n[:4] != "GIT_" or n.startswith("GIT_CONFIG_")}
    command = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}", "--no-optional-locks"]
    try:
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def missing_commit_reason() -> str | None:
    """Return in a line why records name no commit, None where they do."""
    return None if git("rev-parse", "HEAD") else f"git finds no commit of {ROOT}"
