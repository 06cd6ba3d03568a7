"""Where a number was measured: versions, machine, code. Not here: any measurement."""

import ast
import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from fmnist_lib.paths import ROOT
from fmnist_lib.runs.config import DATA_SHA256
from fmnist_lib.runs.record import Environment

PACKAGES = ("fmnist_lib", "torch", "torchvision", "numpy", "safetensors")
TRAINING_CODE = ("data", "models", "training", "runs/config.py", "runs/run.py")
"""The files and folders that a run's numbers can depend on, below `fmnist_lib/`."""
RULES = ("claims", *(f"results/{name}.py" for name in ("statistics", "tables", "times")))
"""Those that judge claims: a record tells under which rules it began."""
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
"""Of processes side by side: with a thread a core each, notebooks took three times as long."""


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_environment() -> Environment:
    """Return the environment of what starts now, with the code as it is now."""
    started = now()
    # Records of the study that are not committed yet are no change of what makes more of them.
    status = git("status", "--porcelain", "--untracked-files=normal", "--", ".", ":(exclude)study")
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
    try:
        import cpuinfo
    except ImportError:  # where there is no more than training needs
        known = Path("/proc/cpuinfo").read_text("utf-8") if sys.platform == "linux" else ""
        name = re.search(r"model name\s*: (.*\S)", known)
        return name[1] if name else platform.machine()
    return cpuinfo.get_cpu_info().get("brand_raw") or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use: of the machine, and of its container's share."""
    try:
        from loky import cpu_count
    except ImportError:
        return 1  # without loky there are no workers
    return cpu_count()


def code_sha256() -> str:
    """Return one digest over the code that a run's numbers can depend on."""
    return digest_of_code(*TRAINING_CODE)


@cache
def digest_of_code(*parts: str) -> str:
    """Return one digest over what files and folders below `fmnist_lib/` define.

    Over definitions, not bytes: comments, docstrings, imports, layout, the file in which a
    definition lies and the version of Python do not matter. Moved code is no other code.
    """
    definitions: list[str] = []
    for place in (ROOT / "fmnist_lib" / part for part in parts):
        for file in [place] if place.suffix == ".py" else place.rglob("*.py"):
            tree = ast.parse(file.read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.If | ast.Try):
                    node.body = [part for part in node.body if not is_silent(part)]
            definitions += map(ast.unparse, tree.body)
    # Python's versions put other quotes around a text with quotes in it.
    definitions = sorted(re.sub("[\"']+", "'", definition) for definition in definitions)
    return hashlib.sha256("\n".join(definitions).encode()).hexdigest()


def is_silent(part: ast.stmt) -> bool:
    """Return whether this is an import or a docstring."""
    is_text = isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
    return is_text or isinstance(part, ast.Import | ast.ImportFrom)


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
