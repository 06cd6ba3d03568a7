"""Records: what is written comes back, and what was damaged is named and never used."""

import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import make_cost, make_run

import fmnist_lib.runs.store
from fmnist_lib.errors import UserError
from fmnist_lib.runs import record as records
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.record import (
    DamagedRecordError,
    RunOutput,
    describe_difference,
    digest_arrays,
    digest_json,
)
from fmnist_lib.runs.store import RunStore, write_atomically

RULE = Stop().name


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
    result = small_run.record.stops[RULE].model_copy(
        update={"weights_sha256": digest_arrays(weights)}
    )
    record = small_run.record.model_copy(update={"stops": {RULE: result}})
    store = RunStore(tmp_path)
    store.write(RunOutput(record, small_run.predictions, {RULE: weights}))
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
    path = store.folder / small_run.record.name / f"predictions-{RULE}.safetensors"
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
    (store.folder / small_run.record.name / f"weights-{RULE}.safetensors").write_bytes(b"")
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
    path = folder / f"predictions-{RULE}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path


def cut_predictions(folder):
    path = folder / f"predictions-{RULE}.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    return path


def missing_predictions(folder):
    path = folder / f"predictions-{RULE}.safetensors"
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


def test_damage_after_damage_is_kept_apart(store, small_run):
    for _ in range(2):
        store.write(small_run)
        cut(store.folder / small_run.record.name)
        with pytest.warns(UserWarning, match="counts as missing"):
            store.find(small_run.record.config)
    assert len(list((store.folder / "damaged").iterdir())) == 2


def test_a_record_in_another_runs_folder_is_not_taken_for_its(store, small_run, other):
    stolen = (store.folder / other.record.name / "record.json").read_bytes()
    (store.folder / small_run.record.name / "record.json").write_bytes(stolen)
    with pytest.warns(UserWarning, match="the record is of another run"):
        assert store.find(small_run.record.config) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b""])
def test_damaged_weights_are_named_set_aside_and_count_as_not_kept(store, small_run, damage):
    path = store.folder / small_run.record.name / f"weights-{RULE}.safetensors"
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
    assert (folder / f"predictions-{RULE}.safetensors").exists()
    assert small_run.record.name not in store.names()


def test_damage_in_a_store_that_cannot_be_written_is_no_crash(store, small_run, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fmnist_lib.runs.store.shutil, "move", refuse)
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
    both = RunOutput(
        both.record.model_copy(update={"stops": stops}),
        {name: both.predictions[RULE] for name in stops},
        {},
    )
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


def test_a_record_whose_settings_are_not_those_of_its_name_is_none_of_that_run(tmp_path):
    output = make_run()
    wanted = output.record.config
    other = wanted.model_copy(update={"learning_rate": 0.5})
    store = RunStore(tmp_path)
    store.write(replace(output, record=output.record.model_copy(update={"config": other})))
    with pytest.warns(UserWarning, match=r"another run \(learning_rate is 0.001, recorded 0.5\)"):
        assert store.find(wanted) is None


def test_a_store_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "runs", tmp_path / "file"):
        with pytest.raises(UserError, match="cannot be written to") as error:
            RunStore(folder).lock().__enter__()
        assert str(folder) in str(error.value)


# --- costs -------------------------------------------------------------------------------------


def test_a_damaged_cost_is_named_set_aside_and_measured_again(tmp_path, small_run):
    cost = make_cost(small_run.record.config)
    store = RunStore(tmp_path)
    store.write_cost(cost)
    path = tmp_path / "costs" / f"{cost.name}.json"
    edit(path, lambda content: content["latency_ms"].append(0.001))
    with pytest.warns(UserWarning, match=r"checksum.*measured again") as caught:
        assert store.costs() == []
    assert str(path) in str(caught[0].message)
    assert store.costs() == []
    assert len(list((tmp_path / "damaged").iterdir())) == 1
