"""Where a number was measured: whose commit, how many cores, and which code."""

import os
import re
import subprocess
import sys

import pytest

from fmnist_lib.paths import ROOT
from fmnist_lib.runs import environment
from fmnist_lib.runs.environment import RULES, TRAINING_CODE, usable_cores

# --- the commit ---


def run_git(folder, *arguments):
    who = ("-c", "user.name=A", "-c", "user.email=a@b")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command, how = ["git", *who, *arguments], {"capture_output": True, "text": True, "check": True}
    return subprocess.run(command, cwd=folder, env=outside, **how).stdout.strip()


@pytest.fixture
def own(tmp_path):
    """A repository with one commit, which ignores logs."""
    folder = tmp_path / "own"
    folder.mkdir()
    run_git(folder, "init", "-q")
    (folder / ".gitignore").write_text("*.log\n")
    run_git(folder, "add", ".gitignore")
    run_git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def project(monkeypatch):
    """Put the project elsewhere: a function of the folder that returns its commit and `dirty`."""

    def move(folder):
        monkeypatch.setattr(environment, "ROOT", folder.resolve())
        monkeypatch.setattr(environment, "digest_of_code", lambda *_: "")  # there is no code
        environment.git.cache_clear()
        found = environment.describe_environment()
        return found.commit, found.dirty

    yield move
    monkeypatch.undo()
    environment.git.cache_clear()


@pytest.mark.parametrize("hook", [False, True])
def test_the_commit_is_that_of_the_projects_own_checkout(tmp_path, own, project, monkeypatch, hook):
    head, other = run_git(own, "rev-parse", "HEAD"), tmp_path / "other"
    if hook:  # which tells git of a repository of its own
        run_git(tmp_path, "clone", "-q", own, other)
        run_git(other, "commit", "-q", "--allow-empty", "-m", "second")
        of_git = {"DIR": "", "COMMON_DIR": "", "INDEX_FILE": "index", "OBJECT_DIRECTORY": "objects"}
        for name, path in {**of_git, "WORK_TREE": "..", "PREFIX": "x", "NAMESPACE": "x"}.items():
            monkeypatch.setenv(f"GIT_{name}", str(other / ".git" / path))
    (tmp_path / "link").symlink_to(own)
    inside = own / "vendor" / "project"
    inside.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    run_git(tmp_path / "empty", "init", "-q")
    assert project(own) == (head, False)
    assert project(tmp_path / "link") == (head, False)
    assert project(inside) == (None, None)  # a tarball in another's repository
    assert project(tmp_path) == (None, None)  # in none
    assert project(tmp_path / "empty")[0] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project(own) == (None, None)  # there is no git


CLEAN, CHANGED = ("", "a.log", "study/record.json"), ("a.py", ".gitignore", "old_study/a.py")


@pytest.mark.parametrize(
    ("file", "dirty"), [*((file, False) for file in CLEAN), *((file, True) for file in CHANGED)]
)
def test_dirty_is_what_is_neither_committed_nor_ignored_nor_a_record(own, project, file, dirty):
    run_git(own, "config", "status.showUntrackedFiles", "no")  # a user's own taste
    if file:
        (own / file).parent.mkdir(exist_ok=True)
        (own / file).write_text("changed\n*.log\n")
    assert project(own) == (run_git(own, "rev-parse", "HEAD"), dirty)


# --- the machine ---


def test_the_containers_share_of_the_cores_counts(monkeypatch):
    """Half a machine of four cores; that loky reads the right files is loky's to test."""
    monkeypatch.setattr("loky.backend.context._cpu_count_cgroup", lambda cores: 2)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert usable_cores() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_without_the_packages_that_know_the_system_tells(monkeypatch):
    known = environment.cpu_name()
    for name in ("loky", "cpuinfo"):
        monkeypatch.setitem(sys.modules, name, None)
    assert usable_cores() == 1
    assert environment.cpu_name.__wrapped__() in (known, environment.platform.machine())


# --- the code ---

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
SAME = [  # what is put in the place of what
    ("  # roughly", "  # exactly"),
    ('"""Return it."""', '"""Give it back."""\n    "twice"'),
    ('    """One."""\n', ""),
    ("import math\nfrom a import b\n", "import os, sys\n"),
    ("3.14 * radius**2", "(\n        3.14 *\n        radius ** 2)"),
]
OTHER = [
    ("3.14", "3.15"),
    ("3.14", "None"),
    ("sides = 4", "sides = 5"),
    ("if radius:", "if not radius:"),
    ("radius: float", "radius: float = 0"),
]


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
        return environment.digest_of_code.__wrapped__("room")

    return digest


@pytest.mark.parametrize(("old", "new"), SAME + OTHER)
def test_only_what_may_change_a_number_changes_the_digest(digest, old, new):
    assert old in SOURCE
    same = digest(a=SOURCE.replace(old, new)) == digest(a=SOURCE)
    assert same is ((old, new) in SAME)


def test_a_function_may_move_to_another_file(digest):
    head, function, rest = re.split(r"(def area.*?\n\n)", SOURCE, flags=re.DOTALL)
    whole = digest(a=SOURCE)
    assert digest(a=head + rest, b='"""Another room."""\n' + function) == whole
    assert digest(moved_whole=SOURCE) == whole
    assert digest(a=head + rest) != whole  # and was not simply overlooked


@pytest.mark.parametrize("part", [*TRAINING_CODE, *RULES])
def test_all_that_is_digested_exists(part):
    assert (ROOT / "fmnist_lib" / part).exists()
