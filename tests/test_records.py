"""Records: what is written comes back, and what was damaged or forged is named and never used."""

import contextlib
import json

import numpy as np
import pytest
from made_up import SMALL, make_cost, make_run, mistaken

from fmnist_lib.paths import REPORT
from fmnist_lib.runs.config import Stop, make_config
from fmnist_lib.runs.record import (
    DamagedRecordError,
    EpochRow,
    RunOutput,
    as_rows,
    digest_arrays,
    digest_json,
    metrics_of,
    true_labels,
)
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore

RULE = Stop().name


@pytest.fixture
def other() -> RunOutput:
    return make_run(seed=1, test_images=100)


@pytest.fixture
def store(tmp_path, small_run, other) -> RunStore:
    """Two runs: `small_run` and `other`."""
    store = RunStore(tmp_path / "runs")
    store.write(small_run)
    store.write(other)
    return store


def file_of(store, run, kind="record"):
    """The one file of a run with its `record`, `predictions` or `weights`."""
    (path,) = (store.folder / run.record.name).glob(f"{kind}*")
    return path


def assert_same(arrays, others):
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (others[name].dtype, others[name].shape)
        assert np.array_equal(array, others[name])


# --- there and back ---


def test_what_is_written_comes_back(store, tmp_path, small_run, other):
    record, copy = small_run.record, RunStore(tmp_path / "copy")
    assert store.find(record.config) == record
    assert_same(store.arrays(record, "predictions", RULE), small_run.predictions[RULE])
    assert_same(store.arrays(record, "weights", RULE), small_run.weights[RULE])
    assert store.names() == sorted([record.name, other.record.name])
    assert [run.name for run in store.runs()] == store.names()
    size = file_of(store, small_run, "predictions").stat().st_size
    assert size < 200 * 5 + 500  # 50 KB and a header for 10,000 images
    store.copy(record, copy)
    assert copy.runs() == [record]
    with pytest.raises(DamagedRecordError):
        copy.arrays(record, "weights", RULE)  # which are not copied


def test_a_history_in_rows_is_read_as_one_in_columns(store, small_run):
    path = store.folder / small_run.record.name / "record.json"
    edit(path, lambda c: c.update(history=as_rows(c["history"])), seal=True)
    assert isinstance(json.loads(path.read_text())["history"], list)
    assert store.read(small_run.record.name) == small_run.record


def test_digests_see_names_types_shapes_and_values():
    array = np.arange(6, dtype=np.float32)
    others = array.astype(np.int32), array.reshape(2, 3), array + np.float32(1e-6)
    variants = [{"a": array}, {"b": array}, {"a": array, "b": array}, *({"a": o} for o in others)]
    assert len({digest_arrays(variant) for variant in variants}) == len(variants)
    assert digest_arrays({"a": array, "b": array}) == digest_arrays({"b": array, "a": array})
    turned = array.reshape(2, 3).T
    assert digest_arrays({"a": turned}) == digest_arrays({"a": np.ascontiguousarray(turned)})
    assert digest_json({"a": 0.1, "b": 1}) == digest_json({"b": 1, "a": 0.1})
    assert digest_json(0.1) != digest_json(0.1 + 2**-56)


# --- damage ---


def edit(path, change, *, seal=False):
    """Change a record's content; with `seal` its checksum is made anew."""
    content = json.loads(path.read_text())
    change(content)
    if seal:
        content.pop("checksum", None)
        content["checksum"] = digest_json(content)
    path.write_text(json.dumps(content))


def in_rule(**values):
    return lambda content: content["stops"][RULE].update(values)


def replace_by_another(path):
    (another,) = {*path.parent.parent.rglob("*.json")} - {path}
    path.write_bytes(another.read_bytes())


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def edited(change, *, seal=False):
    return lambda path: edit(path, change, seal=seal)


DAMAGES = {  # what is done to which file
    "cut": ("record", lambda path: path.write_bytes(path.read_bytes()[:1000])),
    "another kind of JSON": ("record", lambda path: path.write_text("[1, 2]")),
    "not text": ("record", lambda path: path.write_bytes(bytes(range(128, 256)))),
    "edited": ("record", edited(in_rule(test_accuracy=99.9))),
    "edited to NaN": ("record", edited(in_rule(test_loss=float("nan")))),
    "no checksum": ("record", edited(lambda content: content.pop("checksum"))),
    "no column": ("record", edited(lambda c: c["history"].clear(), seal=True)),
    "a short column": ("record", edited(lambda c: c["history"]["epoch"].pop(), seal=True)),
    "of a newer kind": ("record", edited(lambda c: c.update(schema_version=2), seal=True)),
    "another digest of a rule": ("record", edited(in_rule(digest="0" * 64), seal=True)),
    "another digest": ("record", edited(lambda c: c.update(result_digest="0" * 64), seal=True)),
    "unknown field": ("record", edited(lambda content: content.update(surprise=1), seal=True)),
    "another run's": ("record", replace_by_another),
    "prediction flipped": ("predictions", flip_last_bit),
    "predictions cut": ("predictions", lambda path: path.write_bytes(path.read_bytes()[:-10])),
    "predictions missing": ("predictions", lambda path: path.unlink()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_named_set_aside_and_counts_as_missing(store, small_run, other, damage):
    kind, harm = DAMAGES[damage]
    path = file_of(store, small_run, kind)
    files = {file.name for file in path.parent.iterdir()}
    harm(path)
    assert list(store.readable()) == [other.record]
    with pytest.warns(UserWarning, match="counts as missing"):
        assert RunStore(store.folder, read_only=True).find(small_run.record.config) is None
    assert path.parent.exists()  # named, and left where it is
    with pytest.warns(UserWarning, match="counts as missing") as caught:
        assert store.find(small_run.record.config) is None
    (warning,), (aside,) = caught, (store.folder / "damaged").iterdir()
    assert str(path) in str(warning.message)
    assert str(aside) in str(warning.message)
    assert "\n" not in str(warning.message)
    assert {file.name for file in aside.iterdir()} | {path.name} == files  # nothing is thrown away
    assert store.runs() == [other.record]
    assert store.find(small_run.record.config) is None  # and is not said again
    store.write(small_run)
    assert store.find(small_run.record.config) == small_run.record


def test_damaged_weights_are_not_read_and_the_results_stand(store, small_run):
    flip_last_bit(file_of(store, small_run, "weights"))
    with pytest.raises(DamagedRecordError, match="weights-"):
        store.arrays(small_run.record, "weights", RULE)
    assert store.find(small_run.record.config) == small_run.record


def test_a_record_serves_a_request_for_fewer_rules_and_loses_none_by_training_again(tmp_path):
    losses = (0.9, 0.5, 0.6, 0.7)
    both = make_run(losses=losses, stops=(Stop(), Stop(patience=2)), test_images=100)
    one = make_run(losses=losses, test_images=100).record.config
    store = RunStore(tmp_path)
    store.write(both)
    assert store.find(one) == both.record
    assert store.with_recorded_rules(one) == both.record.config
    fixed = make_config(model="lenet5", epochs=2)  # whose one rule is no stopping rule
    assert store.with_recorded_rules(fixed) == fixed


OUTSIDE = ["../x", "/tmp/x", "a/b", "..", ".", "", ".hidden", "a\\b", "a\0b", "a\nb"]


@pytest.mark.parametrize(
    "harm",
    [
        replace_by_another,
        edited(lambda cost: cost.update(model="lenet5"), seal=True),
        edited(lambda cost: cost.update(inference_images=1)),
        *(edited(lambda cost, n=name: cost.update(name=n), seal=True) for name in OUTSIDE),
    ],
)
def test_a_damaged_or_exchanged_cost_is_named_set_aside_and_measured_again(tmp_path, harm):
    store = RunStore(tmp_path)
    cost, another = (make_cost(make_config(model=model)) for model in ("vit_tiny", "lenet5"))
    for each in (cost, another):
        store.write_cost(each)
    path = tmp_path / "costs" / f"{cost.name}.json"
    harm(path)
    with pytest.warns(UserWarning, match="measured again") as caught:
        assert store.costs() == [another]
    (warning,), (_,) = caught, (tmp_path / "damaged").iterdir()
    assert str(path) in str(warning.message)
    assert not path.exists()


# --- records that contradict themselves ---


def forge(path, change):
    """Change a stored record and make all its digests anew, as who forges it would."""

    def changed(content):
        content["history"] = as_rows(content["history"])
        change(content)
        rows = metrics_of([EpochRow(**row) for row in content["history"]])
        for kept in content["stops"].values():
            hashes = {name: kept[name] for name in ("weights_sha256", "predictions_sha256")}
            kept["digest"] = digest_json([rows[: kept["epochs"]], hashes])
        digests = [kept["digest"] for _, kept in sorted(content["stops"].items())]
        content["result_digest"] = digest_json([rows, *digests])

    edit(path, changed, seal=True)


SHORT = "test_loss-p2"


@pytest.fixture
def forgeable(tmp_path):
    """A store and the one run in it: two rules fired, one after the other."""
    losses = (0.9, 0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    rules = (Stop(), Stop(patience=2))
    run = make_run(losses=losses, stops=rules, predicted=mistaken(100, range(9)), test_images=100)
    store = RunStore(tmp_path, read_only=True)
    store.write(run)
    assert store.find(run.record.config) == run.record
    return store, run


def raised(name="test_accuracy"):
    def change(content):
        for row in (*content["history"], *content["stops"].values()):
            row[name] += 1

    return change


def moved(content):
    """A wrong image counted as right in the confusion matrix alone."""
    confusion = content["stops"][RULE]["confusion"]
    row, column = next((i, j) for i in range(10) for j in range(10) if i != j and confusion[i][j])
    confusion[row][column] -= 1
    confusion[row][row] += 1


def renamed(name):
    """The short rule's result under another name."""
    return lambda content: content["stops"].update({name: content["stops"].pop(SHORT)})


FORGERIES = {  # and the field that is named
    "accuracy raised everywhere": (raised(), "test_accuracy"),
    "accuracy of a rule": (in_rule(test_accuracy=99.0), "test_accuracy"),
    "loss of a rule": (in_rule(test_loss=0.1), "test_loss"),
    "validation that was none": (in_rule(validation_accuracy=99.0), "validation_accuracy"),
    "fold that was none": (in_rule(fold_accuracy=99.0), "fold_accuracy"),
    "confusion": (moved, "confusion"),
    "a lower loss elsewhere": (lambda c: c["history"][2].update(test_loss=0.1), "best_epoch"),
    "an epoch beyond the last": (in_rule(best_epoch=11), "best_epoch"),
    "no epoch": (in_rule(best_epoch=0), "best_epoch"),
    "fired": (in_rule(fired=False), "fired"),
    "epochs": (in_rule(epochs=9), "epochs"),
    "history cut": (lambda c: c["history"].pop(), "fired"),
    "history emptied": (lambda c: c["history"].clear(), "history"),
    "history goes on": (lambda c: c["history"].append(c["history"][-1]), "history"),
    "epochs numbered otherwise": (lambda c: c["history"][0].update(epoch=7), "history"),
    "another key": (lambda c: c.update(key="0" * 64), "key"),
    "another name": (lambda c: c.update(name="lenet5-s1-0123456789ab"), "name"),
    "another config": (lambda c: c["config"].update(learning_rate=0.5), "key"),
    "a rule left out": (lambda c: c["stops"].pop(SHORT), "stops"),
    "a rule of another name": (renamed("test_loss-p9"), "stops"),
    "a rule of another's name": (renamed(RULE), "stops"),
    "no parameters": (lambda c: c.update(parameters=0), "parameters"),
    "other predictions' hash": (in_rule(predictions_sha256="0" * 64), "predictions-0000000000000"),
}


for outside in OUTSIDE:
    FORGERIES[f"named {outside!r}"] = (lambda c, name=outside: c.update(name=name), "name")
    FORGERIES[f"a rule {outside!r}"] = (renamed(outside), "stops")


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_that_contradicts_itself_is_refused_and_the_field_named(forgeable, forgery):
    store, run = forgeable
    change, field = FORGERIES[forgery]
    forge(file_of(store, run), change)
    with pytest.raises(DamagedRecordError) as error:
        store.read(run.record.name)
    folder, _, fault = str(error.value).partition(run.record.name)
    assert (folder, "\n" in fault) == (f"{store.folder}/", False)
    assert field in fault


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
    sha256 = {"predictions_sha256": digest_arrays(arrays)}
    stops = {name: kept.model_copy(update=sha256) for name, kept in run.record.stops.items()}
    record = run.record.model_copy(update={"stops": stops})
    store.write(RunOutput(record, dict.fromkeys(run.predictions, arrays), {}))
    with pytest.raises(DamagedRecordError) as error:
        store.read(record.name)
    assert fault in str(error.value).partition(".predicted: is ")[2]


FOLD = {"protocol": "fold", "fold": 1, "folds": 4, "validation_images": 64, "max_epochs": 1}


@pytest.mark.parametrize(
    ("settings", "change", "field"),
    [
        (FOLD, raised("fold_accuracy"), "fold_accuracy"),
        ({"epochs": 2}, lambda c: c["stops"]["last"].update(best_epoch=1), "best_epoch"),
    ],
    ids=["fold", "fixed epochs"],
)
def test_so_are_runs_with_folds_and_with_fixed_epochs(
    tmp_path, small_data, settings, change, field
):
    config = make_config(model="lenet5", **SMALL, **settings)
    run, store = run_experiment(config, data=small_data), RunStore(tmp_path)
    store.write(run)
    assert store.read(config.name) == run.record
    forge(store.folder / config.name / "record.json", change)
    with pytest.raises(DamagedRecordError, match=field):
        store.read(config.name)
    ((rule, kept),), (row, *_) = run.record.stops.items(), metrics_of(run.record.history)
    folded = {"fold_loss", "fold_accuracy"} if config.protocol == "fold" else set()
    assert {name for name in row if "fold" in name} == folded  # digests without stay
    if folded:  # judged on the images that it held out
        right = run.predictions[rule]["fold_predicted"] == true_labels(config)["fold"].numpy()
        assert kept.fold_accuracy == 100.0 * right.sum() / 64


def test_every_released_record_agrees_with_itself_and_its_key():
    store = RunStore(REPORT / "records", read_only=True)
    runs = store.runs()  # each checked
    assert runs
    assert all(run.key == run.config.key for run in runs)
    assert len(store.costs()) == len(list(store.folder.glob("costs/*.json")))


@pytest.mark.parametrize(
    "value",
    ["Infinity", "-Infinity", "NaN", "1e999", '"\\ud800"', "9" * 5000]
    + ["[" * depth + "]" * depth for depth in (10, 300, 1000, 100_000)],
    ids=lambda text: text[:9] + str(len(text)),
)
@pytest.mark.parametrize("place", ["schema_version", "parameters", "model_options"])
def test_no_json_is_a_traceback(store, small_run, value, place):
    path = file_of(store, small_run)
    content = json.loads(path.read_text())
    options = content["config"]["model_options"]
    (options if place == "model_options" else content)[place] = "HERE"
    path.write_text(json.dumps(content).replace('"HERE"', value))
    with contextlib.suppress(ValueError, RecursionError):  # with a checksum, where there can be
        edit(path, lambda content: None, seal=True)
    with pytest.raises(DamagedRecordError) as error:
        store.read(small_run.record.name)
    line = str(error.value)
    assert str(path) in line
    assert "\n" not in line
    assert len(line) < 1000
