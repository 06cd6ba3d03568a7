"""The store of runs: the only reader and writer of their files.

A store is a folder with one sub-folder a run: `record.json` beside `predictions-<rule>.safetensors`
and (in the local store alone) `weights-<rule>.safetensors`; costs lie in `costs/`. A run appears
whole or not at all: it is written as `.new-<name>`, and one that it replaces is `.old-<name>` for
the moment between two renames. Whoever is stopped there leaves a store that reads as before.
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

from fmnist_lib.runs.config import RunConfig
from fmnist_lib.errors import FailedError, UserError
from fmnist_lib.runs.record import (
    Arrays,
    CostRecord,
    DamagedRecordError,
    RunOutput,
    RunRecord,
    decode,
    describe_difference,
    digest_arrays,
    encode,
    encode_arrays,
)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
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
        """Hold the store for writing; raise `UserError` at once when another process holds it."""
        holder = self.folder / ".holder"
        lock = FileLock(self.folder / ".lock", timeout=0)
        with self._told_plainly(UserError):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise UserError(
                    f"{self.folder}: another process (id {self._holder()}) is writing to this "
                    "record store; wait until it has finished"
                ) from None
        try:
            with self._told_plainly(UserError):
                holder.write_text(str(os.getpid()))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    @contextmanager
    def _told_plainly(self, kind: type[Exception]) -> Iterator[None]:
        """Turn what the system refuses (a full or read-only disk) into one line for the user.

        That is bad input before any work and a failure in the midst of it.
        """
        try:
            yield
        except OSError as error:
            fault = error.strerror or error
            raise kind(f"{self.folder}: cannot be written to ({fault})") from None

    def _holder(self) -> str:
        try:
            return (self.folder / ".holder").read_text()
        except OSError:
            return "unknown"

    def write(self, output: RunOutput, *, with_weights: bool = True) -> None:
        """Store a run, whole or not at all; raise `FailedError` when the disk is full or read-only.

        An earlier run of that name stays readable until the new one takes its place.
        """
        name = output.record.name
        folder, new, old = self.folder / name, self.folder / f".new-{name}", self._old(name)
        files = {f"predictions-{rule}": arrays for rule, arrays in output.predictions.items()}
        if with_weights:
            files |= {f"weights-{rule}": arrays for rule, arrays in output.weights.items()}
        with self._told_plainly(FailedError):
            try:
                shutil.rmtree(new, ignore_errors=True)  # what a killed process may have left
                for stem, arrays in files.items():
                    write_atomically(new / f"{stem}.safetensors", encode_arrays(arrays))
                write_atomically(new / "record.json", encode(output.record))
                if folder.exists():
                    shutil.rmtree(old, ignore_errors=True)
                    os.replace(folder, old)
                os.replace(new, folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def write_cost(self, cost: CostRecord) -> None:
        """Store a cost measurement; raise as `write` does."""
        with self._told_plainly(FailedError):
            write_atomically(self.folder / "costs" / f"{cost.name}.json", encode(cost))

    def _old(self, name: str) -> Path:
        return self.folder / f".old-{name}"

    def folder_of(self, name: str) -> Path:
        """Return where a run lies: aside if whoever was replacing it was stopped on the way."""
        folder, old = self.folder / name, self._old(name)
        return old if old.exists() and not folder.exists() else folder

    def path_of(self, name: str, kind: str, rule: str) -> Path:
        """Return where a run's `predictions` or `weights` under a rule lie, if there are any."""
        return self.folder_of(name) / f"{kind}-{rule}.safetensors"

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
            if difference := describe_difference(record.config, config):
                raise DamagedRecordError(f"{folder}: is of another run ({difference})")
        except DamagedRecordError as error:
            self._reject(folder, f"{error}; the run counts as missing")
            return None
        wanted = {stop.name for stop in config.stops}
        return record if wanted <= set(record.stops) else None

    def why_missing(self, config: RunConfig) -> str:
        """Return, for a run that `find` does not find, what the store has instead, by name."""
        alike = [
            name for name in self.names() if name.startswith(f"{config.model}-s{config.seed}-")
        ]
        if not alike:
            return "no record of this model and seed"
        reasons = []
        for name in alike:
            try:
                record = self.read(name)
            except DamagedRecordError as error:
                reasons.append(str(error))
                continue
            rules = [stop.name for stop in config.stops if stop.name not in record.stops]
            reasons.append(
                describe_difference(record.config, config)
                or (f"its record lacks {', '.join(rules)}" if name == config.name else "")
                or "training code or data have changed since"
            )
        return min(reasons, key=len)  # the nearest relative

    def with_recorded_rules(self, config: RunConfig) -> RunConfig:
        """Return the run with its record's rules besides, so that training again loses none."""
        try:
            recorded = [kept.rule for kept in self.read(config.name).stops.values()]
        except DamagedRecordError:  # or none at all
            return config
        more = tuple(rule for rule in recorded if rule not in config.stops)
        return config.model_copy(update={"stops": config.stops + more})

    def find_cost(self, name: str) -> CostRecord | None:
        """Return the cost record of that name, or None; a damaged one is set aside likewise."""
        path = self.folder / "costs" / f"{name}.json"
        if not path.exists():
            return None
        try:
            return decode(path, CostRecord)
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
        record = decode(self.folder_of(name) / "record.json", RunRecord)
        if record.name != name:
            raise DamagedRecordError(f"{self.folder_of(name)}: the record is of another run")
        for rule in record.stops:
            self.predictions(record, rule)
        return record

    def predictions(self, record: RunRecord, rule: str) -> Arrays:
        """Return `predicted`, `probability`, `probability_of_true` of each test image, checked."""
        return self._arrays(record, "predictions", rule, record.stops[rule].predictions_sha256)

    def weights(self, record: RunRecord, rule: str) -> Arrays | None:
        """Return the best weights under a rule, checked; None where they were not kept.

        Damaged ones are set aside with a warning that names them, and count as not kept: the run's
        results rest on its predictions.
        """
        path = self.path_of(record.name, "weights", rule)
        if not path.exists():
            return None
        try:
            return self._arrays(record, "weights", rule, record.stops[rule].weights_sha256)
        except DamagedRecordError as error:
            self._reject(path, f"{error}; train the run again with --force to have them back")
            return None

    def _arrays(self, record: RunRecord, kind: str, rule: str, expected: str) -> Arrays:
        return read_arrays(self.path_of(record.name, kind, rule), expected)

    def names(self) -> list[str]:
        """Return the names of all runs in the store, sorted."""
        found = {path.parent.name for path in self.folder.glob("*/record.json")}
        old = {name.removeprefix(".old-") for name in found if name.startswith(".old-")}
        return sorted({name for name in found if not name.startswith(".")} | old)

    def runs(self) -> list[RunRecord]:
        """Return all runs; raise `DamagedRecordError` at the first bad one."""
        return [self.read(name) for name in self.names()]

    def readable(self) -> Iterator[RunRecord]:
        """Yield all runs but damaged ones; whoever needs one of those is told of it then."""
        for name in self.names():
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
        raise DamagedRecordError(f"{path}: cannot be read ({error})") from None
    if digest_arrays(arrays) != expected:
        raise DamagedRecordError(f"{path}: its content is not what the record says")
    return arrays


def set_aside(path: Path, store: Path) -> Path:
    """Move a damaged file or folder into the store's `damaged/`, never to be read; return where."""
    for number in range(1, 1000):
        target = store / "damaged" / f"{path.stem}-{number}{path.suffix}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            return target
    raise UserError(
        f"{store / 'damaged'}: holds too many damaged copies of {path.name}; delete some"
    )
