"""Records against the same runs trained again: each verdict, and the command that gives them."""

import json
from dataclasses import replace

import pytest
from command import command, files_of
from made_up import ENVIRONMENT, make_run, mistaken, sealed

from fmnist_lib import paths
from fmnist_lib.commands import replay
from fmnist_lib.commands.replay import DIFFERS, FAILED, IDENTICAL, SO_FAR, WITHIN, compare_runs
from fmnist_lib.errors import UserError
from fmnist_lib.execution import here
from fmnist_lib.runs.record import encode
from fmnist_lib.runs.store import RunStore

LOSSES = (0.9, 0.5, 0.7)
IMAGES = 1000


def changed(record, shift):
    """The record with test accuracies that differ from the second epoch on, and new digests."""
    history = [
        row.model_copy(update={"test_accuracy": row.test_accuracy + shift * (row.epoch > 1)})
        for row in record.history
    ]
    stops = {
        rule: kept.model_copy(update={"test_accuracy": history[kept.best_epoch - 1].test_accuracy})
        for rule, kept in record.stops.items()
    }
    return sealed(record.model_copy(update={"history": history, "stops": stops}))


def made(seed=0, *, shift=0.0, **options):
    """A run of 72 % on 1,000 images."""
    predicted = mistaken(IMAGES, [*range(280)])
    record = make_run(seed=seed, predicted=predicted, test_images=IMAGES, **options).record
    return changed(record, shift) if shift else record


@pytest.mark.parametrize(
    ("again", "options", "kind"),
    [
        ({}, {}, IDENTICAL),
        ({"environment": ENVIRONMENT.model_copy(update={"cpu": "x"})}, {}, IDENTICAL),
        ({"shift": 3.9}, {}, WITHIN),  # the binomial spread is 3.94
        ({"shift": -3.9}, {}, WITHIN),
        ({"shift": 4.0}, {}, DIFFERS),
        ({"losses": (*LOSSES, 0.8)}, {}, WITHIN),
        ({"losses": LOSSES[:2]}, {"quick": True}, SO_FAR),
        ({"losses": LOSSES[:2], "shift": 4.9}, {"quick": True}, WITHIN),
        ({"losses": LOSSES[:2], "shift": 5.1}, {"quick": True}, DIFFERS),
    ],
)
def test_the_verdict(again, options, kind):
    found, details = compare_runs(made(), made(**again), **options)
    assert found == kind
    assert (details == "") == (kind in (IDENTICAL, SO_FAR))


def test_it_says_how_far_from_when_and_why():
    other = {"cpu": "Another", "packages": {"torch": "3.0", "numpy": "2.4.6"}, "finished": "later"}
    again = made(shift=1, environment=ENVIRONMENT.model_copy(update=other))
    _, details = compare_runs(made(), again)
    assert "1.00 points apart, tolerance 3.94 (binomial spread over 1,000 test images)" in details
    assert "part in epoch 2; of another kind: packages, cpu" in details
    forged = made().model_copy(update={"parameters": 1})  # which no digest stands for
    found, details = compare_runs(forged, made())
    assert (found, "digest" in details) == (DIFFERS, True)


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def released(project, small_run):
    """A released store with one true run."""
    store = RunStore(paths.REPORT / "records")
    store.write(small_run)
    return store


def verify(*arguments):
    return command("--verify", *arguments, "--jobs", "1")


@pytest.mark.parametrize(("options", "kind"), [([], IDENTICAL), (["--quick"], SO_FAR)])
def test_a_true_run_is_identical_and_the_released_records_stay(
    released, capsys, monkeypatch, options, kind
):
    monkeypatch.setattr(replay, "QUICK_EPOCHS", 1)
    before = files_of(paths.REPORT)
    assert verify(*options) == 0
    assert f"{kind}\n1 runs: 1 {kind}" in capsys.readouterr().out
    assert files_of(paths.REPORT) == before
    assert not RunStore(paths.RUNS / "verify").names()  # the next call trains anew
    (record,) = RunStore(paths.RUNS / "verified").runs()
    assert len(record.history) == (1 if options else 2)


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_a_tampered_or_damaged_record_differs_and_stays(released, small_run, options, capsys):
    (rule, kept) = next(iter(small_run.record.stops.items()))
    better = kept.model_copy(update={"test_accuracy": kept.test_accuracy + 20})
    path = released.folder / small_run.record.name / "record.json"
    for forged in (
        small_run.record.model_copy(update={"stops": {rule: better}}),
        changed(small_run.record, 20),  # consistently: its predictions say otherwise
    ):
        path.write_bytes(encode(forged))  # checksum and all
        before = files_of(released.folder)
        assert verify(*options) == 1
        assert f"{DIFFERS}  " in (told := capsys.readouterr().out)
        assert f"stops.{rule}.test_accuracy: is " in told
        assert files_of(released.folder) == before
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parameters": 1}))
    assert verify(*options) == 1
    assert "checksum" in capsys.readouterr().out


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
    assert verify() == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.endswith(IDENTICAL)
    assert second.endswith(f"{FAILED}      RuntimeError: no luck")
    assert last == f"2 runs: 1 {IDENTICAL}, 1 {FAILED}"


def test_runs_of_a_device_that_is_not_here_are_left_out(released, capsys, monkeypatch):
    monkeypatch.setattr(replay, "has_device", lambda name: name == "cpu")
    released.write(make_run("vit_tiny", test_images=200, device="cuda"))
    assert verify("--quick") == 0
    told = capsys.readouterr()
    assert "note: left out: 1 runs take a GPU" in told.err
    assert told.out.splitlines()[-1] == f"1 runs: 1 {SO_FAR}"
    with pytest.raises(UserError, match="all 1 runs take a GPU"):
        verify("--models", "vit_tiny")


@pytest.mark.parametrize("code", ["ours", "other"])
def test_an_interrupted_verification_goes_on_with_what_this_code_has_trained(
    released, small_run, monkeypatch, code
):
    environment = small_run.record.environment
    if code == "other":
        environment = environment.model_copy(update={"code_sha256": "other"})
    record = small_run.record.model_copy(update={"environment": environment})
    RunStore(paths.RUNS / "verify").write(replace(small_run, record=record))
    trained = []

    def run_many(configs, **_):
        trained.extend(config.name for config in configs)
        yield from ()

    monkeypatch.setattr(here, "run_many", run_many)
    verify()  # of a run that never came back the old result is all there is
    assert trained == ([] if code == "ours" else [record.name])


@pytest.mark.parametrize("choice", [["--seeds", "7"], ["--models", "vit_tiny"]])
def test_nothing_to_verify_is_one_line(released, choice):
    with pytest.raises(UserError, match=r"holds no such record.*nothing to verify") as error:
        verify(*choice)
    assert "\n" not in str(error.value)
    assert not paths.RUNS.exists()
