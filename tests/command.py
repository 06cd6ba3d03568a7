"""The command, given in this process, and what a folder holds before and after; not a test."""

from pathlib import Path

import run_all


def command(*arguments) -> int:
    """The status the command ends with."""
    return run_all.run(run_all.parse_arguments([*map(str, arguments)]))


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
