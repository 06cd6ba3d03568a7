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
DEPENDENCIES = [
    Requirement(text)
    for text in (
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["dev"],
    )
]
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
}  # the others are called the same
CONDA_OWN = {"python", "pip", "setuptools", "pango"}
PANGO = ("libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0")

needs_make = pytest.mark.skipif(
    os.name == "nt" or shutil.which("make") is None, reason="there is no make here"
)
needs_sh = pytest.mark.skipif(os.name == "nt", reason="the check is for systems with a POSIX shell")


# Package lists


def locked_packages():
    """requirements.lock as (requirement, number of hashes) pairs."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    packages = []
    for line in text.splitlines():
        head, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        packages.append((Requirement(head), len(hashes)))
    return packages


def test_lock_pins_every_package_by_version_and_hash():
    packages = locked_packages()
    assert len(packages) > len(DEPENDENCIES)
    for requirement, hashes in packages:
        assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
        assert hashes > 0, f"{requirement.name} has no hash"


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda dependency: dependency.name)
def test_lock_has_every_dependency_within_its_range(dependency):
    versions = [
        str(requirement.specifier).removeprefix("==")
        for requirement, _ in locked_packages()
        if canonicalize_name(requirement.name) == canonicalize_name(dependency.name)
    ]
    assert versions, f"{dependency.name} is not in requirements.lock: make lock"
    assert all(dependency.specifier.contains(version) for version in versions)


@pytest.mark.parametrize(
    ("system", "platform"),
    [("Darwin", "darwin"), ("Windows", "win32")],
)
def test_lock_keeps_the_cuda_packages_on_linux(system, platform):
    there = {"platform_system": system, "sys_platform": platform}
    linux = {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64"}
    cuda = [
        requirement
        for requirement, _ in locked_packages()
        if re.match(r"(nvidia|cuda|triton)\b", requirement.name)
    ]
    assert {"triton", "nvidia-cudnn-cu13"} <= {requirement.name for requirement in cuda}
    for requirement in cuda:
        assert requirement.marker is not None, requirement
        assert not requirement.marker.evaluate(there), requirement
        assert requirement.marker.evaluate({**linux, "python_full_version": "3.12.0"}), requirement


def test_lock_says_how_it_is_made():
    head = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()[:2]
    assert "make lock" in head[1]


def test_conda_environment_is_in_step_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = {}
    *lines, last = environment["dependencies"]
    for line in [*lines, *last["pip"]]:
        name, limits = re.fullmatch(r"([a-z0-9_.-]+)(.*)", line).groups()
        packages[name] = limits
    python = packages["python"].removeprefix("=")
    assert SpecifierSet(PYPROJECT["project"]["requires-python"]).contains(python)
    (build,) = map(Requirement, PYPROJECT["build-system"]["requires"])
    assert packages["setuptools"] == str(build.specifier)
    assert {name: limits for name, limits in packages.items() if name not in CONDA_OWN} == {
        CONDA_NAMES.get(dependency.name, dependency.name): str(dependency.specifier)
        for dependency in DEPENDENCIES
    }
    assert set(packages) > CONDA_OWN


# Makefile


def run(command, folder, **environment):
    """Run `command` in `folder` with stdout and stderr in one, free of an outer make's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    inherited.pop("PYTHON", None)
    return subprocess.run(
        command,
        cwd=folder,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
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
def test_a_half_finished_environment_is_built_anew(clone):
    # A Python whose environments have a pip that fails as long as the file `broken` is there.
    script(clone / "pip", '[ "$1" != -m ] || { echo "pip $*" >> calls; ! [ -e broken ]; }')
    python = script(
        clone / "python3",
        'case "$*" in\n'
        "  *version_info*) echo 3.12 ;;\n"
        '  "-m venv"*) echo "$*" >> calls; mkdir -p .venv/bin; cp pip .venv/bin/python ;;\n'
        "esac",
    )
    script(clone / "df", "echo head; echo fs 0 0 99999999 0% /")
    environment = {"PYTHON": str(python), "PATH": f"{clone}{os.pathsep}{os.environ['PATH']}"}
    calls = clone / "calls"
    calls.touch()

    def make():
        before = len(calls.read_text().splitlines())
        outcome = run(["make", ".venv/.ready"], clone, **environment)
        return outcome, calls.read_text().splitlines()[before:]

    (clone / "broken").touch()
    outcome, called = make()
    assert outcome.returncode != 0, outcome.stdout
    assert not (clone / ".venv/.ready").exists()

    (clone / "broken").unlink()
    outcome, called = make()
    assert outcome.returncode == 0, outcome.stdout
    assert called[0] == "-m venv --clear .venv"
    assert "--require-hashes -r requirements.lock" in called[1]
    assert "--no-deps --no-build-isolation -e ." in called[2]

    assert make()[1] == []  # finished: nothing to do

    os.utime(clone / "requirements.lock", (2**32 - 1, 2**32 - 1))
    _, called = make()
    assert len(called) == 2  # another list of packages: installed into the same environment
    assert not any("venv --clear" in call for call in called)


@needs_make
def test_an_environment_copied_with_its_folder_is_built_anew(clone, tmp_path):
    (clone / ".venv").mkdir()
    (clone / ".venv/.ready").write_text(f"{clone}\n")
    assert "venv --clear" not in run(["make", "-n", ".venv/.ready"], clone).stdout
    moved = clone.rename(tmp_path / "moved")
    assert "venv --clear" in run(["make", "-n", ".venv/.ready"], moved).stdout


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


def check(machine, **environment):
    shell = shutil.which("sh")
    return run([shell, str(ROOT / "setup_check.sh")], machine, PATH=str(machine), **environment)


@needs_sh
def test_check_is_silent_on_a_machine_that_has_everything(machine):
    outcome = check(machine)
    assert (outcome.returncode, outcome.stdout) == (0, "")


@needs_sh
def test_check_names_all_that_is_missing_with_one_line_to_install_it(machine):
    (machine / "git").unlink()
    (machine / "python3").unlink()
    outcome = check(machine)
    assert outcome.returncode == 1
    assert "git is missing" in outcome.stdout
    assert "python3 is missing" in outcome.stdout
    assert "apt-get install git python3 python3-venv\n" in outcome.stdout


@needs_sh
@pytest.mark.parametrize(
    ("name", "package"),
    [("python3", "python3-venv"), ("python3.13", "python3.13-venv")],
)
def test_check_names_the_venv_package_of_the_python_asked_for(machine, name, package):
    # Debian's python3 without python3-venv can import venv but not ensurepip.
    script(
        machine / name,
        'case "$*" in *version_info*) echo 3.13 ;; *ensurepip*) exit 1 ;; esac',
    )
    outcome = check(machine, PYTHON=name)
    assert outcome.returncode == 1
    assert f"{name} cannot make virtual environments" in outcome.stdout
    assert f"apt-get install {package}\n" in outcome.stdout


@needs_sh
@pytest.mark.parametrize("version", ["2.7", "3.10", "3.15"])
def test_check_refuses_a_python_that_is_too_old_or_too_new(machine, version):
    script(machine / "python3", f"echo {version}")
    outcome = check(machine)
    assert outcome.returncode == 1
    assert f"Python {version}; 3.11 to 3.14 is needed" in outcome.stdout
    assert "PYTHON=python3.12 make report" in outcome.stdout


@needs_sh
def test_check_wants_disk_for_a_new_environment_only(machine):
    script(machine / "df", "echo head; echo fs 0 0 3000000 0% /")
    outcome = check(machine)
    assert outcome.returncode == 1
    assert "2 GB of disk are free here" in outcome.stdout
    (machine / ".venv").mkdir()
    (machine / ".venv/.ready").touch()
    assert check(machine).returncode == 0


@needs_sh
def test_check_only_warns_about_the_libraries_of_the_pdf(machine):
    script(machine / "python3", 'case "$*" in *version_info*) echo 3.12 ;; -) exit 1 ;; esac')
    outcome = check(machine)
    assert outcome.returncode == 0
    assert f"apt-get install {' '.join(PANGO)}\n" in outcome.stdout


@pytest.mark.parametrize(
    "name", ["README.md", "setup_check.sh", ".ci/run", ".github/workflows/test.yml"]
)
def test_system_packages_are_the_same_everywhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert " ".join(PANGO) in text
    assert "python3-venv" in text


# Papers


def test_citation_names_this_work_the_paper_and_the_data():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["title"].startswith("fmnist-benchmark")
    assert citation["authors"] == [{"name": "The fmnist-benchmark authors"}]
    assert citation["license"] == PYPROJECT["project"]["license"]
    paper, data = citation["references"]
    assert paper["title"] == "Benchmarking Lightweight CNN Architectures on FashionMNIST"
    assert [author["family-names"] for author in paper["authors"]] == ["Edén Wallberg", "Karolin"]
    assert [author["family-names"] for author in data["authors"]] == ["Xiao", "Rasul", "Vollgraf"]
    assert data["identifiers"] == [{"type": "other", "value": "arXiv:1708.07747"}]
    assert all(reference["type"] for reference in (paper, data))


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"] == fmnist_lib.__version__


def test_licence_is_mit():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License")
    assert "2026 The fmnist-benchmark authors" in text


def test_readme_names_the_two_commands_and_existing_files():
    assert {"make report", "make test"} <= set(re.findall(r"make \w+", README))
    for name in ("requirements.lock", "environment.yml", "CITATION.cff", "LICENSE"):
        assert f"{name}" in README
        assert (ROOT / name).is_file()


def test_readme_lists_the_options_of_the_command():
    told = run([sys.executable, "run_all.py", "--help"], ROOT).stdout
    options = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", told, re.MULTILINE)) - {"--help"}
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))


def test_no_tracked_file_names_a_registry():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    names = run([git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).stdout
    hosts = re.compile(
        rb"pypi\.org|pythonhosted\.org|anaconda\.org|npmjs\.org|(deb|ftp)\.debian\.org"
        rb"|archive\.ubuntu\.com|download\.pytorch\.org"
    )
    files = [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
    assert ROOT / "Makefile" in files
    assert [str(file) for file in files if hosts.search(file.read_bytes())] == []
