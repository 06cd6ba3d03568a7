"""Where a number was measured: whose commit, how many cores, and which code."""

import builtins
import os
import subprocess
import sys

import dask.system
import pytest

from fmnist_lib.paths import ROOT
from fmnist_lib.runs import environment
from fmnist_lib.runs.environment import RULES, TRAINING_CODE, definitions_in, usable_cores

# --- the commit --------------------------------------------------------------------------------


def run_git(folder, *arguments):
    who = ("-c", "user.name=A", "-c", "user.email=a@b")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=outside,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def repository(folder):
    folder.mkdir(parents=True)
    run_git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.log\n")
    run_git(folder, "add", ".gitignore")
    run_git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def project(monkeypatch):
    """Put the project elsewhere: a function of the folder."""

    def forget():
        for function in (environment.git, environment.missing_commit_reason):
            function.cache_clear()

    def move(folder):
        monkeypatch.setattr(environment, "ROOT", folder.resolve())
        for digest in ("code_sha256", "rules_sha256"):  # there is no code
            monkeypatch.setattr(environment, digest, lambda: "")
        forget()

    yield move
    monkeypatch.undo()
    forget()


def commit():
    return environment.describe_environment().commit


def test_the_commit_is_that_of_the_projects_own_checkout(tmp_path, project):
    own = repository(tmp_path / "own")
    project(own)
    assert commit() == run_git(own, "rev-parse", "HEAD")
    assert environment.missing_commit_reason() is None
    (tmp_path / "link").symlink_to(own)
    project(tmp_path / "link")
    assert commit() == run_git(own, "rev-parse", "HEAD")


def test_a_tarball_in_anothers_repository_has_not_its_commit(tmp_path, project):
    inside = repository(tmp_path / "another") / "vendor" / "project"
    inside.mkdir(parents=True)
    project(inside)
    assert commit() is None
    assert environment.describe_environment().dirty is None
    assert "belongs to another repository" in environment.missing_commit_reason()


@pytest.mark.parametrize("own", [False, True], ids=["tarball", "checkout"])
def test_what_a_hook_says_of_its_repository_is_not_said_of_ours(
    tmp_path, project, monkeypatch, own
):
    other = repository(tmp_path / "another")
    (other / "more").touch()
    run_git(other, "add", "more")
    run_git(other, "commit", "-q", "-m", "second")
    here = tmp_path / "here"
    repository(here) if own else here.mkdir()
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": here,
        "GIT_INDEX_FILE": other / ".git" / "index",
        "GIT_OBJECT_DIRECTORY": other / ".git" / "objects",
        "GIT_COMMON_DIR": other / ".git",
        "GIT_NAMESPACE": "x",
        "GIT_CEILING_DIRECTORIES": tmp_path,
        "GIT_PREFIX": "x/",
    }.items():
        monkeypatch.setenv(name, str(value))
    project(here)
    assert commit() == (run_git(here, "rev-parse", "HEAD") if own else None)
    assert environment.describe_environment().dirty is (False if own else None)


def test_why_there_is_no_commit_is_said_in_a_line(tmp_path, project, monkeypatch):
    project(tmp_path)
    assert environment.missing_commit_reason() == f"{tmp_path} is not a git checkout"
    empty = tmp_path / "empty"
    empty.mkdir()
    run_git(empty, "init", "-q")
    project(empty)
    assert environment.missing_commit_reason() == f"{empty} has no commit yet"
    own = repository(tmp_path / "own")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        project(own)
        assert "is it installed?" in environment.missing_commit_reason()
        assert commit() is None


def test_a_checkout_of_another_user_is_refused_by_git_and_that_is_said(
    tmp_path, project, monkeypatch
):
    own = repository(tmp_path / "own")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root: the folder is given to someone else")
    for path in (own, own / ".git"):
        os.chown(path, 12345, 12345)
    project(own)
    reason = environment.missing_commit_reason()
    assert reason.startswith("git refuses: fatal: detected dubious ownership")
    assert "\n" not in reason
    assert commit() is None


@pytest.mark.parametrize(
    ("file", "dirty"), [(None, False), ("a.log", False), ("a.py", True), (".gitignore", True)]
)
def test_dirty_is_what_is_neither_committed_nor_ignored(tmp_path, project, file, dirty):
    own = repository(tmp_path / "own")
    run_git(own, "config", "status.showUntrackedFiles", "no")  # a user's own taste
    if file:
        (own / file).write_text("changed\n*.log\n")
    project(own)
    assert environment.describe_environment().dirty is dirty


# --- the processor -----------------------------------------------------------------------------


def test_the_containers_share_of_the_cores_counts(monkeypatch):
    """Half a machine of four cores; that Dask reads the right files is Dask's to test."""
    monkeypatch.setattr(dask.system, "_try_extract_cgroup_cpu_quota", lambda: (200_000, 100_000))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda _: list(range(4)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 4, raising=False)
    assert usable_cores() == 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="of Linux")
def test_without_dask_the_cores_that_the_process_is_bound_to_count(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.system", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7})
    assert usable_cores() == 3


def test_the_processor_has_a_name_without_the_package_that_knows_it(monkeypatch):
    def refuse(name, *arguments):
        if name == "cpuinfo":
            raise ImportError(name)
        return imported(name, *arguments)

    imported = builtins.__import__
    known = environment.cpu_name()
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert environment.cpu_name.__wrapped__()
    if "model name" in environment.Path("/proc/cpuinfo").read_text():
        assert environment.cpu_name.__wrapped__() == known


def test_it_imports_without_what_only_some_of_its_functions_need():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['psutil', 'cpuinfo', 'torchvision', "
        "'scipy', 'pandas', 'distributed', 'torchmetrics']));"
        "import fmnist_lib.runs.environment, fmnist_lib.runs.store"
    )
    done = subprocess.run(
        [environment.sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# --- the code ----------------------------------------------------------------------------------

SOURCE = '''
"""What it is for."""

import math
from a import b


def area(radius: float) -> float:
    """Return it."""
    if radius:
        import later  # not before

    return 3.14 * radius**2  # roughly


SIZE = 10
"""Of what."""


class Shape:
    """One."""

    sides = 4
'''
SAME = {
    "comments": SOURCE.replace("  # roughly", "  # exactly").replace("# not before", ""),
    "docstrings": SOURCE.replace('"""Return it."""', '"""Give it back."""\n    "twice"'),
    "no docstring": SOURCE.replace('    """One."""\n', ""),
    "imports": SOURCE.replace("import math", "import os, sys").replace("from a import b\n", ""),
    "layout": SOURCE.replace("3.14 * radius**2", "(\n        3.14 *\n        radius ** 2)"),
}
OTHER = {
    "a number": SOURCE.replace("3.14", "3.15"),
    "a constant": SOURCE.replace("SIZE = 10", "SIZE = 11"),
    "a member": SOURCE.replace("sides = 4", "sides = 5"),
    "a condition": SOURCE.replace("if radius:", "if not radius:"),
    "a default": SOURCE.replace("radius: float", "radius: float = 0"),
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """The digest of some files' code."""

    def digest(**files):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        room = root / "fmnist_lib" / "room"
        room.mkdir(parents=True)
        for name, text in files.items():
            (room / f"{name}.py").write_text(text)
        monkeypatch.setattr(environment, "ROOT", root)
        return environment.digest_of_code(["room"])

    return digest


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_number_leaves_the_digest(digest, change):
    assert SAME[change] != SOURCE
    assert digest(a=SAME[change]) == digest(a=SOURCE)


@pytest.mark.parametrize("change", OTHER)
def test_what_may_change_a_number_changes_it(digest, change):
    assert OTHER[change] != SOURCE
    assert digest(a=OTHER[change]) != digest(a=SOURCE)


def test_a_function_may_move_to_another_file(digest):
    head, function, rest = SOURCE.partition("def area")[0], *SOURCE.partition("\n\nSIZE")[::2]
    function = function.removeprefix(head)
    whole = digest(a=SOURCE)
    assert digest(a=head + "SIZE" + rest, b='"""Another room."""\n' + function) == whole
    assert digest(moved_whole=SOURCE) == whole
    assert digest(a=head + "SIZE" + rest) != whole  # and was not simply overlooked


def test_definitions_are_the_same_text_in_every_python():
    """A dump of the tree has other fields in each Python; code read back has not."""
    assert definitions_in('import x\nA = {"b": 1}\ndef f(): "Doc"\n') == [
        "A = {'b': 1}",
        "def f():",
    ]


@pytest.mark.parametrize("part", [*TRAINING_CODE, *RULES])
def test_all_that_is_digested_exists(part):
    assert (ROOT / "fmnist_lib" / part).exists()
