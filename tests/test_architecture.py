"""The flow of the house, held with `ast`: who may import whom. Data goes one way."""

import ast
import sys
from pathlib import Path

import pytest

from fmnist_lib.paths import ROOT

LIBRARY = ROOT / "fmnist_lib"

# Each room with everything of ours that it may import; a new room needs a line here.
MAY_IMPORT = {
    "errors": set(),
    "paths": set(),
    "processes": set(),
    "models": set(),
    "metrics": set(),
    "sources": set(),
    "fetching": {"errors", "paths", "sources"},
    "config": {"errors", "models"},
    "data": {"config", "errors", "fetching", "paths"},
    "records": {"config", "errors"},
    "store": {"config", "errors", "records"},
    "environment": {"config", "paths", "records"},
    "engine": {"config", "models", "paths"},
    "training": {"config", "data", "engine", "metrics"},
    "cost": {"config", "data", "engine", "environment", "models", "records", "training"},
    "checkpoints": {"config", "environment", "store", "training"},
    "experiment": {
        *("checkpoints", "config", "cost", "data", "environment", "metrics", "models", "records"),
        "training",
    },
    "study": {"config", "engine", "errors", "models"},
    "forecast": {"config", "cost", "records", "store"},
    "remote": {"environment", "errors", "fetching"},
    "cluster": {"config", "data", "errors", "experiment", "forecast", "paths", "records"}
    | {"remote", "training"},
    "progress": {"config", "cost", "models", "records", "training"},
    "verification": {"config", "experiment", "records"},
    "replay": {"checkpoints", "cluster", "config", "environment", "errors", "progress", "records"}
    | {"store", "verification"},
    "reporting": {"config", "data", "errors", "metrics", "models", "paths", "processes", "records"}
    | {"store"},
    "notebook": {"checkpoints", "cluster", "config", "errors", "paths", "progress", "reporting"}
    | {"store", "study"},
    "job": {"config", "errors", "models", "paths", "store"},
    "assembly": {"job", "paths", "processes", "records", "reporting", "store"},
    "released": {"assembly", "config", "environment", "errors", "job", "models", "notebook"}
    | {"reporting", "store", "study"},
    "pipeline": {"assembly", "checkpoints", "cluster", "config", "cost", "data", "engine"}
    | {"environment", "forecast", "job", "models", "progress", "records", "released"}
    | {"reporting", "store"},
    "start": {"config", "forecast", "models", "paths", "records", "store", "study"},
}

# What of a room is open to others, where that is not everything.
OPEN_TO_REPORTING = {
    "models": {"fmnist_lib.models.MODELS", "fmnist_lib.models.describe"},
}

# Packages from outside, where the choice is part of the design.
OUTSIDE = {
    "errors": set(),
    "paths": set(),
    "processes": set(),
    "config": {"pydantic", "torch"},
    "metrics": {"torch", "torchmetrics"},
    "training": {"torch"},
    "engine": {"filelock", "torch"},
    "study": set(),
}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports: modules, or names in them."""
    package = path.relative_to(ROOT).parent.as_posix().replace("/", ".")
    return imported_by(path.read_text(encoding="utf-8"), package)


def imported_by(text: str, package: str) -> set[str]:
    """Full names of what a module of `package` imports, at its top or later."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.startswith("fmnist_lib.")}


def room_of(name: str) -> str:
    """The room in which an imported name lives: `config` for `fmnist_lib.runs.config.Stop`."""
    return name.split(".")[1]


def files_of(room: str) -> list[Path]:
    folder = LIBRARY / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [LIBRARY / f"{room}.py"]


def test_every_room_is_known():
    found = {
        path.stem if path.is_file() else path.name
        for path in LIBRARY.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    allowed = MAY_IMPORT[room] | {room}
    for path in files_of(room):
        strangers = sorted(name for name in ours(path) if room_of(name) not in allowed)
        assert not strangers, f"{path.relative_to(ROOT)} must not import {', '.join(strangers)}"


def test_data_goes_one_way():
    """No circle: each room is fully made before one that imports it."""
    remaining = dict(MAY_IMPORT)
    while remaining:
        ready = {room for room, needs in remaining.items() if not needs & set(remaining)}
        assert ready, f"these import each other in a circle: {sorted(remaining)}"
        remaining = {room: needs for room, needs in remaining.items() if room not in ready}


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_takes_no_more_from_outside_than_it_may(room):
    packages = {
        name.partition(".")[0] for path in files_of(room) for name in imports(path) - ours(path)
    }
    strangers = packages - sys.stdlib_module_names - {"fmnist_lib"} - OUTSIDE[room]
    assert not strangers, f"{room} must not import {', '.join(sorted(strangers))}"


def test_reporting_sees_models_by_name_and_description_alone():
    for path in files_of("reporting"):
        for room, open_names in OPEN_TO_REPORTING.items():
            for name in ours(path):
                if room_of(name) == room:
                    assert any(name == o or name.startswith(f"{o}.") for o in open_names), (
                        f"{path.relative_to(ROOT)} must not import {name}"
                    )


def test_nothing_draws_but_reporting():
    for room in set(MAY_IMPORT) - {"reporting"}:
        for path in files_of(room):
            packages = {name.partition(".")[0] for name in imports(path)}
            drawing = packages & {"matplotlib", "seaborn", "nbconvert", "weasyprint"}
            assert not drawing, f"{path.relative_to(ROOT)} must not import {drawing}"


def test_only_the_command_imports_the_pipeline():
    for path in LIBRARY.rglob("*.py"):
        assert "pipeline" not in {room_of(name) for name in ours(path)}, path
    assert "fmnist_lib.commands.pipeline" in imports(ROOT / "run_all.py")


def test_the_library_knows_neither_command_nor_notebooks_nor_tests():
    for path in LIBRARY.rglob("*.py"):
        packages = {name.partition(".")[0] for name in imports(path)}
        outsiders = packages & {"run_all", "notebooks", "tests", "pytest"}
        assert not outsiders, f"{path.relative_to(ROOT)} must not import {outsiders}"


def test_the_command_imports_the_library_alone():
    packages = {name.partition(".")[0] for name in imports(ROOT / "run_all.py")}
    assert packages - sys.stdlib_module_names == {"fmnist_lib"}


def test_the_imports_are_really_read():
    """The test of the tests: every way to import is seen, also within a function."""
    text = """
import fmnist_lib.training.loop
from fmnist_lib.runs import run as e
from ..models.vit_tiny import ViTTiny
from . import paper
from .words import join
def f():
    import torch.nn as nn
"""
    assert imported_by(text, "fmnist_lib.reporting") == {
        "fmnist_lib.training.loop",
        "fmnist_lib.runs.run",
        "fmnist_lib.models.vit_tiny.ViTTiny",
        "fmnist_lib.reporting.paper",
        "fmnist_lib.reporting.words.join",
        "torch.nn",
    }
