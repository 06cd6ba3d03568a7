"""Records against the same runs trained again: each verdict, and the command that gives them."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from made_up import ENVIRONMENT, make_run, mistaken

import run_all
from fmnist_lib import paths
from fmnist_lib.commands import assembly, replay
from fmnist_lib.commands.verification import (
    DIFFERS,
    EARLY_POINTS,
    FAILED,
    IDENTICAL,
    PREDICTIONS,
    SO_FAR,
    WITHIN,
    Verdict,
    compare,
    compare_start,
    result_tolerance,
    table,
)
from fmnist_lib.errors import UserError
from fmnist_lib.execution import here
from fmnist_lib.runs.record import digest_json, encode
from fmnist_lib.runs.run import metrics_of
from fmnist_lib.runs.store import RunStore

LOSSES = (0.9, 0.5, 0.7)
IMAGES = 1000


def sealed(record, *, by_epoch=0.0, weights="weights"):
    """The record with the digests and best epochs its history asks for; `by_epoch` shifts it."""
    history = [
        row.model_copy(update={"test_accuracy": row.test_accuracy + by_epoch * (row.epoch > 1)})
        for row in record.history
    ]
    stops = {}
    for rule, kept in record.stops.items():
        row = history[kept.best_epoch - 1]
        hashes = {"weights_sha256": weights, "predictions_sha256": kept.predictions_sha256}
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        stops[rule] = kept.model_copy(
            update={
                **hashes,
                **{name: getattr(row, name) for name in names},
                "digest": digest_json([metrics_of(history[: kept.epochs]), hashes]),
            }
        )
    digests = [stops[rule].digest for rule in sorted(stops)]
    return record.model_copy(
        update={
            "history": history,
            "stops": stops,
            "result_digest": digest_json([metrics_of(history), *digests]),
        }
    )


def made(seed=0, *, wrong=(), **changes):
    options = {name: changes.pop(name) for name in ("environment", "losses") if name in changes}
    more = {IMAGES - 1 - i for i in range(len(wrong))}  # as many are right as at the best epoch
    predicted = mistaken(IMAGES, sorted({*range(280), *more} - set(wrong)))
    output = make_run(seed=seed, predicted=predicted, test_images=IMAGES, **options)
    return sealed(output.record, **changes)


def test_equal_runs_are_identical_whatever_the_times_and_the_machine():
    elsewhere = ENVIRONMENT.model_copy(update={"cpu": "Another", "finished": "later"})
    verdict = compare(made(), made(environment=elsewhere))
    assert verdict == Verdict(made().name, IDENTICAL)
    assert verdict.good
    assert verdict.details == ""


def test_same_predictions_by_hash_or_by_class():
    assert compare(made(), made(weights="others")).kind == PREDICTIONS
    other = made(by_epoch=0.1, wrong=[1])
    assert compare(made(), other).kind == WITHIN
    assert compare(made(), other, same_classes=True).kind == PREDICTIONS


def test_within_tolerance_says_how_far_from_when_and_why():
    other_cpu = ENVIRONMENT.model_copy(
        update={"cpu": "Another", "threads": 2, "packages": {"torch": "3.0", "numpy": "2.4.6"}}
    )
    verdict = compare(made(), made(by_epoch=1, wrong=[1], environment=other_cpu))
    assert (verdict.kind, verdict.parted) == (WITHIN, 2)
    assert verdict.points == pytest.approx(1)
    assert verdict.causes == (
        "torch 3.0, recorded 2.14.1",
        "2 threads, recorded 1",
        "other CPU (Another, recorded A processor)",
    )
    assert "1.00 points apart" in verdict.details
    assert "binomial spread over 1,000 test images" in verdict.details
    assert "part in epoch 2; likely cause: torch 3.0" in verdict.details


def test_beyond_the_tolerance_it_differs_and_data_and_code_are_named_first():
    changed = ENVIRONMENT.model_copy(
        update={"data_sha256": "d", "code_sha256": "c", "cpu": "Another"}
    )
    verdict = compare(made(), made(by_epoch=9, wrong=[1], environment=changed))
    assert (verdict.kind, verdict.good) == (DIFFERS, False)
    assert verdict.causes[:2] == ("other data", "other training code")


def test_without_a_known_cause_the_verdict_says_so():
    (cause,) = compare(made(), made(by_epoch=9, wrong=[1])).causes
    assert cause.startswith("none that is recorded")


def test_the_tolerance_is_the_spread_over_seeds_where_there_are_enough():
    known = [made(seed, by_epoch=shift) for seed, shift in enumerate((0.0, 0.1, 0.2))]
    assert "binomial" in result_tolerance(known[0], "test_loss-p5", known[:2]).origin
    tolerance = result_tolerance(known[0], "test_loss-p5", known)
    assert tolerance.origin == "spread over 3 seeds"
    assert tolerance.points == pytest.approx(4.3027 * 2**0.5 * 0.1, rel=1e-4)
    other = make_run("vit_tiny", test_images=IMAGES).record
    assert "binomial" in result_tolerance(known[0], "test_loss-p5", [*known[:2], other]).origin
    assert compare(known[0], made(by_epoch=1, wrong=[1]), known).kind == DIFFERS


def test_binomial_tolerance_is_that_of_two_accuracies():
    share = 0.72  # at the best epoch, the second
    expected = 196 * (2 * share * (1 - share) / IMAGES) ** 0.5
    assert result_tolerance(made(), "test_loss-p5").points == pytest.approx(expected, rel=1e-4)


def test_figures_outside_the_digest_must_agree_too():
    record = made()
    tampered = record.model_copy(update={"parameters": 1})
    verdict = compare(tampered, record)
    assert verdict.kind == DIFFERS
    assert "not those its digest stands for" in verdict.details


def test_a_longer_history_parts_where_the_shorter_ends():
    assert compare(made(), made(losses=(*LOSSES, 0.8))).parted == 4


def test_a_replay_of_the_start_looks_at_the_start_alone():
    record = made()
    start = made(losses=LOSSES[:2])
    assert compare_start(record, start).kind == SO_FAR
    near = compare_start(record, made(losses=LOSSES[:2], by_epoch=1))
    assert (near.kind, near.parted) == (WITHIN, 2)
    assert near.tolerance.points == EARLY_POINTS
    assert compare_start(record, made(losses=LOSSES[:2], by_epoch=9)).kind == DIFFERS
    known = [made(seed, by_epoch=shift) for seed, shift in enumerate((0.0, 0.1, 0.2))]
    assert compare_start(record, made(losses=LOSSES[:2], by_epoch=1), known).kind == DIFFERS


def test_the_table_has_a_line_a_run_and_counts():
    verdicts = [Verdict("a", IDENTICAL), Verdict("bcd", FAILED, causes=("x",))]
    first, second, last = table(verdicts).splitlines()
    assert first == "a    identical to the bit"
    assert second == "bcd  could not be run      likely cause: x"
    assert last == "2 runs: 1 identical to the bit, 1 could not be run"


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def released(tmp_path, monkeypatch, small_run):
    """A released store with one true run, and local folders; both are those of the command."""
    monkeypatch.setattr(paths, "REPORT", tmp_path / "report")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    store = RunStore(tmp_path / "report" / "records")
    store.write(small_run)
    return store


def command(*arguments):
    return run_all.run(run_all.parse_arguments([*arguments]))


def content(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def train_nothing(asked):
    """Stands for the training: notes what it is asked for."""

    def run_many(configs, **_):
        asked.extend(configs)
        yield from ()

    return run_many


def rewrite(store, record):
    """Put a changed record into its file, checksum and all."""
    (store.folder / record.name / "record.json").write_bytes(encode(record))


def test_a_true_run_is_identical_and_the_released_records_stay(released, tmp_path, capsys):
    before = content(tmp_path / "report")
    assert command("--verify", "--jobs", "1") == 0
    assert f"{IDENTICAL}\n1 runs: 1 {IDENTICAL}" in capsys.readouterr().out
    assert content(tmp_path / "report") == before
    assert not RunStore(tmp_path / "runs" / "verify").names()  # the next call trains anew
    assert RunStore(tmp_path / "runs" / "verified").names() == released.names()


def test_quick_replays_the_start(released, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(replay, "QUICK_EPOCHS", 1)
    before = content(tmp_path / "report")
    assert command("--verify", "--quick", "--jobs", "1") == 0
    assert SO_FAR in capsys.readouterr().out
    (record,) = RunStore(tmp_path / "runs" / "verified").runs()
    assert len(record.history) == 1
    assert content(tmp_path / "report") == before


@pytest.mark.parametrize("mode", [["--verify"], ["--verify", "--quick"]])
def test_a_tampered_record_differs(released, small_run, mode, capsys):
    (rule, kept) = next(iter(small_run.record.stops.items()))
    better = kept.model_copy(update={"test_accuracy": kept.test_accuracy + 20})
    rewrite(released, small_run.record.model_copy(update={"stops": {rule: better}}))
    assert command(*mode, "--jobs", "1") == 1
    told = capsys.readouterr().out
    assert "differs" in told
    assert f"stops.{rule}.test_accuracy: is " in told


def test_a_history_tampered_with_consistently_differs_too(released, small_run, capsys):
    rewrite(released, sealed(small_run.record, by_epoch=50, weights="weights"))
    assert command("--verify", "--jobs", "1") == 1
    assert ".test_accuracy: is " in capsys.readouterr().out  # its predictions say otherwise


def test_a_damaged_record_differs_and_stays_where_it_is(released, tmp_path, capsys):
    path = released.folder / released.names()[0] / "record.json"
    content_ = json.loads(path.read_text())
    path.write_text(json.dumps(content_ | {"parameters": 1}))
    before = content(tmp_path / "report")
    assert command("--verify", "--jobs", "1") == 1
    assert DIFFERS in capsys.readouterr().out
    assert content(tmp_path / "report") == before


def test_a_failed_run_is_told_and_the_others_go_on(released, monkeypatch, capsys):
    released.write(make_run("vit_tiny", test_images=200))
    run_many = here.run_many

    def lame(configs, **options):
        for config in configs:
            if config.model == "vit_tiny":
                yield config, RuntimeError("no luck")
            else:
                yield from run_many([config], **options)

    monkeypatch.setattr(here, "run_many", lame)
    assert command("--verify", "--jobs", "1") == 1
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first.endswith(IDENTICAL)
    assert second.endswith("could not be run      likely cause: RuntimeError: no luck")


def test_an_interrupted_verification_goes_on(released, small_run, tmp_path, monkeypatch):
    scratch = RunStore(tmp_path / "runs" / "verify")
    scratch.write(small_run)
    trained = []
    monkeypatch.setattr(here, "run_many", train_nothing(trained))
    assert command("--verify") == 0
    assert trained == []


def test_what_other_code_has_trained_is_not_used(released, small_run, tmp_path, monkeypatch):
    record = small_run.record
    other = record.environment.model_copy(update={"code_sha256": "other"})
    old = replace(small_run, record=record.model_copy(update={"environment": other}))
    RunStore(tmp_path / "runs" / "verify").write(old)
    trained = []
    monkeypatch.setattr(here, "run_many", train_nothing(trained))
    command("--verify")  # of a run that never came back the old result is all there is
    assert [config.name for config in trained] == [record.name]


@pytest.mark.parametrize("choice", [[], ["--seeds", "7"], ["--models", "vit_tiny"]])
def test_nothing_to_verify_is_one_line(released, tmp_path, monkeypatch, choice):
    if not choice:
        monkeypatch.setattr(paths, "REPORT", tmp_path / "empty")
    with pytest.raises(UserError, match=r"holds no record.*nothing to verify") as error:
        command("--verify", *choice)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--verify", "--from-released"], "--verify"),
        (["--verify", "--release"], "--release"),
        (["--verify", "--force"], "--force"),
        (["--verify", "--profile", "smoke"], "--profile"),
        (["--verify", "--output", "x"], "--output"),
        (["--from-released", "--seeds", "0"], "--seeds"),
        (["--from-released", "--release"], "--release"),
        (["--quick"], "--verify"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_all.parse_arguments(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


# --- the report from the released records ------------------------------------------------------


@pytest.fixture
def no_drawing(monkeypatch):
    """Leave out what takes long and has tests of its own: notebooks, HTML and PDF, figures."""
    nothing = type("Files", (), {"warning": ""})()
    monkeypatch.setattr(assembly, "execute", lambda job, report: [])
    monkeypatch.setattr(assembly, "write_figures", lambda *_: None)  # no other process has that
    monkeypatch.setattr(assembly, "fresh_processes", ThreadPoolExecutor)
    monkeypatch.setattr(assembly, "write_report", lambda *_, **__: nothing)


def test_the_released_tables_come_out_equal(no_drawing, tmp_path, capsys):
    before = content(paths.REPORT / "records")
    assert command("--from-released", "--output", str(tmp_path / "out")) == 0
    assert "table1.csv equal, table2.csv equal" in capsys.readouterr().out
    assert content(paths.REPORT / "records") == before


def test_a_tampered_table_is_named(no_drawing, tmp_path, monkeypatch, capsys):
    report = tmp_path / "report"
    (report / "tables").mkdir(parents=True)
    (report / "records").symlink_to(paths.REPORT / "records")
    for path in (paths.REPORT / "tables").glob("*.csv"):
        (report / "tables" / path.name).write_bytes(path.read_bytes())
    with (report / "tables" / "table2.csv").open("a") as file:
        file.write("more\n")
    (report / "tables" / "table9.csv").touch()
    monkeypatch.setattr(paths, "REPORT", report)
    assert command("--from-released", "--output", str(tmp_path / "out")) == 1
    told = capsys.readouterr().out
    assert "table1.csv equal, table2.csv differs, table9.csv was not made" in told


def test_nothing_to_rebuild_from_is_one_line(released):
    with pytest.raises(UserError, match="no seed with all models"):
        command("--from-released")
