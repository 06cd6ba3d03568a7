"""The set-up: package lists in step with each other, the Makefile, the machine check, the papers.

Nothing is installed and nothing is downloaded here: where a target would do so, it gets stand-ins.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import fmnist_lib
from fmnist_lib.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = PYPROJECT["project"]
NEEDED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
DEPENDENCIES = [Requirement(text) for text in NEEDED]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # most are called the same
CONDA_NAMES |= {"playwright": "playwright-python", "jupyter-client": "jupyter_client"}
CONDA_OWN = {"python", "pip", "setuptools", "pango"}
PANGO = ("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0")

needs_make = pytest.mark.skipif(
    os.name == "nt" or shutil.which("make") is None, reason="there is no make here"
)
needs_sh = pytest.mark.skipif(os.name == "nt", reason="the check is for systems with a POSIX shell")


# Package lists


# requirements.lock as pairs of a requirement and its number of hashes
LOCK = re.split(r"\n(?=\w)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
LOCK = [(Requirement(re.split(r" \\\n|\n", e)[0]), e.count("--hash=sha256:")) for e in LOCK[1:]]


def test_lock_pins_every_package_by_version_and_hash_each_dependency_within_its_range():
    versions = {}
    for requirement, hashes in LOCK:
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert hashes > 0, f"{requirement.name} has no hash"
        versions.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    for dependency in DEPENDENCIES:
        pinned = versions.get(canonicalize_name(dependency.name))
        assert pinned, f"{dependency.name} is not in requirements.lock: make lock"
        assert all(str(r.specifier)[2:] in dependency.specifier for r in pinned), dependency


def test_lock_keeps_the_cuda_packages_on_linux():
    cuda = [r for r, _ in LOCK if re.match(r"(nvidia|cuda|triton)\b", r.name)]
    assert {"triton", "nvidia-cudnn-cu13"} <= {requirement.name for requirement in cuda}
    about = {"platform_machine": "x86_64", "python_full_version": "3.12.0"}
    for system, platform in (("Linux", "linux"), ("Darwin", "darwin"), ("Windows", "win32")):
        there = {"platform_system": system, "sys_platform": platform, **about}
        assert {r.marker.evaluate(there) for r in cuda} == {system == "Linux"}


def test_conda_environment_is_in_step_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *lines, last = environment["dependencies"]
    found = [re.fullmatch(r"([a-z0-9_.-]+)(.*)", line).groups() for line in [*lines, *last["pip"]]]
    packages = {name: limits for name, limits in found if name not in CONDA_OWN}
    own = {name: limits for name, limits in found if name in CONDA_OWN}
    assert own.keys() == CONDA_OWN
    assert own["python"].removeprefix("=") in SpecifierSet(PROJECT["requires-python"])
    assert PYPROJECT["build-system"]["requires"] == [f"setuptools{own['setuptools']}"]
    assert packages == {CONDA_NAMES.get(d.name, d.name): str(d.specifier) for d in DEPENDENCIES}


# Makefile


def run(command, folder, **environment):
    """Run `command` in `folder` with stdout and stderr in one, free of an outer make's settings."""
    inherited = {n: v for n, v in os.environ.items() if n[:4] != "MAKE" and n != "PYTHON"}
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(
        command, cwd=folder, env=inherited | environment, text=True, timeout=60, **how
    )


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile and what it reads, in a path with a space."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "setup_check.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@needs_make
def test_make_alone_lists_every_target():
    listed = run(["make", "--no-print-directory"], ROOT).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
    targets = set(phony.split()) - {"moved"}
    assert {"report", "test", "smoke", "lab", "data", "lock", "lint", "clean"} < targets
    assert set(re.findall(r"^  make ([\w-]+)  +\S", listed, re.MULTILINE)) == targets


@needs_make
def test_clean_spares_what_cost_time_and_distclean_says_what_it_deletes(clone):
    kept = ["runs/lenet5-s0/record.json", "data/FashionMNIST/raw/images", ".venv/__pycache__/x"]
    deleted = ["build/paper/index.html", ".ruff_cache/x", "fmnist_lib/models/__pycache__/x.pyc"]
    for name in kept + deleted:
        (clone / name).parent.mkdir(parents=True)
        (clone / name).touch()

    assert run(["make", "clean"], clone).returncode == 0
    assert [name for name in kept + deleted if (clone / name).exists()] == kept

    outcome = run(["make", "distclean"], clone)
    assert outcome.returncode == 0
    assert [name for name in kept if (clone / name).exists()] == []
    for folder in (".venv", "data", "runs"):
        assert re.search(rf"^\S+\s+{re.escape(folder)}$", outcome.stdout, re.MULTILINE)


@needs_make
def test_a_half_finished_or_copied_environment_is_built_anew(clone):
    # A Python whose environments have a pip that fails as long as the file `broken` is there.
    script(clone / "pip", '[ "$1" != -m ] || { echo "pip $*" >> calls; ! [ -e broken ]; }')
    python = script(
        clone / "python3",
        'case "$*" in *version_info*) echo 3.12 ;;\n'
        '"-m venv"*) echo "$*" >> calls; mkdir -p .venv/bin; cp pip .venv/bin/python ;; esac',
    )
    script(clone / "df", "echo head; echo fs 0 0 99999999 0% /")
    environment = {"PYTHON": str(python), "PATH": f"{clone}{os.pathsep}{os.environ['PATH']}"}
    (clone / "calls").touch()

    def make(status=0):
        before = len((clone / "calls").read_text().splitlines())
        outcome = run(["make", ".venv/.ready"], clone, **environment)
        assert (outcome.returncode == 0) is (status == 0), outcome.stdout
        return (clone / "calls").read_text().splitlines()[before:]

    (clone / "broken").touch()
    make(status=2)
    assert not (clone / ".venv/.ready").exists()
    (clone / "broken").unlink()
    new, locked, own = make()
    assert new == "-m venv --clear .venv"
    assert "--require-hashes -r requirements.lock" in locked
    assert "--no-deps --no-build-isolation -e ." in own
    assert make() == []  # finished: nothing to do
    os.utime(clone / "requirements.lock", (2**32 - 1, 2**32 - 1))
    assert len(make()) == 2  # another list of packages: installed into the same environment
    (clone / ".venv/.ready").write_text("another folder\n")  # copied with its folder
    assert make()[0] == new


# The machine check


@pytest.fixture
def machine(tmp_path):
    """A folder for PATH with stand-ins for all that is needed; tests take things away."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script(folder / "uname", 'case "$1" in -m) echo x86_64 ;; *) echo Linux ;; esac')
    script(folder / "df", "echo head; echo fs 0 0 99999999 0% /")
    script(folder / "git", "")
    script(folder / "python3", 'case "$*" in *version_info*) echo 3.12 ;; esac')
    (folder / "awk").symlink_to(shutil.which("awk"))
    return folder


NOT_A_VENV = 'case "$*" in *version_info*) echo 3.13 ;; *ensurepip*) exit 1 ;; esac'
NO_PANGO = 'case "$*" in *version_info*) echo 3.12 ;; -) exit 1 ;; esac'
SMALL = "echo head; echo fs 0 0 3000000 0% /"
V = ("2.7", "3.10", "3.15")
NO_GIT, NO_PYTHON, OLD = {"git": None}, {"python3": None}, "Python {}; 3.11 to 3.14 is needed"
CHECKS = [  # stand-ins (None: missing), the status, what is said
    ({}, 0, []),
    (NO_GIT | NO_PYTHON, 1, ["git is missing", "apt-get install git python3 python3-venv\n"]),
    # Debian's python3 without python3-venv can import venv but not ensurepip.
    ({"python3": NOT_A_VENV}, 1, ["python3 cannot make", "apt-get install python3-venv\n"]),
    ({"python3.13": NOT_A_VENV}, 1, ["python3.13 cannot", "apt-get install python3.13-venv\n"]),
    *(({"python3": f"echo {v}"}, 1, [OLD.format(v), "PYTHON=python3.12 make report"]) for v in V),
    ({"df": SMALL}, 1, ["2 GB of disk are free here"]),
    ({"python3": NO_PANGO}, 0, [f"apt-get install {' '.join(PANGO)}\n"]),
]


@needs_sh
@pytest.mark.parametrize(("changes", "status", "said"), CHECKS, ids=lambda value: str(value)[:50])
def test_the_machine_check_names_what_is_missing(machine, changes, status, said):
    for name, text in changes.items():
        (machine / name).unlink() if text is None else script(machine / name, text)
    command = [shutil.which("sh"), str(ROOT / "setup_check.sh")]
    python = {"PYTHON": "python3.13"} if "python3.13" in changes else {}
    outcome = run(command, machine, PATH=str(machine), **python)
    assert outcome.returncode == status
    assert all(words in outcome.stdout for words in said)
    assert said or not outcome.stdout
    if "df" in changes:  # a concern of a new environment only
        (machine / ".venv").mkdir()
        (machine / ".venv/.ready").touch()
        assert run(command, machine, PATH=str(machine)).returncode == 0


@pytest.mark.parametrize(
    "name", ["README.md", "setup_check.sh", ".ci/run", ".github/workflows/test.yml"]
)
def test_system_packages_are_the_same_everywhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert " ".join(PANGO) in text
    assert "python3-venv" in text


# Papers


def test_the_papers_say_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"] == fmnist_lib.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"


def test_readme_lists_the_options_of_the_command():
    told = run([sys.executable, "run_all.py", "--help"], ROOT).stdout
    options = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))


def test_no_tracked_file_names_a_registry():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    hosts = "pypi\\.org|pythonhosted\\.org|anaconda\\.org|npmjs\\.org|(deb|ftp)\\.debian\\.org"
    hosts += "|archive\\.ubuntu\\.com|download\\.pytorch\\.org"
    found = run([git, "grep", "--untracked", "-lE", hosts], ROOT)
    assert (found.stdout, found.returncode) == ("", 1)  # 1: nothing found
