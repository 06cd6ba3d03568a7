"""Train what is missing, run the notebooks, and make the report: `python run_all.py --help`."""

import argparse
import gc
import math
import os
import signal
import sys
import warnings
from pathlib import Path

from fmnist_lib import paths
from fmnist_lib.errors import FailedError, UserError

MOST_JOBS = 1000
GOES_ON = "the same command goes on from here"
FAMILIES = "paper,split,folds,ablations,augment,recipe-search,recipe,quick-search,quick,sensitivity"
EPILOG = """\
exit status: 0 done; 1 a run or a notebook failed, or --verify or --from-released found a
difference; 2 bad input; 130 interrupted

Finished runs are kept in runs/: the same command goes on where it was interrupted, and a run whose
settings have not changed is not trained again. The report appears in build/PROFILE/."""

# Modes of their own, with the options each leaves room for.
MODES = {
    "train_only": (
        *("profile", "families", "models", "seeds", "jobs"),
        *("device", "precision", "dry_run", "force", "keep_going", "minutes", "store"),
    ),
    "verify": ("models", "seeds", "jobs", "quick"),
    "from_released": ("jobs", "keep_going", "output"),
    "explain": ("profile", "output"),
}
NEEDS = {"quick": "verify", "minutes": "train_only", "store": "train_only"}


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without repeating the usage."""

    def error(self, message: str) -> None:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options; exit with status 2 and one line for an unknown one."""
    parser = OneLineParser(
        prog="run_all.py",
        description="Train six classifiers on FashionMNIST and make the report from the runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, flag = parser.add_argument, {"action": "store_true"}
    folder = {"metavar": "DIR", "type": lambda text: Path(text).absolute()}
    add("--profile", metavar="{smoke,paper,quick,study}", help="which runs (default: paper)")
    add("--families", default="", metavar="a,b", help="of the study these alone: " + FAMILIES)
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--seeds", default="", metavar="0-4,7", help="these seeds (default: the profile's)")
    add("--jobs", type=int, metavar="N", help="side by side (default: the cores; on a GPU 24)")
    add("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="default: cpu")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of training, default: fp32")
    add("--train-only", help="train and store what is missing; no report", **flag)
    add("--minutes", type=float, metavar="M", help="with --train-only: stop in good order by then")
    add("--store", help="with --train-only: keep the records there", **folder)
    add("--dry-run", help="list the runs and what would be done; do nothing", **flag)
    add("--force", help="train and measure anew what is there already", **flag)
    add("--keep-going", help="go on after a failed run or notebook", **flag)
    add("--output", help="the report's folder (default: build/PROFILE)", **folder)
    add("--release", help="write report/, the released report", **flag)
    add("--verify", help="train report/records/ again and compare; no report", **flag)
    add("--quick", help="with --verify: the first epochs of each run alone", **flag)
    add("--from-released", help="make the report from report/records/ alone", **flag)
    add("--explain", metavar="ADDRESS", help="where a number, TABLE/ROW/COLUMN, or run comes from")
    options = parser.parse_args(arguments)
    check_modes(parser, options)
    options.profile = options.profile or ("study" if options.families else "paper")
    return options


def check_modes(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with one line for options that do not go together."""

    def typed(*names: str) -> str:
        return " ".join(f"--{name.replace('_', '-')}" for name in names)

    given = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    for name in sorted(given & set(NEEDS)):
        if NEEDS[name] not in given:
            parser.error(f"{typed(name)} needs {typed(NEEDS[name])}")
    if "families" in given and options.profile not in (None, "study"):
        parser.error("--families are of the study; leave --profile out")
    for mode in sorted(given & set(MODES)):
        if others := sorted(given - {*MODES[mode], mode}):
            parser.error(
                f"{typed(mode)} goes without {typed(*others)}; it takes {typed(*MODES[mode])}"
            )


def run(options: argparse.Namespace) -> int:
    """Carry out the command; return its exit status. Raises `FailedError`, `UserError`."""
    check_numbers(options)  # torch comes with the commands, which `--help` need not wait for
    if options.explain is not None:
        from fmnist_lib.commands.explain import command
    elif options.verify:
        from fmnist_lib.commands.replay import command
    elif options.from_released:
        from fmnist_lib.commands.make_report import from_released as command
    elif options.train_only or options.dry_run:
        from fmnist_lib.commands.train import command
    else:
        from fmnist_lib.commands.make_report import command
    return command(options)


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


def interrupt(number: int, frame: object) -> None:
    """End the command and all that it started, once: more of the same would only disturb that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; return the exit status."""
    options = parse_arguments()
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
        status, told = 2, str(error)
    except FailedError as error:
        status, told = 1, f"failed: {error}"
    except OSError as error:  # a disk that is full or read-only, most likely
        status, told = 1, f"failed: {str(error) or type(error).__name__}; {GOES_ON}"
    except KeyboardInterrupt:
        status, told = 130, f"interrupted; {GOES_ON}"
    print(f"run_all.py: {told}", file=sys.stderr)
    return status


if __name__ == "__main__":  # workers import this file
    sys.exit(main())
