"""The flow of the house, held with `ast`: who may import whom. Data goes one way."""

import ast
import sys
from pathlib import Path

import pytest

from fmnist_lib.paths import ROOT

LIBRARY = ROOT / "fmnist_lib"

TOP = {"errors", "paths"}
BELOW = {*TOP, "data", "models", "training", "runs"}
# Each room with the rooms that it may import from, beside itself; a new room needs a line here. A
# file or folder of a room that is named has its own line.
MAY_IMPORT = {
    "errors": set(),
    "paths": set(),
    "models": set(),
    "runs.config": {"errors", "models"},
    "data": TOP,
    "training": {"data", "runs.config"},
    "training.checkpoint": {"training", "runs.config", "runs.environment", "runs.store"},
    "runs": {*TOP, "data", "models", "training"},
    "execution": BELOW,
    "results": {*TOP, "data", "models", "runs"},
    "claims": {*TOP, "models", "results", "runs"},
    "report": {*TOP, "claims", "data", "models", "results", "runs"},
    "report.figures": {"models", "results"},
    "commands": {*BELOW, "execution", "results", "claims", "report"},
}
# Packages from outside, where the choice is part of the design: what trains needs few, nothing
# but the report draws, and nobody knows the command, the notebooks or the tests.
OUTSIDE = {
    "errors": set(),
    "paths": set(),
    "models": {"torch"},
    "data": {"filelock", "numpy", "pooch", "torch", "torchvision"},
    "training": {"numpy", "torch"},
    "training.checkpoint": {"numpy", "torch"},
    "runs.config": {"pydantic", "torch"},
    "runs": {"cpuinfo", "filelock", "loky", "numpy", "psutil", "pydantic", "safetensors", "torch"},
    "execution": {"loky", "torch"},
    "results": {"numpy", "pandas", "scipy", "statsmodels"},
    "claims": {"numpy", "pandas", "scipy", "statsmodels"},
    "commands": {"nbformat", "numpy", "pandas", "yaml"},
}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, at its top or later: modules, or names in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2, f"{path}: an import from another folder says which"
            folder = path.relative_to(ROOT).parent.as_posix().replace("/", ".")
            source = ".".join(filter(None, [folder if node.level else "", node.module]))
            names |= {f"{source}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names


def room_of(path: Path) -> str:
    """The room a file belongs to, the narrowest that is named; empty if none is."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in MAY_IMPORT), "")


def files_of(room: str) -> list[Path]:
    return [path for path in LIBRARY.rglob("*.py") if room_of(path) == room]


def test_every_room_is_known_and_all_imports_are_read():
    assert {room_of(path) for path in LIBRARY.rglob("*.py")} == {*MAY_IMPORT, ""}
    assert files_of("") == [LIBRARY / "__init__.py"]
    here = imports(LIBRARY / "models" / "__init__.py") | imports(Path(__file__))
    assert {"fmnist_lib.models.lenet5.LeNet5", "fmnist_lib.paths.ROOT", "ast"} <= here


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    open_rooms = tuple(f"fmnist_lib.{each}." for each in {room, *MAY_IMPORT[room]})
    for path in files_of(room):
        ours = {name for name in imports(path) if name.startswith("fmnist_lib.")}
        strangers = {name for name in ours if not f"{name}.".startswith(open_rooms)}
        assert not strangers, f"{path.relative_to(ROOT)} must not import {strangers}"


@pytest.mark.parametrize("room", OUTSIDE)
def test_a_room_takes_no_more_from_outside_than_it_may(room):
    for path in files_of(room):
        strangers = packages(path) - {"fmnist_lib"} - OUTSIDE[room]
        assert not strangers, f"{path.relative_to(ROOT)} must not import {strangers}"


def test_the_command_imports_the_library_alone_which_knows_no_command_and_no_test():
    assert packages(ROOT / "run_all.py") == {"fmnist_lib"}
    for path in LIBRARY.rglob("*.py"):
        assert not packages(path) & {"run_all", "notebooks", "tests", "pytest"}, path


def test_the_library_stays_small():
    """What makes evidence is for a sceptic's evening: 3,600 lines; 7,500 in all are the aim."""
    folders = ("models", "data", "training", "runs", "execution")
    files = [*LIBRARY.glob("*.py"), *(p for f in folders for p in (LIBRARY / f).rglob("*.py"))]
    every = [p for p in LIBRARY.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= 3_600
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in every) <= 9_203
