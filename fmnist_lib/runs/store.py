"""The store of runs: the only reader and writer of their files.

A folder with one sub-folder a run: `record.json` beside the arrays, named by their digest
(`predictions-<sha256>.safetensors.xz` and, in the local store alone, `weights-….safetensors`), so
that rules with the same best epoch share them. Costs lie in `costs/`. The record is written last
and in one step: before it there is no run, or still the one that it replaces. What is left over, by
a kill too, is removed when the run is next written.
"""

import lzma
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import safetensors.numpy
from filelock import FileLock, Timeout

from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import RunConfig
from fmnist_lib.runs.record import Arrays, CostRecord, DamagedRecordError, RunOutput, RunRecord


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # some shared folders know no modes
            os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class RunStore:
    """A folder of runs. Files are checked when read; damaged runs are set aside and named."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.read_only = read_only  # what is damaged there is named, but stays where it is

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for writing; raise `UserError` where another process does.

        Or where the folder refuses one of the steps of writing a run, which are tried at once.
        """
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            with self._told_plainly(UserError):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
                for file in ("new", "newer"):  # a run, and one that replaces it
                    self._put(".trial", {file: b"trial"})
                shutil.rmtree(self.folder / ".trial")
            yield
        finally:
            lock.release()

    @contextmanager
    def _told_plainly(self, kind: type[Exception]) -> Iterator[None]:
        """Turn what the system refuses (a full or read-only disk) into one line for the user."""
        try:
            yield
        except Timeout:
            fault = "another process is writing to this record store; wait until it has finished"
            raise kind(f"{self.folder}: {fault}") from None
        except (OSError, NotImplementedError) as error:  # the latter: a disk without locks
            fault = getattr(error, "strerror", None) or error
            raise kind(f"{self.folder}: cannot be written to ({fault})") from None

    def write(self, output: RunOutput) -> None:
        """Store a run, in place of an earlier one; raise `FailedError` where the disk refuses."""
        record, files = output.record, {}
        for kind in ("predictions", "weights"):
            for rule, arrays in getattr(output, kind).items():
                path, content = self.path_of(record, kind, rule), records.encode_arrays(arrays)
                # Predictions take a third of the space compressed.
                files[path.name] = lzma.compress(content) if path.suffix == ".xz" else content
        with self._told_plainly(FailedError):
            self._put(record.name, {**files, "record.json": records.encode(record)})

    def _put(self, name: str, files: dict[str, bytes]) -> None:
        """Write a run's files in their order, then remove what is none of them."""
        folder = self.folder / name
        try:
            for file, content in files.items():
                write_atomically(folder / file, content)
        except BaseException:
            if not (folder / "record.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        for path in folder.iterdir():
            if path.name not in files:
                path.unlink()

    def write_cost(self, cost: CostRecord) -> None:
        """Store a cost measurement; raise as `write` does."""
        with self._told_plainly(FailedError):
            write_atomically(self.folder / "costs" / f"{cost.name}.json", records.encode(cost))

    def path_of(self, record: RunRecord, kind: str, rule: str) -> Path:
        """Return where a run's `predictions` or `weights` under a rule lie, if there are any."""
        sha256 = getattr(record.stops[rule], f"{kind}_sha256")
        ending = ".safetensors.xz" if kind == "predictions" else ".safetensors"
        return self.folder / record.name / f"{kind}-{sha256[:16]}{ending}"

    def find(self, config: RunConfig) -> RunRecord | None:
        """Return the record with all rules asked for, or None; a damaged one is set aside."""
        folder = self.folder / config.name
        if not (folder / "record.json").exists():  # perhaps being written
            return None
        try:
            record = self.read(config.name)
        except DamagedRecordError as error:
            self._reject(folder, f"{error}; the run counts as missing")
            return None
        return record if {rule.name for rule in config.rules} <= set(record.stops) else None

    def with_recorded_rules(self, config: RunConfig) -> RunConfig:
        """Return the run with its record's rules besides, so that training again loses none."""
        try:
            recorded = [kept.rule for kept in self.read(config.name).stops.values()]
        except DamagedRecordError:  # or none at all
            return config
        more = tuple(rule for rule in recorded if rule not in config.rules)
        return config.model_copy(update={"stops": config.stops + more})

    def find_cost(self, name: str) -> CostRecord | None:
        """Return the cost record of that name, or None; a damaged one is set aside likewise."""
        path = self.folder / "costs" / f"{name}.json"
        if not path.exists():
            return None
        try:
            cost = records.decode(path, CostRecord)
            if (cost.name, cost.model) != (name, cost.config.model):
                raise DamagedRecordError(f"{path}: name: is {cost.name}, of {cost.model}")
            return cost
        except DamagedRecordError as error:
            self._reject(path, f"{error}; measured again")
            return None

    def _reject(self, path: Path, fault: str) -> None:
        try:
            if not self.read_only:
                fault += f" (kept as {set_aside(path, self.folder)})"
        except OSError as error:  # nothing is lost
            fault += f" (could not be set aside: {error.strerror})"
        warnings.warn(fault, stacklevel=3)

    def read(self, name: str) -> RunRecord:
        """Return a run's record, it and its predictions checked; raise `DamagedRecordError`."""
        try:
            return self._read(name)
        except DamagedRecordError:
            return self._read(name)  # perhaps it was replaced between two of its files

    def _read(self, name: str) -> RunRecord:
        path = self.folder / name / "record.json"
        record = records.decode(path, RunRecord)
        if record.name != name:
            raise DamagedRecordError(f"{path}: name: the record is of another run ({record.name})")
        predictions = {rule: self.arrays(record, "predictions", rule) for rule in record.stops}
        if faults := records.disagreements(record, predictions):
            raise DamagedRecordError(f"{path}: {'; '.join(faults)}")
        return record

    def arrays(self, record: RunRecord, kind: str, rule: str) -> Arrays:
        """Return the best `weights` under a rule, or `predictions`; raise `DamagedRecordError`.

        The latter are `predicted`, `probability`, `probability_of_true` of each test image.
        """
        path = self.path_of(record, kind, rule)
        return read_arrays(path, getattr(record.stops[rule], f"{kind}_sha256"))

    def names(self, start: str = "") -> list[str]:
        """Return the names of all runs in the store that start so, sorted."""
        return sorted(path.parent.name for path in self.folder.glob(f"{start}[!.]*/record.json"))

    def runs(self) -> list[RunRecord]:
        """Return all runs; raise `DamagedRecordError` at the first bad one."""
        return [self.read(name) for name in self.names()]

    def readable(self, start: str = "") -> Iterator[RunRecord]:
        """Yield all runs whose name starts so, but damaged ones, of which `find` tells."""
        for name in self.names(start):
            with suppress(DamagedRecordError):
                yield self.read(name)

    def costs(self) -> list[CostRecord]:
        """Return all cost records but damaged ones, of which `find_cost` tells."""
        names = sorted(path.stem for path in self.folder.glob("costs/*.json"))
        return [cost for name in names if (cost := self.find_cost(name))]

    def copy(self, record: RunRecord, other: "RunStore") -> None:
        """Copy a run into another store, without its weights."""
        predictions = {rule: self.arrays(record, "predictions", rule) for rule in record.stops}
        other.write(RunOutput(record, predictions, {}))


def read_arrays(path: Path, expected: str) -> Arrays:
    """Return the arrays in a file; raise `DamagedRecordError` unless `expected` is their digest."""
    if path.suffix == ".xz" and path.with_suffix("").exists():  # once they were not compressed
        path = path.with_suffix("")
    try:
        status = path.stat()
        arrays = _load(path, expected, (status.st_ino, status.st_size, status.st_mtime_ns))
    except (OSError, EOFError, ValueError, lzma.LZMAError, safetensors.SafetensorError) as error:
        fault = getattr(error, "strerror", None) or error
        raise DamagedRecordError(f"{path}: cannot be read ({fault})") from None
    return dict(arrays)


@lru_cache(maxsize=1000)
def _load(path: Path, expected: str, _as_of: tuple[int, ...]) -> Arrays:
    """Do so; a file that has not changed since is read once, where a report asks a dozen times."""
    with (lzma.open if path.suffix == ".xz" else open)(path, "rb") as file:
        arrays = safetensors.numpy.load(file.read())
    if records.digest_arrays(arrays) != expected:
        raise DamagedRecordError(f"{path}: its content is not what the record says")
    return arrays


def set_aside(path: Path, store: Path) -> Path:
    """Move what is damaged to the store's `damaged/`, over its last copy there; return where."""
    target = store / "damaged" / "-".join(path.relative_to(store).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(path, target)
    return target
