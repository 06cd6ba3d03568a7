"""Train what is missing, run the notebooks, and make the report: `python run_all.py --help`."""

import argparse
import gc
import math
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lib import paths
from fmnist_lib.errors import FailedError, UserError

if TYPE_CHECKING:
    from fmnist_lib.commands.job import Job, Report

MOST_JOBS = 1000
FAMILIES = (
    "paper, split, folds, ablations, augment, recipe-search, recipe, quick-search, quick, "
    "sensitivity"
)

EPILOG = """\
exit status: 0 done; 1 a run or a notebook failed, or --verify or --from-released found a
difference; 2 bad input; 130 interrupted

Finished runs are kept in runs/: the same command goes on where it was interrupted, and a run whose
settings have not changed is not trained again. The report appears in build/PROFILE/."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options; exit with status 2 and one line for an unknown one."""
    parser = OneLineParser(
        prog="run_all.py",
        description="Train six classifiers on FashionMNIST and make the report from the runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--profile",
        metavar="{smoke,paper,study}",
        help="smoke: shortened runs, a minute and a half; paper: one run a model (default); "
        "study: all families of runs, which takes days on a processor",
    )
    add(
        "--families",
        default="",
        metavar="a,b",
        help="of the study, these families alone: " + FAMILIES,
    )
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--seeds", default="", metavar="0-4,7", help="these seeds (default: the profile's)")
    add(
        "--jobs",
        type=int,
        metavar="N",
        help="runs side by side (default: the cores; on a GPU 24)",
    )
    add(
        "--scheduler",
        default="",
        metavar="ADDRESS",
        help="train on the Dask cluster of this scheduler, tcp://host:port or tls://host:port",
    )
    add("--trust-network", action="store_true", help="allow a tcp:// scheduler beyond this machine")
    add("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="default: cpu")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of training, default: fp32")
    add("--train-only", action="store_true", help="train and store what is missing; no report")
    add("--minutes", type=float, metavar="M", help="with --train-only: stop in good order by then")
    add("--store", type=Path, metavar="DIR", help="with --train-only: keep the records there")
    add("--dry-run", action="store_true", help="list the runs and what would be done; do nothing")
    add("--force", action="store_true", help="train and measure anew what is there already")
    add("--keep-going", action="store_true", help="go on after a failed run or notebook")
    add("--output", type=Path, metavar="DIR", help="the report's folder (default: build/PROFILE)")
    add("--release", action="store_true", help="write report/, the released report")
    add("--verify", action="store_true", help="train report/records/ again and compare; no report")
    add("--quick", action="store_true", help="with --verify: the first epochs of each run alone")
    add("--from-released", action="store_true", help="make the report from report/records/ alone")
    add(
        "--explain",
        metavar="ADDRESS",
        help="say where a number, TABLE/ROW/COLUMN, or a run comes from; make no report",
    )
    options = parser.parse_args(arguments)
    check_modes(parser, options)
    options.profile = options.profile or ("study" if options.families else "paper")
    return options


# Modes of their own, with the options each leaves room for.
MODES = {
    "train_only": (
        *("profile", "families", "models", "seeds", "jobs", "scheduler", "trust_network"),
        *("device", "precision", "dry_run", "force", "keep_going", "minutes", "store"),
    ),
    "verify": ("models", "seeds", "jobs", "quick"),
    "from_released": ("jobs", "keep_going", "output"),
    "explain": ("profile", "output"),
}


def check_modes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with one line for options that do not go together."""
    given = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    for name, mode in {"quick": "verify", "minutes": "train_only", "store": "train_only"}.items():
        if name in given and mode not in given:
            parser.error(f"{as_typed(name)} needs {as_typed(mode)}")
    if "families" in given and options.profile not in (None, "study"):
        parser.error("--families are of the study; leave --profile out")
    for mode in sorted(given & set(MODES)):
        if others := sorted(given - {*MODES[mode], mode}):
            refused, allowed = (" ".join(map(as_typed, names)) for names in (others, MODES[mode]))
            parser.error(f"{as_typed(mode)} goes without {refused}; it takes {allowed}")


def as_typed(name: str) -> str:
    """Return an option as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> None:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def run(options: argparse.Namespace) -> int:
    """Carry out the command; return its exit status. Raises `FailedError`, `UserError`."""
    # Torch comes with these: `--help` need not wait for it.
    from fmnist_lib.commands.train import forecast_of, state_of, train_only

    check_numbers(options)
    if options.verify:
        return verify(options)
    if options.from_released:
        return rebuild(options)
    if options.explain is not None:
        return explain(options)
    check_where(options)
    job = job_of(options)
    if not (job.shown or options.train_only or options.dry_run):
        raise UserError("families: no report shows these; allowed: --train-only, or paper besides")
    if options.dry_run:
        if options.release:  # else it is checked where the report is made
            from fmnist_lib.commands.released import check_release

            check_release(job)
        for config in job.configs:
            print(f"{config.name:36} {state_of(job, config).text}")
        print(forecast_of(job))
        return 0
    if options.train_only:
        report = train_only(job)
        tell_of(report)
        print(report.folder)
        return 1 if report.failures else 0
    from fmnist_lib.commands.pipeline import make_report

    report = make_report(job)
    tell_of(report)
    print(report.folder / "index.html")
    return 1 if report.failures else 0


def check_numbers(options: argparse.Namespace) -> None:
    """Raise `UserError` for numbers and folders that cannot be meant."""
    if options.release and options.output:
        raise UserError("output: --release always writes report/; leave --output out")
    if options.jobs is not None and not 1 <= options.jobs <= MOST_JOBS:
        raise UserError(f"jobs: {options.jobs} is not possible; allowed: 1 to {MOST_JOBS}")
    if options.store and options.store.resolve().is_relative_to(paths.REPORT):
        raise UserError("store: report/ is written by --release alone; allowed: another folder")
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise UserError(f"minutes: {options.minutes:g} is not possible; allowed: more than 0")


def check_where(options: argparse.Namespace) -> None:
    """Raise `UserError` where the runs cannot be trained where they are to be."""
    from fmnist_lib.execution.gpu import MOST_AT_ONCE
    from fmnist_lib.runs.environment import has_device

    if options.scheduler:
        from fmnist_lib.execution.remote import check_address, connect

        check_address(options.scheduler, trust_network=options.trust_network)
        if options.device == "cuda":
            raise UserError("device: a cluster trains on processors; leave --device out")
        if options.minutes:
            raise UserError("minutes: a cluster's runs cannot be stopped so; leave --scheduler out")
        if not options.dry_run:
            with connect(options.scheduler):
                pass
    elif not has_device(options.device):
        raise UserError(f"device: PyTorch finds no {options.device} here; allowed: cpu")
    elif options.device == "cuda" and (options.jobs or 0) > MOST_AT_ONCE:
        raise UserError(
            f"jobs: {options.jobs} is not possible on a GPU; allowed: 1 to {MOST_AT_ONCE}"
        )


def job_of(options: argparse.Namespace) -> "Job":
    """Return what the command line asks for. Raises `UserError`."""
    from fmnist_lib.commands.job import Job, tell
    from fmnist_lib.execution.here import JOBS_ON_GPU
    from fmnist_lib.runs import plans
    from fmnist_lib.runs.store import RunStore

    folder, only = options.store or paths.RUNS, options.dry_run
    store = RunStore(folder, read_only=only)
    released = RunStore(paths.REPORT / "records", read_only=True)
    chosen = {"models": options.models, "seeds": options.seeds, "precision": options.precision}
    if options.profile == "study":
        records = [run for each in (store, released) for run in each.readable("-s100-")]
        families = plans.plan_families(
            options.families, device=options.device, records=records, **chosen
        )
        configs = [config for group in families.values() for config in group]
        for name in families.keys() & plans.CHOSEN:
            known = {config.model for config in families[name]}
            if waiting := [m for m in plans.parse_models(options.models) if m not in known]:
                search, _ = plans.CHOSEN[name]
                tell(f"{name}: {', '.join(waiting)} to be planned once {search} is whole")
        ranks = {c.name: rank for rank, group in enumerate(families.values()) for c in group}
    else:
        configs, ranks = plans.plan(options.profile, device=options.device, **chosen), {}
    return Job(
        profile=options.profile,
        configs=configs,
        output=(
            options.output or (paths.REPORT if options.release else paths.BUILD / options.profile)
        ).absolute(),
        jobs=options.jobs or (JOBS_ON_GPU if options.device == "cuda" else usable_cores()),
        scheduler=options.scheduler,
        force=options.force,
        keep_going=options.keep_going or options.train_only,
        release=options.release,
        minutes=options.minutes,
        ranks=ranks,
        store=store,
        released=released,
    )


def usable_cores() -> int:
    """Return how many runs at a time this machine's processor is for."""
    from fmnist_lib.runs.environment import usable_cores

    return usable_cores()


def tell_of(report: "Report") -> None:
    """Print what there is to note of a report, and what went wrong on the way."""
    for line in report.notices:
        print(f"note: {line}", file=sys.stderr)
    for line in report.failures:
        print(f"failed: {line}", file=sys.stderr)


def verify(options: argparse.Namespace) -> int:
    """Train again what the released records claim, print the verdicts; return the exit status."""
    from fmnist_lib.commands import replay, verification
    from fmnist_lib.runs import plans as study
    from fmnist_lib.runs.store import RunStore

    verdicts = replay.verify(
        RunStore(paths.REPORT / "records", read_only=True),
        RunStore(paths.RUNS / "verify"),
        models=study.parse_models(options.models),
        seeds=study.parse_seeds(options.seeds) if options.seeds else (),
        jobs=options.jobs or usable_cores(),
        quick=options.quick,
    )
    print(verification.table(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1


def rebuild(options: argparse.Namespace) -> int:
    """Make the report from the released records, compare its tables; return the exit status."""
    from fmnist_lib.commands import released
    from fmnist_lib.commands.job import Job
    from fmnist_lib.runs.store import RunStore

    records = RunStore(paths.REPORT / "records", read_only=True)
    job = Job(
        profile="paper",
        configs=released.released_plan(records),
        output=(options.output or paths.BUILD / "released").resolve(),
        jobs=options.jobs or usable_cores(),
        keep_going=options.keep_going,
        released=records,
    )
    report = released.rebuild(job)
    tell_of(report)
    states = released.compare_tables(report.folder, paths.REPORT)
    print(", ".join(f"{name} {state}" for name, state in states.items()))
    print(report.folder / "index.html")
    return 1 if report.failures or set(states.values()) != {"equal"} else 0


def explain(options: argparse.Namespace) -> int:
    """Print what a number or run of a report rests on; return the exit status."""
    from fmnist_lib.reporting.explain import explain
    from fmnist_lib.runs import plans as study

    study.plan(options.profile)  # refuses an unknown one
    own = options.output or paths.BUILD / options.profile
    report = next((r for r in (own, paths.REPORT) if (r / "records").is_dir()), None)
    if report is None or (options.output and report != own):
        raise UserError(f"{own}: holds no report; allowed: the folder of one, with its records/")
    print(f"in the report of {report}\n{explain(options.explain, report)}")
    return 0


def interrupt(number: int, frame: object) -> None:
    """End the command and all that it started, once: more of the same would only disturb that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments()
    options.output, options.store = (
        path and path.absolute() for path in (options.output, options.store)
    )
    os.chdir(paths.ROOT)  # nothing that lies where the command was given is imported
    gc.set_threshold(50_000)  # imports and pages make many objects and little garbage: a sixth less
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # in a shell's background Ctrl-C is not ours
            signal.signal(number, interrupt)
    try:
        return run(options)
    except UserError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return 2
    except FailedError as error:
        print(f"run_all.py: failed: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a disk that is full or read-only, most likely
        print(f"run_all.py: failed: {error}; the same command goes on from here", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run_all.py: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":  # workers import this file
    sys.exit(main())
