"""Records: what is written comes back, and what was damaged is named and never used."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import labels, make_cost, make_run, mistaken

import fmnist_lib.runs.store
from fmnist_lib.errors import UserError
from fmnist_lib.paths import REPORT
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.record import (
    DamagedRecordError,
    EpochRow,
    RunOutput,
    contradictions,
    describe_difference,
    digest_arrays,
    digest_json,
    labels_of,
    metrics_of,
    true_labels,
)
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore, write_atomically

RULE = Stop().name


def only(folder, kind):
    """The one file with a run's `predictions` or `weights`."""
    (path,) = folder.glob(f"{kind}-*.safetensors")
    return path


def honest(output) -> RunOutput:
    """The same run with the figures and digests that follow from its predictions and weights."""
    record = output.record
    true = labels(record.config.test_images)
    rows, stops = list(record.history), {}
    for name, kept in sorted(record.stops.items()):
        predicted = output.predictions[name]["predicted"]
        confusion = np.zeros((10, 10), int)
        np.add.at(confusion, (true, predicted), 1)
        figures = {
            "test_accuracy": 100.0 * int((predicted == true).sum()) / len(true),
            "confusion": confusion.tolist(),
        }
        hashes = {"predictions_sha256": digest_arrays(output.predictions[name])}
        if name in output.weights:
            hashes["weights_sha256"] = digest_arrays(output.weights[name])
        best = kept.best_epoch - 1
        rows[best] = rows[best].model_copy(update={"test_accuracy": figures["test_accuracy"]})
        stops[name] = kept.model_copy(update=figures | hashes)
    record = record.model_copy(update={"history": rows, "stops": stops})
    content = with_digests(record.model_dump(mode="json"))
    return replace(output, record=records.RunRecord.model_validate(content))


def with_digests(content: dict) -> dict:
    """A record's content with its digests, but the checksum, made anew."""
    rows = metrics_of([EpochRow(**row) for row in content["history"]])
    for kept in content["stops"].values():
        hashes = {name: kept[name] for name in ("weights_sha256", "predictions_sha256")}
        kept["digest"] = digest_json([rows[: kept["epochs"]], hashes])
    digests = [kept["digest"] for _, kept in sorted(content["stops"].items())]
    return {**content, "result_digest": digest_json([rows, *digests])}


def renamed(run, **settings) -> RunOutput:
    """The same results under another config, as if it had led to them."""
    config = make_config(**run.record.config.model_dump() | settings)
    changes = {"config": config, "name": config.name, "key": config.key}
    return RunOutput(run.record.model_copy(update=changes), run.predictions, run.weights)


@pytest.fixture
def other(small_run):
    return renamed(small_run, seed=1)


@pytest.fixture
def store(tmp_path, small_run, other) -> RunStore:
    """Two runs: `small_run` and `other`."""
    store = RunStore(tmp_path / "runs")
    store.write(small_run)
    store.write(other)
    return store


def assert_same(arrays, others):
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (others[name].dtype, others[name].shape)
        assert np.array_equal(array, others[name])


# --- there and back ----------------------------------------------------------------------------


def test_what_is_written_comes_back(store, small_run):
    record = small_run.record
    assert store.find(record.config) == record
    assert_same(store.predictions(record, RULE), small_run.predictions[RULE])
    assert_same(store.weights(record, RULE), small_run.weights[RULE])


def test_weights_come_back_however_they_lie_in_memory(tmp_path, small_run):
    weights = {
        "rows": np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5),
        "channels_last": np.arange(120, dtype=np.float32).reshape(2, 4, 5, 3).transpose(0, 3, 1, 2),
        "number": np.array(7),  # batch norm's count, of shape ()
    }
    output = honest(replace(small_run, weights={RULE: weights}))
    record, store = output.record, RunStore(tmp_path)
    store.write(output)
    assert_same(store.weights(record, RULE), weights)


def test_a_store_lists_its_runs(store, small_run, other):
    names = sorted([small_run.record.name, other.record.name])
    assert store.names() == names
    assert [record.name for record in store.runs()] == names


def test_an_empty_store_has_nothing(tmp_path, small_run):
    store = RunStore(tmp_path / "nowhere")
    assert store.find(small_run.record.config) is None
    assert store.names() == []
    assert store.runs() == []
    assert store.costs() == []
    assert not (tmp_path / "nowhere").exists()


def test_predictions_are_small(store, small_run):
    path = only(store.folder / small_run.record.name, "predictions")
    assert path.stat().st_size < 200 * 5 + 500  # 50 KB and a header for 10,000 images


def test_weights_may_stay_behind(tmp_path, small_run):
    store = RunStore(tmp_path)
    store.write(small_run, with_weights=False)
    assert store.find(small_run.record.config) == small_run.record
    assert store.weights(small_run.record, RULE) is None


@pytest.mark.parametrize("with_weights", [False, True])
def test_copying_takes_record_predictions_and_weights_if_asked(
    store, tmp_path, small_run, with_weights
):
    copy = RunStore(tmp_path / "copy")
    store.copy(small_run.record, copy, with_weights=with_weights)
    assert copy.find(small_run.record.config) == small_run.record
    assert (copy.weights(small_run.record, RULE) is not None) is with_weights
    assert copy.names() == [small_run.record.name]


def test_weights_that_are_not_copied_may_be_damaged(store, tmp_path, small_run):
    only(store.folder / small_run.record.name, "weights").write_bytes(b"")
    store.copy(small_run.record, RunStore(tmp_path / "copy"))
    with pytest.warns(UserWarning, match="weights"):
        store.copy(small_run.record, RunStore(tmp_path / "copy"), with_weights=True)
    assert RunStore(tmp_path / "copy").find(small_run.record.config) == small_run.record


def test_digests_see_names_types_shapes_and_values():
    array = np.arange(6, dtype=np.float32)
    variants = [
        {"a": array},
        {"b": array},
        {"a": array.astype(np.int32)},
        {"a": array.reshape(2, 3)},
        {"a": array + np.float32(1e-6)},
        {"a": array, "b": array},
    ]
    assert len({digest_arrays(variant) for variant in variants}) == len(variants)
    assert digest_arrays({"a": array, "b": array}) == digest_arrays({"b": array, "a": array})
    assert digest_arrays({"a": array.reshape(2, 3).T}) == digest_arrays(
        {"a": np.ascontiguousarray(array.reshape(2, 3).T)}
    )
    assert digest_json({"a": 0.1, "b": 1}) == digest_json({"b": 1, "a": 0.1})
    assert digest_json(0.1) != digest_json(0.1 + 2**-56)


# --- damage ------------------------------------------------------------------------------------


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def cut(folder):
    path = folder / "record.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def emptied(folder):
    (folder / "record.json").write_bytes(b"")
    return folder / "record.json"


def another_kind_of_json(folder):
    (folder / "record.json").write_text("[1, 2]")
    return folder / "record.json"


def not_text(folder):
    (folder / "record.json").write_bytes(bytes(range(128, 256)))
    return folder / "record.json"


def edited_number(folder):
    edit(folder / "record.json", lambda c: c["stops"][RULE].update(test_accuracy=99.9))
    return folder / "record.json"


def edited_to_nan(folder):
    edit(folder / "record.json", lambda c: c["stops"][RULE].update(test_loss=float("nan")))
    return folder / "record.json"


def without_checksum(folder):
    edit(folder / "record.json", lambda c: c.pop("checksum"))
    return folder / "record.json"


def nonsense_version(folder):
    edit(folder / "record.json", lambda c: c.update(schema_version=[]))
    return folder / "record.json"


def unknown_field(folder):
    def change(content):
        del content["checksum"]
        content["surprise"] = 1
        content["checksum"] = digest_json(content)

    edit(folder / "record.json", change)
    return folder / "record.json"


def flipped_prediction(folder):
    path = only(folder, "predictions")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path


def cut_predictions(folder):
    path = only(folder, "predictions")
    path.write_bytes(path.read_bytes()[:-10])
    return path


def missing_predictions(folder):
    path = only(folder, "predictions")
    path.unlink()
    return path


DAMAGES = [
    cut,
    emptied,
    another_kind_of_json,
    not_text,
    edited_number,
    edited_to_nan,
    without_checksum,
    nonsense_version,
    unknown_field,
    flipped_prediction,
    cut_predictions,
    missing_predictions,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_run_is_named_set_aside_and_counts_as_missing(store, small_run, other, damage):
    folder = store.folder / small_run.record.name
    files = {path.name for path in folder.iterdir()}
    path = damage(folder)
    with pytest.raises(DamagedRecordError):
        store.read(small_run.record.name)
    with pytest.warns(UserWarning, match="counts as missing") as caught:
        assert store.find(small_run.record.config) is None
    (warning,) = caught
    assert str(path) in str(warning.message)
    assert "\n" not in str(warning.message)
    assert warning.filename == __file__  # the caller's line, not the store's
    assert not folder.exists()
    (aside,) = (store.folder / "damaged").iterdir()
    assert str(aside) in str(warning.message)
    assert {path.name for path in aside.iterdir()} | {path.name} == files  # nothing is thrown away
    # the others, and what comes after:
    assert store.find(other.record.config) == other.record
    assert store.names() == [other.record.name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert store.find(small_run.record.config) is None
    store.write(small_run)
    assert store.find(small_run.record.config) == small_run.record


def test_of_each_damaged_file_the_last_copy_is_kept(store, small_run, other):
    for length in (100, 200):
        store.write(small_run)
        path = store.folder / small_run.record.name / "record.json"
        path.write_bytes(path.read_bytes()[:length])
        with pytest.warns(UserWarning, match="counts as missing"):
            store.find(small_run.record.config)
    (kept,) = (store.folder / "damaged").iterdir()
    assert (kept / "record.json").stat().st_size == 200
    store.write(small_run)
    for run in (small_run, other):  # files of one name, of two runs
        store.path_of(run.record, "weights", RULE).write_bytes(b"")
        with pytest.warns(UserWarning, match="--force"):
            store.weights(run.record, RULE)
    assert len(list((store.folder / "damaged").iterdir())) == 3


def test_a_record_in_another_runs_folder_is_not_taken_for_its(store, small_run, other):
    stolen = (store.folder / other.record.name / "record.json").read_bytes()
    (store.folder / small_run.record.name / "record.json").write_bytes(stolen)
    with pytest.warns(UserWarning, match="of another run"):
        assert store.find(small_run.record.config) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b""])
def test_damaged_weights_are_named_set_aside_and_count_as_not_kept(store, small_run, damage):
    path = only(store.folder / small_run.record.name, "weights")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="--force") as caught:
        assert store.weights(small_run.record, RULE) is None
    assert str(path) in str(caught[0].message)
    assert not path.exists()
    assert [p.suffix for p in (store.folder / "damaged").iterdir()] == [".safetensors"]
    assert store.weights(small_run.record, RULE) is None  # said once
    assert store.find(small_run.record.config) == small_run.record  # its results stand


def test_a_run_that_is_still_being_written_is_absent_and_left_alone(store, small_run):
    """The record comes last: until then, and after an interruption, there are only arrays."""
    folder = store.folder / small_run.record.name
    (folder / "record.json").unlink()
    assert store.find(small_run.record.config) is None
    assert only(folder, "predictions").exists()
    assert small_run.record.name not in store.names()


def test_damage_in_a_store_that_cannot_be_written_is_no_crash(store, small_run, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fmnist_lib.runs.store.os, "replace", refuse)
    cut(store.folder / small_run.record.name)
    with pytest.warns(UserWarning, match="could not be set aside: Permission denied"):
        assert store.find(small_run.record.config) is None


def test_damage_in_a_read_only_store_is_named_and_stays_where_it_is(store, small_run):
    path = cut(store.folder / small_run.record.name)
    store = RunStore(store.folder, read_only=True)
    with pytest.warns(UserWarning, match="counts as missing") as caught:
        assert store.find(small_run.record.config) is None
    assert str(path) in str(caught[0].message)
    assert path.exists()
    assert not (store.folder / "damaged").exists()


def test_a_newer_records_schema_is_refused_and_the_record_left_alone(store, small_run):
    path = store.folder / small_run.record.name / "record.json"
    edit(path, lambda content: content.update(schema_version=records.SCHEMA_VERSION + 1))
    with pytest.raises(UserError, match="newer version of this project") as error:
        store.find(small_run.record.config)
    assert str(path) in str(error.value)
    assert path.exists()


# --- whole files or none -----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fmnist_lib.runs.store.os, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_appears_whole(store, small_run, monkeypatch):
    """No file of it, nor of what it replaces, changes under the name that readers know."""
    folder = store.folder / small_run.record.name
    before = {path: path.read_bytes() for path in folder.iterdir()}
    written = []

    def watch(path, content):
        write_atomically(path, content)
        written.append(path.name)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    monkeypatch.setattr(fmnist_lib.runs.store, "write_atomically", watch)
    store.write(small_run)
    assert sorted(written) == sorted(path.name for path in before)
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


# --- why a run is missing ----------------------------------------------------------------------


def test_a_rule_that_the_record_lacks_is_a_reason(store, small_run):
    more = make_config(
        **small_run.record.config.model_dump() | {"stops": [Stop(), Stop(patience=20)]}
    )
    assert more.name == small_run.record.name
    assert store.find(more) is None
    assert store.why_missing(more) == "its record lacks test_loss-p20"
    assert store.find(small_run.record.config) == small_run.record  # and nothing happened to it


def test_a_record_serves_a_request_for_fewer_rules(tmp_path, small_run):
    rules = [Stop(), Stop(patience=20)]
    both = renamed(small_run, stops=rules)
    stops = {rule.name: both.record.stops[RULE].model_copy(update={"rule": rule}) for rule in rules}
    record = both.record.model_copy(update={"stops": stops})
    both = honest(RunOutput(record, {name: both.predictions[RULE] for name in stops}, {}))
    store = RunStore(tmp_path)
    store.write(both)
    assert store.find(small_run.record.config) == both.record


def test_settings_that_differ_are_the_reason(store, small_run):
    changed = renamed(small_run, batch_size=128).record.config
    assert store.why_missing(changed) == "batch_size is 128, recorded 64"
    changed = renamed(small_run, model_options={"activation": "relu"}, max_epochs=3).record.config
    reason = store.why_missing(changed)
    assert "max_epochs is 3, recorded 2" in reason
    assert "model_options is {'activation': 'relu'}, recorded {}" in reason


def test_the_nearest_of_several_records_gives_the_reason(store, small_run):
    store.write(renamed(small_run, batch_size=32, learning_rate=0.01))
    wanted = renamed(small_run, batch_size=128).record.config
    assert store.why_missing(wanted) == "batch_size is 128, recorded 64"


def test_nothing_alike_is_a_reason(store, small_run):
    wanted = renamed(small_run, seed=10).record.config  # not mistaken for seed 1
    assert store.why_missing(wanted) == "no record of this model and seed"


def test_changed_code_or_data_is_a_reason(store, small_run, monkeypatch):
    monkeypatch.setattr("fmnist_lib.runs.config.TRAINING_VERSION", 1000)
    assert store.find(small_run.record.config) is None
    assert store.why_missing(small_run.record.config) == (
        "training code or data have changed since"
    )


def test_a_damaged_relative_is_a_reason_that_names_it(store, small_run, other):
    path = cut(store.folder / small_run.record.name)
    (store.folder / other.record.name / "record.json").unlink()
    assert str(path) in store.why_missing(renamed(small_run, batch_size=128).record.config)


def test_equal_settings_have_no_difference(small_run):
    config = small_run.record.config
    other_rules = renamed(small_run, stops=[Stop(patience=9)]).record.config
    assert describe_difference(config, other_rules) == ""


# --- one writer at a time ----------------------------------------------------------------------

HOLD = """
import sys, time
from fmnist_lib.runs.store import RunStore

with RunStore(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the store in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_store_until_it_is_gone(tmp_path, holder):
    store = RunStore(tmp_path)
    with pytest.raises(UserError, match=rf"another process \(id {holder.pid}\)"), store.lock():
        pass
    assert store.names() == []  # reading needs no lock
    os.kill(holder.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    holder.wait()
    with store.lock():
        assert (tmp_path / ".holder").read_text() == str(os.getpid())


def test_the_lock_is_given_back_even_after_an_error(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(KeyError), store.lock():
        raise KeyError
    with store.lock():
        pass
    assert not (tmp_path / ".holder").exists()


def test_a_store_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "runs", tmp_path / "file"):
        with pytest.raises(UserError, match="cannot be written to") as error:
            RunStore(folder).lock().__enter__()
        assert str(folder) in str(error.value)


# --- costs -------------------------------------------------------------------------------------


def cost_file(store, cost):
    return store.folder / "costs" / f"{cost.name}.json"


def test_a_damaged_cost_is_named_set_aside_and_measured_again(tmp_path, small_run):
    cost = make_cost(small_run.record.config)
    store = RunStore(tmp_path)
    store.write_cost(cost)
    path = cost_file(store, cost)
    edit(path, lambda content: content["latency_ms"].append(0.001))
    with pytest.warns(UserWarning, match=r"checksum.*measured again") as caught:
        assert store.costs() == []
    assert str(path) in str(caught[0].message)
    assert store.costs() == []
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_two_costs_whose_files_were_exchanged_are_refused_and_named(tmp_path):
    store = RunStore(tmp_path, read_only=True)
    costs = [make_cost(make_config(model=model)) for model in ("lenet5", "vit_tiny")]
    for cost in costs:
        store.write_cost(cost)
    paths = [cost_file(store, cost) for cost in costs]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)
    with pytest.warns(UserWarning, match="name: is") as caught:
        assert store.costs() == []
    assert {path for path in paths for w in caught if str(path) in str(w.message)} == set(paths)


def test_a_cost_of_one_model_under_the_name_of_another_is_refused(tmp_path):
    store = RunStore(tmp_path)
    cost = make_cost(make_config(model="lenet5")).model_copy(update={"model": "vit_tiny"})
    store.write_cost(cost)
    with pytest.warns(UserWarning, match="of vit_tiny"):
        assert store.find_cost(cost.name) is None


# --- names that lead elsewhere -----------------------------------------------------------------

OUTSIDE = ["../x", "/tmp/x", "a/b", "..", ".", "", ".hidden", "a\\b", "a\0b", "a\nb"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_in_a_record_leads_outside_the_store(store, small_run, tmp_path, name):
    forge(store, small_run, lambda content: content.update(name=name))
    with pytest.raises(DamagedRecordError, match=r"record\.json: .*name"):
        store.read(small_run.record.name)
    forge(store, small_run, lambda c: c.update(name=small_run.record.name, stops=keyed(c, name)))
    with pytest.raises(DamagedRecordError, match=r"record\.json: .*stops"):
        store.read(small_run.record.name)
    cost = make_cost(small_run.record.config)
    store.write_cost(cost)
    path = cost_file(store, cost)
    write_with_checksum(path, lambda content: content.update(name=name))
    with pytest.warns(UserWarning, match="name"):
        assert store.find_cost(cost.name) is None


def keyed(content, name):
    """The stopping rules of a record's content under another name."""
    return {name: next(iter(content["stops"].values()))}


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", ""])
def test_nothing_is_written_under_such_a_name(tmp_path, small_run, name):
    store = RunStore(tmp_path / "a" / "store")
    run, cost = small_run.record, make_cost(small_run.record.config)
    output = replace(small_run, record=run.model_copy(update={"name": name}))
    for write in (
        lambda: store.write(output),
        lambda: store.write_cost(cost.model_copy(update={"name": name})),
    ):
        with pytest.raises(DamagedRecordError, match="is not the name of a file"):
            write()
    assert not list(tmp_path.iterdir())


# --- records that contradict themselves --------------------------------------------------------


def write_with_checksum(path, change):
    content = json.loads(path.read_text())
    content.pop("checksum")
    content = change(content) or content
    path.write_text(json.dumps({**content, "checksum": digest_json(content)}))


def forge(store, run, change):
    """Change a stored record and make all its digests anew, as who forges it would."""

    def changed(content):
        change(content)
        return with_digests(content)

    write_with_checksum(store.folder / run.record.name / "record.json", changed)


SHORT = "test_loss-p2"


@pytest.fixture
def forgeable(tmp_path):
    """A store and the one run in it: two rules fired, one after the other."""
    losses = (0.9, 0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    rules = (Stop(), Stop(patience=2))
    run = make_run(losses=losses, stops=rules, predicted=mistaken(100, range(9)), test_images=100)
    store = RunStore(tmp_path, read_only=True)
    store.write(honest(run))
    assert store.find(run.record.config)
    return store, honest(run)


def raised(content):
    for row in content["history"]:
        row["test_accuracy"] += 1
    for kept in content["stops"].values():
        kept["test_accuracy"] += 1


def set_in_rule(**values):
    return lambda content: content["stops"][RULE].update(values)


def moved(content):
    """A wrong image counted as right in the confusion matrix alone."""
    confusion = content["stops"][RULE]["confusion"]
    row = next(i for i in range(10) if any(n for j, n in enumerate(confusion[i]) if j != i))
    column = next(j for j in range(10) if j != row and confusion[row][j])
    confusion[row][column] -= 1
    confusion[row][row] += 1


def later_minimum(content):
    """The loss is lowest elsewhere than where the rule says."""
    content["history"][2]["test_loss"] = 0.1


def exchanged_rules(content):
    stops = content["stops"]
    stops[RULE], stops[SHORT] = stops[SHORT], stops[RULE]


FORGERIES = {
    "accuracy raised everywhere": (raised, f"stops.{RULE}.test_accuracy"),
    "accuracy of a rule": (set_in_rule(test_accuracy=99.0), f"stops.{RULE}.test_accuracy"),
    "loss of a rule": (set_in_rule(test_loss=0.1), f"stops.{RULE}.test_loss"),
    "training loss of a rule": (set_in_rule(train_loss=0.1), f"stops.{RULE}.train_loss"),
    "validation that was none": (
        set_in_rule(validation_accuracy=99.0),
        f"stops.{RULE}.validation_accuracy",
    ),
    "fold that was none": (set_in_rule(fold_accuracy=99.0), f"stops.{RULE}.fold_accuracy"),
    "confusion": (moved, f"stops.{RULE}.confusion"),
    "another best epoch": (set_in_rule(best_epoch=2), f"stops.{RULE}.best_epoch"),
    "the loss is lower elsewhere": (later_minimum, f"stops.{RULE}.best_epoch"),
    "an epoch beyond the last": (set_in_rule(best_epoch=11), f"stops.{RULE}.best_epoch"),
    "no epoch": (set_in_rule(best_epoch=0), f"stops.{RULE}.best_epoch"),
    "fired": (set_in_rule(fired=False), f"stops.{RULE}.fired"),
    "epochs": (set_in_rule(epochs=9), f"stops.{RULE}.epochs"),
    "history cut": (lambda c: c["history"].pop(), f"stops.{RULE}.fired"),
    "history emptied": (lambda c: c["history"].clear(), "history"),
    "history goes on": (lambda c: c["history"].append(c["history"][-1]), "history"),
    "epochs numbered otherwise": (lambda c: c["history"][0].update(epoch=7), "history"),
    "another key": (lambda c: c.update(key="0" * 64), "key"),
    "another name": (lambda c: c.update(name="lenet5-s1-0123456789ab"), "name"),
    "another config": (lambda c: c["config"].update(learning_rate=0.5), "key"),
    "rules exchanged": (exchanged_rules, "stops"),
    "a rule left out": (lambda c: c["stops"].pop(SHORT), "stops"),
    "a rule of another name": (
        lambda c: c["stops"].update({"test_loss-p9": c["stops"].pop(SHORT)}),
        "stops",
    ),
    "no parameters": (lambda c: c.update(parameters=0), "parameters"),
    "other predictions' hash": (
        set_in_rule(predictions_sha256="0" * 64),
        "predictions-0000000000000000.safetensors",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_that_contradicts_itself_is_refused_and_the_field_named(forgeable, forgery):
    store, run = forgeable
    change, field = FORGERIES[forgery]
    forge(store, run, change)
    with pytest.raises(DamagedRecordError) as error:
        store.read(run.record.name)
    assert field in str(error.value)
    assert str(store.folder / run.record.name) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_way_of_reading_refuses_it(forgeable, tmp_path):
    store, run = forgeable
    forge(store, run, raised)
    with pytest.raises(DamagedRecordError):
        store.runs()
    assert list(store.readable()) == []
    with pytest.warns(UserWarning, match="test_accuracy.*counts as missing"):
        assert store.find(run.record.config) is None


@pytest.mark.parametrize("field", ["digest", "result_digest"])
def test_digests_follow_from_what_they_are_of(forgeable, field):
    store, run = forgeable

    def change(content):
        holder = content if field in content else content["stops"][RULE]
        holder[field] = "0" * 64

    write_with_checksum(store.folder / run.record.name / "record.json", change)
    with pytest.raises(DamagedRecordError, match=field):
        store.read(run.record.name)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"predicted": np.zeros(99, np.uint8)}, "99"),
        ({"predicted": np.full(100, 10, np.uint8)}, "False"),
        ({"predicted": np.zeros(100, np.int64)}, "int64"),
        ({"predicted": np.zeros((100, 1), np.uint8)}, "(100, 1)"),
        ({"others": np.zeros(100, np.uint8)}, "(0,)"),
    ],
)
def test_there_is_a_prediction_for_each_test_image(forgeable, arrays, fault):
    store, run = forgeable
    predictions = dict.fromkeys(run.predictions, arrays)
    stops = {
        name: kept.model_copy(update={"predictions_sha256": digest_arrays(arrays)})
        for name, kept in run.record.stops.items()
    }
    record = run.record.model_copy(update={"stops": stops})
    store.write(RunOutput(record, predictions, {}))
    with pytest.raises(DamagedRecordError) as error:
        store.read(record.name)
    assert fault in str(error.value).partition(".predicted: is ")[2]


def test_without_the_data_all_else_is_checked(forgeable, monkeypatch):
    def refuse(*_, **__):
        raise UserError("the data cannot be had")

    store, run = forgeable
    monkeypatch.setattr("fmnist_lib.data.fashion_mnist.load", refuse)
    labels_of.cache_clear()
    try:
        assert store.read(run.record.name) == run.record
        forge(store, run, raised)  # nothing else gives that away
        store.read(run.record.name)
        forge(store, run, set_in_rule(test_accuracy=99.0))
        with pytest.raises(DamagedRecordError, match="test_accuracy"):
            store.read(run.record.name)
    finally:
        labels_of.cache_clear()


def test_labels_are_those_of_the_images_that_a_run_was_tested_on():
    for count in (None, 200):
        found = true_labels(make_config(model="lenet5", test_images=count))
        assert list(found) == ["test"]
        assert np.array_equal(found["test"], labels(count))


FOLD = {"protocol": "fold", "fold": 1, "folds": 4, "validation_images": 64, "max_epochs": 1}


def test_a_run_with_a_fold_is_judged_on_the_images_it_held_out(tmp_path, small_data):
    config = make_config(model="lenet5", train_images=256, test_images=200, **FOLD)
    run, store = run_experiment(config, data=small_data), RunStore(tmp_path)
    store.write(run)
    assert store.read(config.name) == run.record
    (kept,) = run.record.stops.values()
    (arrays,) = run.predictions.values()
    true = true_labels(config)["fold"]
    assert len(true) == 64
    assert kept.fold_accuracy == 100.0 * int((arrays["fold_predicted"] == true).sum()) / 64

    def raised(content):
        content["history"][0]["fold_accuracy"] += 1
        content["stops"][RULE]["fold_accuracy"] += 1

    forge(store, run, raised)
    with pytest.raises(DamagedRecordError, match="fold_accuracy"):
        store.read(config.name)


def test_a_run_with_a_fixed_number_of_epochs_keeps_its_last(tmp_path):
    run = make_run(losses=(0.4, 0.9, 0.5), test_images=100)
    config = make_config(model="lenet5", test_images=100, epochs=3)
    (rule,) = config.rules
    kept = run.record.stops[RULE].model_copy(
        update={
            **{"rule": rule, "best_epoch": 3, "epochs": 3, "fired": True},
            **run.record.history[2].model_dump(exclude={"epoch", "train_seconds", "inference_ms"}),
        }
    )
    changes = {"name": config.name, "key": config.key, "config": config, "stops": {"last": kept}}
    record = run.record.model_copy(update=changes)
    output = honest(RunOutput(record, {"last": run.predictions[RULE]}, {}))
    store = RunStore(tmp_path)
    store.write(output)
    assert store.find(config) == output.record
    forge(store, output, lambda content: content["stops"]["last"].update(best_epoch=1))
    with pytest.raises(DamagedRecordError, match="best_epoch"):
        store.read(config.name)


def test_every_released_record_agrees_with_itself():
    store = RunStore(REPORT / "records", read_only=True)
    runs = store.runs()
    assert len(runs) == len(store.names()) > 0
    for run in runs:
        predictions = {rule: store.predictions(run, rule) for rule in run.stops}
        assert contradictions(run, predictions, true_labels(run.config)) == []
    assert len(store.costs()) == len(list(store.folder.glob("costs/*.json")))


def test_the_history_of_a_run_without_folds_is_digested_as_ever(small_run):
    (row, *_) = metrics_of(small_run.record.history)
    assert set(row) == {
        *("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"),
        *("validation_loss", "validation_accuracy"),
    }
    folded = small_run.record.history[0].model_copy(update={"fold_loss": 1.0, "fold_accuracy": 2.0})
    assert set(metrics_of([folded])[0]) == {*row, "fold_loss", "fold_accuracy"}


# --- JSON that is none -------------------------------------------------------------------------


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "version",
    ["Infinity", "-Infinity", "NaN", "1e999", '"\\ud800"', "9" * 5000]
    + [nested(depth) for depth in (10, 150, 300, 500, 900, 1000, 100_000)],
    ids=lambda text: text[:9] + str(len(text)),
)
@pytest.mark.parametrize("place", ["schema_version", "parameters", "model_options"])
def test_no_json_is_a_traceback(store, small_run, version, place):
    path = store.folder / small_run.record.name / "record.json"
    content = json.loads(path.read_text())
    options = content["config"]["model_options"]
    (options if place == "model_options" else content)[place] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', version))
    with contextlib.suppress(ValueError, RecursionError):  # with a checksum, where there can be
        write_with_checksum(path, lambda content: None)
    with pytest.raises(DamagedRecordError) as error:
        store.read(small_run.record.name)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
