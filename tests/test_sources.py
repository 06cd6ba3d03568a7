"""Each shown number says what it rests on: the runs, the timings, the paper, or a model."""

import math

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from made_up import ENVIRONMENT, mistaken
from test_findings import N, results_of  # noqa: F401, a fixture
from test_say import notebook  # noqa: F401, a fixture

from fmnist_lib.reporting import beside, findings, protocol, sources, standing
from fmnist_lib.reporting.sanitise import sanitise
from fmnist_lib.reporting.say import say, show_figure, show_table
from fmnist_lib.reporting.sources import Row


@pytest.fixture
def results(results_of, monkeypatch):  # noqa: F811
    """Two runs of LeNet-5, which was timed, one of ViT-Tiny, which was not; a notebook shows them.

    The first run of LeNet-5 is wrong on 10 images, the second on 12.
    """
    monkeypatch.setattr(sources, "_results", None)
    runs = [{"seed": seed, "predicted": mistaken(N, range(10 + 2 * seed))} for seed in (0, 1)]
    found = results_of(*runs, {"model": "vit_tiny"}, costs=["lenet5"])
    sources.show_results(found)
    return found


def names(results, model):
    return " ".join(run.name for run in results.of(model))


def timing(results, model="lenet5"):
    return f"costs/{results.costs[model].name}"


def marks(page):
    """The values of a page by where they stand; tells if two stand at the same place."""
    values = page.select(".value[data-at]")
    found = {value["data-at"]: value for value in values}
    assert len(found) == len(values)
    return found


def test_a_sentence_names_the_runs_behind_its_numbers_and_their_spread(notebook, results):  # noqa: F811
    found = findings.headline(results, "lenet5")
    say("{found.ours.test_accuracy:.2f} {found.paper.test_accuracy:.2f} {found.title}", found=found)
    ours, paper, title = notebook.page.select(".value")
    assert ours["data-source"] == names(results, "lenet5")  # not ViT-Tiny's: the row is of a model
    assert ours["data-at"] == "found.ours.test_accuracy"
    low, high = found.ours.test_accuracy_low, found.ours.test_accuracy_high
    assert ours["data-spread"] == (
        f"standard deviation {math.sqrt(2):.2f} over 2 runs; "
        f"95\N{NO-BREAK SPACE}% interval {low:.2f} to {high:.2f}"
    )
    assert paper["data-source"] == "paper"
    assert title.attrs == {"class": ["value"]}  # a name, not a result
    assert notebook.text == "89.00 89.07 LeNet-5"


def test_without_a_notebooks_results_a_value_is_marked_as_before(notebook, results):  # noqa: F811
    sources.show_results(None)
    say("{n} of {m}", n=1, m=2, source={"m": "settings"})
    plain, told = notebook.page.select(".value")
    assert plain.attrs == {"class": ["value"]}
    assert (told["data-source"], told["data-at"]) == ("settings", "m")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("lead.value", "runs"),
        ("test_accuracy_interval", "runs"),
        ("found.paper.train_seconds", "paper"),
        ("near.epochs_paper", "paper"),
        ("test_accuracy_paper", "paper"),
        ("in_paper", "paper"),
        ("near.mean", "runs paper"),
        ("near.limit", "settings"),
        ("tally.said[C1]", "runs times paper"),
        ("difference", "runs paper"),
        ("here.train_seconds", "times"),
        ("inference_ms_mean", "times"),
        ("latency_ms_p90", "times"),
        ("pace.factor", "times"),
        ("pace.paper_least", "times paper"),
        ("total_train_seconds", "runs times"),
        ("train_us_per_parameter", "times"),
        ("train_seconds_in_runs", "clocked"),
        ("pace.in_runs_least", "clocked times"),
    ],
)
def test_names_tell_what_a_value_rests_on(path, words):
    assert sources.rests_on(path) == words


def test_each_row_of_a_table_rests_on_its_own_models_records(notebook, results):  # noqa: F811
    show_table(beside.table1(results), name="table1", caption="c", **beside.TABLE1)
    first, second = notebook.page.select("tbody tr")
    assert [row["data-model"] for row in (first, second)] == ["lenet5", "vit_tiny"]
    found = marks(notebook.page)
    accuracy = found["table1/lenet5/test_accuracy"]
    assert accuracy["data-source"] == names(results, "lenet5")
    assert accuracy["data-spread"].startswith("standard deviation 1.41 over 2 runs; 95")
    assert found["table1/lenet5/test_accuracy_paper"]["data-source"] == "paper"
    assert found["table1/vit_tiny/difference"]["data-source"] == (
        f"{names(results, 'vit_tiny')} paper"
    )
    assert "standard deviation" not in found["table1/vit_tiny/test_accuracy"]["data-spread"]


def test_places_within_words_are_numbers_and_the_name_of_an_interval_is_none(notebook):  # noqa: F811
    text = "It comes 4th of 6 with 38.5 ± 1.7 s (95 % interval 1.2 to 3), more than 90 % (C3)"
    show_table(pd.DataFrame({"words": [text]}), name="t", caption="c", source={"words": "paper"})
    found = [value.text for value in notebook.page.select("tbody .value")]
    assert found == ["4th", "6", "38.5", "1.7", "1.2", "3", "90"]


def test_times_rest_on_the_timing_and_unknown_ones_on_nothing(notebook, results):  # noqa: F811
    show_table(beside.table2(results), name="table2", caption="c", **beside.TABLE2)
    found = marks(notebook.page)
    seconds = found["table2/lenet5/train_seconds"]
    assert seconds["data-source"] == timing(results)
    assert seconds["data-spread"] == "standard deviation 1.00 over repeated timings"
    assert found["table2/lenet5/train_seconds_paper"]["data-spread"].endswith("the paper's run")
    total = found["table2/lenet5/total_train_seconds"]["data-source"]
    assert total == f"{names(results, 'lenet5')} {timing(results)}"
    assert "table2/vit_tiny/train_seconds" not in found


def test_rows_headed_by_the_paper_are_the_papers(notebook, results):  # noqa: F811
    table = beside.result(results, "lenet5")
    show_table(table, name="lenet5-result", caption="c", **beside.RESULT)
    found = marks(notebook.page)
    kinds = ("here", "paper", "here-paper")
    named = [found[f"lenet5-result/{kind}/test_loss"]["data-source"].split() for kind in kinds]
    assert named[1] == ["paper"]
    assert named[2] == [*named[0], "paper"]


def test_a_row_of_a_run_or_timing_names_it(notebook, results):  # noqa: F811
    show_table(protocol.runs(results), name="runs", caption="c", **protocol.RUNS)
    rows = notebook.page.select("tbody tr")
    assert [row["data-run"] for row in rows] == [run.name for run in results.runs]
    assert [row["data-model"] for row in rows] == [run.config.model for run in results.runs]
    for row in rows:
        assert {value["data-source"] for value in row.select(".value")} == {row["data-run"]}
    show_table(protocol.timings(results), name="timings", caption="c", **protocol.TIMINGS)
    assert [row["data-run"] for row in notebook.page.select("tbody tr")] == [timing(results)]


def test_runs_and_timings_say_in_which_environment_they_were_made(results_of):  # noqa: F811
    other = ENVIRONMENT.model_copy(update={"cpu": "Another"})
    results = results_of({"environment": other}, {"model": "vit_tiny"}, costs=["lenet5"])
    assert list(protocol.runs(results).environment) == ["1", "2"]
    assert list(protocol.timings(results).environment) == ["2"]
    machines = protocol.machines(results).set_index("")
    assert list(machines.loc["Processor"]) == ["Another", ENVIRONMENT.cpu]


def test_what_the_author_says_of_a_source_counts_first(notebook, results):  # noqa: F811
    frame = pd.DataFrame({"part": ["a1", "b"], "weights": [1, 2], "words": ["1.5 to <2>, C1", "x"]})
    source = {"weights": "model:lenet5", "words": "paper", "n": "settings"}
    show_table(frame, name="parts", caption="All {n}.", source=source, n=2)
    page = notebook.page
    assert page.figcaption.span["data-source"] == "settings"
    weights = page.find(attrs={"data-at": "parts/a1/weights"})
    assert weights["data-source"] == "model:lenet5"
    words = page.select("[data-at='parts/a1/words']")  # the numbers in it, not those in names
    assert [word.text for word in words] == ["1.5", "2"]
    assert page.select("tr")[1].text == "a111.5 to <2>, C1"
    show_table(frame, name="parts", caption="c", source="paper")
    assert {v["data-source"] for v in notebook.page.select(".value")} == {"paper"}
    assert len(notebook.page.select(".value")) == len(frame)  # numbers alone


@pytest.mark.parametrize(
    "show",
    [
        say,
        lambda text, **more: show_table(pd.DataFrame({"a": [1]}), name="t", caption=text, **more),
    ],
    ids=["say", "table"],
)
def test_a_source_of_something_not_shown_is_refused(notebook, show):  # noqa: F811
    with pytest.raises(KeyError, match="source of absent"):
        show("{n}", n=1, source={"absent": "paper"})
    assert not notebook.bundles


def test_rows_have_addresses_of_their_own(results):
    frame = pd.DataFrame({"class": ["T-shirt/top", "Shirt"], "f1": [1.0, 2.0]})
    assert [row.name for row in sources.rows(frame)] == ["t-shirt-top", "shirt"]
    twice = pd.DataFrame({"true": ["Shirt", "Shirt"], "count": [1, 2]})
    assert [row.name for row in sources.rows(twice)] == ["1", "2"]
    by_title = pd.DataFrame({"title": ["ViT-Tiny", "Unknown"]})
    assert sources.rows(by_title) == [Row("vit-tiny", "vit_tiny"), Row("unknown")]
    assert sources.rows(frame[:0]) == []


def test_a_row_a_run_and_rule_is_named_by_both(results):
    run = results.runs[0].name
    frame = pd.DataFrame({"run": [run, run], "stop": ["test_loss-p5", "test_loss-p20"]})
    assert [row.name for row in sources.rows(frame)] == [
        f"{run}-test_loss-p5",
        f"{run}-test_loss-p20",
    ]
    assert [row.name for row in sources.rows(frame[:1])] == [run]


def test_a_row_that_has_its_models_title_alone_rests_on_that_models_runs(notebook, results):  # noqa: F811
    row = pd.DataFrame({"title": ["ViT-Tiny"], "gap": [3.2]}).iloc[0]
    say("{row.gap:.1f}", row=row)
    (run,) = results.of("vit_tiny")
    assert notebook.page.select_one(".value")["data-source"] == run.name


def test_hostile_text_stays_within_its_attribute(notebook, results):  # noqa: F811
    hostile = '"><img src=x onerror=alert(1)>'
    say("{d[" + hostile + "]}", d={hostile: "v"}, source=hostile)
    (value,) = notebook.page.select(".value")
    assert value["data-at"] == f"d[{hostile}]"
    assert not notebook.page.select("img")
    frame = pd.DataFrame({hostile: [1], "model": [hostile]})
    show_table(frame, name="t", caption="c")
    assert not notebook.page.select("img")
    assert notebook.page.select("tbody .value")[0]["data-at"] == f"t/1/{hostile}"
    page = BeautifulSoup(sanitise(notebook.html), "html.parser")
    assert page.select("tbody .value")[0]["data-at"].startswith("t/1/")
    assert not page.select("img")


def test_how_the_report_was_made_is_told_from_the_records(results, monkeypatch, tmp_path):
    monkeypatch.setattr(protocol.paths, "REPORT", tmp_path / "none")
    made = protocol.making(results, "paper")
    assert made.command == "python run_all.py --profile paper --seeds 0-1 --models lenet5,vit_tiny"
    assert made.hours == pytest.approx(3 * 60.6 / 3600)
    assert (made.runs, made.timed) == ("3 runs", "one model")
    assert (made.first, made.last) == ("2026-01-01 10:01", "2026-01-01 10:01")
    assert made.released.endswith("not in it: 3.")


def test_runs_are_compared_with_the_released_ones(results, results_of, monkeypatch, tmp_path):  # noqa: F811
    release = tmp_path / "release"
    monkeypatch.setattr(protocol.paths, "REPORT", release)
    store = protocol.RunStore(release / "records")
    for run in results.runs[:2]:
        results.store.copy(run, store)
    assert protocol.released(results) == ["equal", "equal", None]
    assert "released report: 2 of 3" in protocol.compared_with_released(results)
    own = protocol.analysis.load_results(store, [run.config for run in results.runs])
    assert "runs of the released report" in protocol.compared_with_released(own)
    assert protocol.command(own, "paper").endswith("--release")


def test_words_of_the_comparison_rest_on_what_they_compare(notebook, results):  # noqa: F811
    near = standing.agreement(results)
    say("{near.largest} {near.limit:g}", near=near)
    largest, limit = notebook.page.select(".value")
    assert largest["data-source"].split() == [run.name for run in results.runs] + ["paper"]
    assert limit["data-source"] == "settings"


def test_a_figures_caption_is_marked_and_its_alt_is_text(notebook, results):  # noqa: F811
    figure = pytest.importorskip("matplotlib.figure").Figure()
    show_figure(figure, name="f", caption="{n}", alt="{n} lines", n=3, source="settings")
    assert notebook.page.figcaption.span["data-source"] == "settings"
    assert notebook.page.img["alt"] == "3 lines"
