"""Recipes that a search chose: what it says of them, and whose runs a report shows."""

import pytest
from made_up import make_cost, make_run, stored

from fmnist_lib import paths
from fmnist_lib.commands.job import Job, finder
from fmnist_lib.commands.make_report import study_results
from fmnist_lib.commands.notebook import open_results
from fmnist_lib.report import figures
from fmnist_lib.results import tables
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.store import RunStore

QUICK = {"optimizer": "adamw", "schedule": "onecycle", "learning_rate": 0.01}
SEARCH = {"seed": 100, "protocol": "split", "validation_images": 6_000}


def of(epochs, **settings):
    """What `make_run` takes for a run of so many epochs."""
    held = {"validation_losses": [0.5] * epochs} if "protocol" in settings else {}
    return {"losses": [0.5] * epochs, "epochs": epochs, "stops": (), **QUICK, **held, **settings}


@pytest.fixture
def found(tmp_path):
    """The quick runs of one model, the search behind them, and the paper's protocol."""
    timed = {"costs": [make_cost(make_run(test_images=100).record.config)]}
    tried = [of(4, **SEARCH), of(6, **SEARCH), of(6, **SEARCH, **{"learning_rate": 0.003})]
    return (
        stored(
            tmp_path / "q", *(of(6, seed=s) for s in range(3)), rule="last", family="quick", **timed
        ),
        stored(tmp_path / "s", *tried, rule="last", family="quick-search"),
        tables.models_frame(stored(tmp_path / "p", {"losses": [0.9, 0.5, *[0.7] * 5]}, **timed)),
    )


def test_a_recipe_by_hand(found):
    """An epoch takes 10 s alone: six of them against the seven until patience ran out."""
    frame = tables.by_recipe(*found)
    (row,) = tables.namespace(frame).values()
    assert (row.recipe_epochs, row.learning_rate, row.n) == (6, 0.01, 3)
    assert row.validation_accuracy == 77
    recipes = {(run.config.epochs, run.config.learning_rate): run.name for run in found[1].runs}
    assert row.validation_accuracy.sources == (recipes[6, 0.01],)
    assert (row.total_train_seconds, row.as_paper_seconds) == pytest.approx((60, 70))
    assert row.time_share == pytest.approx(100 * 6 / 7)
    assert row.dataloader_ratio == 3.408
    assert (row.as_paper, row.test_accuracy) == (100, 100)
    assert [*tables.searched(found[1]).recipe_epochs] == [4, 6, 6]


def test_the_figure_of_a_search_has_every_recipe_and_rings_the_chosen(found):
    tried = tables.runs_frame(found[1])
    (axes,) = figures.recipe_search(tried, tables.by_recipe(*found)).axes
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    assert drawn[:3] == [[[6, 77]], [[4, 75], [6, 77]], [[6, 77]]]  # two rates, and the ring


def test_the_figure_of_small_nets_has_what_others_published_and_ours_with_and_without(found):
    others = tables.documented()
    (axes,) = figures.small_nets(tables.by_recipe(*found), others).axes
    points = [tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    ours = [(60_000, 100)] * 2
    assert points == [*zip(others.parameters, others.test_accuracy, strict=True), *ours]
    assert [text.get_text() for text in axes.texts] == [*others.net]
    assert all(value.sources[0].startswith("https://") for value in others.parameters)


def test_runs_asked_for_are_shown_though_others_are_more(tmp_path, monkeypatch):
    own, study = RunStore(tmp_path / "own"), RunStore(tmp_path / "study")
    for config in plan("study", families="quick-search", models="lenet5"):
        study.write(
            make_run(**of(config.epochs, **SEARCH, **{"learning_rate": config.learning_rate}))
        )
    asked = plan("quick", find=study.find, models="lenet5")
    seeds = plan("study", find=study.find, families="quick", models="lenet5")
    for store, configs in ((own, asked), (study, seeds)):
        for config in configs:
            store.write(
                make_run(**of(config.epochs, seed=config.seed, learning_rate=config.learning_rate))
            )
    assert (len(asked), len(seeds)) == (1, 3)
    for configs, number in ((asked, 1), ([], 3)):
        job = Job("quick", configs, tmp_path / "out", store=own)
        shown = {each.family: each for each in study_results(job, own, study)}
        assert len(shown["quick"].runs) == number
        assert len(shown["quick-search"].runs) == 8
        assert shown["quick"].models == ["lenet5"]
    assert finder(own, study)(asked[0]) == own.find(asked[0])
    monkeypatch.setattr(paths, "RUNS", own.folder)  # which a notebook shows, as planned by a search
    monkeypatch.setattr(paths, "STUDY", study.folder)
    monkeypatch.setattr(paths, "REPORT", tmp_path)
    opened = open_results(family="quick", rule="last")
    assert [run.name for run in opened.runs] == [asked[0].name]
