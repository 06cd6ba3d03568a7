"""Where a number was measured: versions, machine, code. Not here: any measurement."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import cpuinfo
import torch

from fmnist_lib.runs.config import DATA_SHA256
from fmnist_lib.paths import ROOT
from fmnist_lib.runs.record import Environment

PACKAGES = ("fmnist_lib", "torch", "torchvision", "numpy", "safetensors", "distributed")
TRAINING_CODE = ("data", "models", "training", "runs/config.py", "runs/run.py")
"""The files and folders that a run's numbers can depend on, below `fmnist_lib/`."""

RULES = tuple(
    f"reporting/{name}.py" for name in ("claims", "intervals", "judging", "paired", "rules")
)
"""The files that judge claims, likewise."""

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
    """Return one digest over the code that a run's numbers can depend on."""
    return digest_of_code(TRAINING_CODE)


@cache
def rules_sha256() -> str:
    """Return one digest over the rules that judge claims.

    A record keeps it, so that a report can say which runs were trained under the very rules that
    judge them.
    """
    return digest_of_code(RULES)


def digest_of_code(parts: Sequence[str]) -> str:
    """Return one digest over what files and folders below `fmnist_lib/` define.

    Over definitions, not bytes: comments, docstrings, imports and the file in which a definition
    lies do not matter, so that moving code does not make it other code.
    """
    package = ROOT / "fmnist_lib"
    files = [
        file
        for part in parts
        for file in ([package / part] if part.endswith(".py") else (package / part).rglob("*.py"))
    ]
    definitions = [text for file in files for text in definitions_in(file.read_text("utf-8"))]
    return hashlib.sha256("\n".join(sorted(definitions)).encode()).hexdigest()


def definitions_in(source: str) -> list[str]:
    """Return the syntax trees of a module's statements as text, without docstrings and imports."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [
                statement
                for statement in body
                if not isinstance(statement, ast.Import | ast.ImportFrom)
                and not (
                    isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                )
            ]
    return [ast.dump(statement) for statement in tree.body]


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
