"""The store of runs: the only reader and writer of their files.

A store is a folder with one sub-folder a run: `record.json`, written last, beside the arrays, named
by their digest (`predictions-<sha256>.safetensors` and, in the local store alone, `weights-…`), so
that rules with the same best epoch share them; older runs named them by rule. Costs lie in
`costs/`. A run appears whole or not at all: written as `.new-<name>`, and one that it replaces
is `.old-<name>` for the moment between two renames. Whoever is stopped there leaves a store that
reads as before.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        """Hold the store for writing; raise `UserError` at once where that cannot be.

        Another process may hold it, or the folder may refuse one of the steps of writing a run:
        all of them are taken on trial, before any work.
        """
        holder, lock = self.folder / ".holder", FileLock(self.folder / ".lock", timeout=0)
        with self._told_plainly(UserError):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                by = holder.read_text() if holder.exists() else "unknown"
                raise UserError(
                    f"{self.folder}: another process (id {by}) is writing to this record store; "
                    "wait until it has finished"
                ) from None
        try:
            with self._told_plainly(UserError):
                holder.write_text(str(os.getpid()))
                for _ in range(2):  # a new run, and one that replaces it
                    self._put(".trial", {"trial": b"trial"})
                shutil.rmtree(self.folder / ".trial")
            yield
        finally:
            with suppress(OSError):
                holder.unlink()
            lock.release()

    @contextmanager
    def _told_plainly(self, kind: type[Exception]) -> Iterator[None]:
        """Turn what the system refuses (a full or read-only disk) into one line for the user.

        That is bad input before any work and a failure in the midst of it.
        """
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter: a disk without locks
            fault = getattr(error, "strerror", None) or error
            raise kind(f"{self.folder}: cannot be written to ({fault})") from None

    def write(self, output: RunOutput, *, with_weights: bool = True) -> None:
        """Store a run, whole or not at all; raise `FailedError` when the disk is full or read-only.

        An earlier run of that name stays readable until the new one takes its place.
        """
        record, weights = output.record, output.weights if with_weights else {}
        files = {
            file_name(kind, record, rule): records.encode_arrays(arrays)
            for kind, by_rule in (("predictions", output.predictions), ("weights", weights))
            for rule, arrays in by_rule.items()
        }
        with self._told_plainly(FailedError):
            self._put(record.name, {**files, "record.json": records.encode(record)})

    def _put(self, name: str, files: dict[str, bytes]) -> None:
        """Put a folder with these files, written in their order, in the place of what is there."""
        check_names(name, *files)
        folder, new, old = (self.folder / f"{prefix}{name}" for prefix in ("", ".new-", ".old-"))
        try:
            shutil.rmtree(new, ignore_errors=True)  # what a killed process may have left
            for file, content in files.items():
                write_atomically(new / file, content)
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(folder, old)
            os.replace(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)

    def write_cost(self, cost: CostRecord) -> None:
        """Store a cost measurement; raise as `write` does."""
        check_names(cost.name)
        with self._told_plainly(FailedError):
            write_atomically(self.folder / "costs" / f"{cost.name}.json", records.encode(cost))

    def folder_of(self, name: str) -> Path:
        """Return where a run lies: aside if whoever was replacing it was stopped on the way."""
        folder, old = self.folder / name, self.folder / f".old-{name}"
        return old if old.exists() and not folder.exists() else folder

    def path_of(self, record: RunRecord, kind: str, rule: str) -> Path:
        """Return where a run's `predictions` or `weights` under a rule lie, if there are any."""
        path = self.folder_of(record.name) / file_name(kind, record, rule)
        older = path.with_name(f"{kind}-{rule}.safetensors")
        return older if older.exists() and not path.exists() else path

    def find(self, config: RunConfig) -> RunRecord | None:
        """Return the record of `config` with all rules it asks for, or None.

        A damaged one is set aside with a warning that names it, and counts as absent; so does one
        whose settings are not those its name stands for. A folder without a record is a run that
        another process is writing, or that was cut short: absent.
        """
        folder = self.folder_of(config.name)
        if not (folder / "record.json").exists():
            return None
        try:
            record = self.read(config.name)
            if difference := records.describe_difference(record.config, config):
                raise DamagedRecordError(f"{folder}: is of another run ({difference})")
        except DamagedRecordError as error:
            self._reject(folder, f"{error}; the run counts as missing")
            return None
        return record if {rule.name for rule in config.rules} <= set(record.stops) else None

    def why_missing(self, config: RunConfig) -> str:
        """Return, for a run that `find` does not find, what the store has instead, by name."""
        alike = [n for n in self.names() if n.startswith(f"{config.model}-s{config.seed}-")]
        reasons = [] if alike else ["no record of this model and seed"]
        for name in alike:
            try:
                record = self.read(name)
                reason = records.describe_difference(record.config, config)
            except DamagedRecordError as error:
                reason = str(error)
            if not reason and name == config.name:
                lacking = [rule.name for rule in config.rules if rule.name not in record.stops]
                reason = f"its record lacks {', '.join(lacking)}"
            reasons.append(reason or "training code or data have changed since")
        return min(reasons, key=len)  # the nearest relative

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
        path = self.folder_of(name) / "record.json"
        record = records.decode(path, RunRecord)
        if record.name != name:
            raise DamagedRecordError(f"{path}: name: the record is of another run ({record.name})")
        predictions = {rule: self.predictions(record, rule) for rule in record.stops}
        faults = records.contradictions(record, predictions, records.true_labels(record.config))
        if faults:
            raise DamagedRecordError(f"{path}: {'; '.join(faults)}")
        return record

    def predictions(self, record: RunRecord, rule: str) -> Arrays:
        """Return `predicted`, `probability`, `probability_of_true` of each test image, checked."""
        path = self.path_of(record, "predictions", rule)
        return read_arrays(path, record.stops[rule].predictions_sha256)

    def weights(self, record: RunRecord, rule: str) -> Arrays | None:
        """Return the best weights under a rule, checked; None where they were not kept.

        Damaged ones are set aside with a warning that names them, and count as not kept: the run's
        results rest on its predictions.
        """
        path = self.path_of(record, "weights", rule)
        if not path.exists():
            return None
        try:
            return read_arrays(path, record.stops[rule].weights_sha256)
        except DamagedRecordError as error:
            self._reject(path, f"{error}; train the run again with --force to have them back")
            return None

    def names(self) -> list[str]:
        """Return the names of all runs in the store, sorted."""
        found = {p.parent.name.removeprefix(".old-") for p in self.folder.glob("*/record.json")}
        return sorted(name for name in found if not name.startswith("."))

    def runs(self) -> list[RunRecord]:
        """Return all runs; raise `DamagedRecordError` at the first bad one."""
        return [self.read(name) for name in self.names()]

    def readable(self, part: str = "") -> Iterator[RunRecord]:
        """Yield the runs with this part in their names, all but damaged ones.

        Whoever needs one of those is told of it then.
        """
        for name in (name for name in self.names() if part in name):
            with suppress(DamagedRecordError):
                yield self.read(name)

    def costs(self) -> list[CostRecord]:
        """Return all cost records but damaged ones, of which `find_cost` tells."""
        names = sorted(path.stem for path in self.folder.glob("costs/*.json"))
        return [cost for name in names if (cost := self.find_cost(name))]

    def copy(self, record: RunRecord, other: "RunStore", *, with_weights: bool = False) -> None:
        """Copy a run into another store (without its weights unless asked)."""
        predictions = {rule: self.predictions(record, rule) for rule in record.stops}
        weights = {rule: self.weights(record, rule) for rule in record.stops if with_weights}
        kept = {rule: arrays for rule, arrays in weights.items() if arrays is not None}
        other.write(RunOutput(record, predictions, kept))


def read_arrays(path: Path, expected: str) -> Arrays:
    """Return the arrays in a file; raise `DamagedRecordError` unless `expected` is their digest."""
    try:
        arrays = safetensors.numpy.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        fault = getattr(error, "strerror", None) or error
        raise DamagedRecordError(f"{path}: cannot be read ({fault})") from None
    if records.digest_arrays(arrays) != expected:
        raise DamagedRecordError(f"{path}: its content is not what the record says")
    return arrays


def set_aside(path: Path, store: Path) -> Path:
    """Move a damaged file or folder into the store's `damaged/`, never to be read; return where.

    One copy is kept of each, the last.
    """
    target = store / "damaged" / "-".join(path.relative_to(store).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(path, target)
    return target


def file_name(kind: str, record: RunRecord, rule: str) -> str:
    """Return the name of the file with a run's `predictions` or `weights` under a rule."""
    return f"{kind}-{getattr(record.stops[rule], f'{kind}_sha256')[:16]}.safetensors"


def check_names(*names: str) -> None:
    """Raise `DamagedRecordError` for a name that leads out of the folder it is to lie in."""
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise DamagedRecordError(f"{name!r}: is not the name of a file or folder")
