"""The flow of the house, held with `ast`: who may import whom. Data goes one way."""

import ast
import sys
from pathlib import Path

import pytest

from fmnist_lib.paths import ROOT

LIBRARY = ROOT / "fmnist_lib"

# Each room with the rooms that it may import from; within a folder all is open, but where a file of
# it is named. A new room needs a line here.
TOP = {"errors", "paths"}
CONFIG = {"runs.config"}
BELOW = {*TOP, "data", "models", "training", "runs"}
MAY_IMPORT = {
    "errors": set(),
    "paths": set(),
    "models": set(),
    "runs.config": {"errors", "models"},
    "data": TOP,
    "training": {"data", *CONFIG},
    "training.checkpoint": {"training", *CONFIG, "runs.environment", "runs.store"},
    "runs": {*TOP, *CONFIG, "data", "models", "training"},
    "execution": BELOW,
    "results": {*TOP, *CONFIG, "data", "models", "runs"},
    "claims": {*TOP, "models", "results", "runs"},
    "report": {*TOP, "claims", "data", "models", "results", "runs"},
    "report.figures": {"models", "results"},
    "commands": {*BELOW, "execution", "results", "claims", "report"},
}

# Packages from outside, where the choice is part of the design: what trains needs few.
OUTSIDE = {
    "errors": set(),
    "paths": set(),
    "models": {"torch"},
    "data": {"filelock", "numpy", "pooch", "torch", "torchvision", "tqdm"},
    "training": {"numpy", "torch"},
    "runs": {"cpuinfo", "dask", "filelock", "numpy", "psutil", "pydantic", "safetensors", "torch"},
}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports: modules, or names in them."""
    return imported_by(path.read_text(encoding="utf-8"), package_of(path))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parent.as_posix().replace("/", ".")


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
    """The room in which an imported name lives: `runs` for `fmnist_lib.runs.store.RunStore`."""
    parts = name.split(".")[1:]
    known = [".".join(parts[:2]), parts[0]]
    return next((room for room in known if room in MAY_IMPORT), parts[0])


def files_of(room: str) -> list[Path]:
    """The files of a room, but for those that are a room of their own."""
    path = LIBRARY.joinpath(*room.split("."))
    if not path.is_dir():
        return [path.with_suffix(".py")]
    return [file for file in sorted(path.rglob("*.py")) if room_of(dotted(file)) == room]


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def allowed_to(room: str) -> set[str]:
    """A folder that may be imported from is open with all its files."""
    allowed = MAY_IMPORT[room] | {room, room.partition(".")[0]}
    return allowed | {other for other in MAY_IMPORT if other.partition(".")[0] in allowed}


def test_every_room_is_known():
    found = {
        path.stem if path.is_file() else path.name
        for path in LIBRARY.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert found == {room for room in MAY_IMPORT if "." not in room}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    allowed = allowed_to(room)
    for path in files_of(room):
        strangers = [
            name
            for name in sorted(ours(path))
            if room_of(name) not in allowed
            and name.removeprefix("fmnist_lib.") not in allowed
            and not any(name.startswith(f"fmnist_lib.{open_room}.") for open_room in allowed)
        ]
        assert not strangers, f"{path.relative_to(ROOT)} must not import {', '.join(strangers)}"


def test_modules_are_made_one_after_another():
    """No circle: each module is fully made before one that imports it at its top."""
    files = {dotted(path): path for path in LIBRARY.rglob("*.py")}
    needs = {
        name: {
            other
            for imported in imported_by(top_of(path), package_of(path))
            for other in (imported, imported.rpartition(".")[0])
            if other in files and other != name
        }
        for name, path in files.items()
    }
    while needs:
        ready = {name for name, others in needs.items() if not others & set(needs)}
        assert ready, f"these import each other in a circle: {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in ready}


def top_of(path: Path) -> str:
    """The statements of a module outside of functions and of what is for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module(body=top, type_ignores=[]))


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_takes_no_more_from_outside_than_it_may(room):
    packages = {
        name.partition(".")[0]
        for path in LIBRARY.joinpath(*room.split(".")).rglob("*.py") or files_of(room)
        for name in imports(path) - ours(path)
    }
    strangers = packages - sys.stdlib_module_names - {"fmnist_lib"} - OUTSIDE[room]
    assert not strangers, f"{room} must not import {', '.join(sorted(strangers))}"


def test_the_library_stays_small():
    """What makes evidence is for a sceptic's evening: 3,600 lines are the aim, and 7,500 in all."""
    folders = ("models", "data", "training", "runs", "execution")
    files = [*LIBRARY.glob("*.py"), *(p for f in folders for p in (LIBRARY / f).rglob("*.py"))]
    every = [p for p in LIBRARY.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= 3_700
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in every) <= 8_830


def test_nothing_draws_but_the_report():
    for room in set(MAY_IMPORT) - {"report", "report.figures"}:
        for path in files_of(room):
            packages = {name.partition(".")[0] for name in imports(path)}
            drawing = packages & {"matplotlib", "seaborn", "nbconvert", "weasyprint"}
            assert not drawing, f"{path.relative_to(ROOT)} must not import {drawing}"


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
    assert imported_by(text, "fmnist_lib.report") == {
        "fmnist_lib.training.loop",
        "fmnist_lib.runs.run",
        "fmnist_lib.models.vit_tiny.ViTTiny",
        "fmnist_lib.report.paper",
        "fmnist_lib.report.words.join",
        "torch.nn",
    }
