"""What variants of the models add to their accuracy, by the formula that judges the claims."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan

import pandas as pd

from fmnist_lib.claims.experiments import UNKNOWN, Comparison, effect
from fmnist_lib.models import MODELS
from fmnist_lib.results import tables
from fmnist_lib.results.load import Results, paired
from fmnist_lib.results.statistics import Estimate
from fmnist_lib.results.value import Value, framed


def joined(families: Sequence[Results], rule: str) -> pd.DataFrame:
    """Return the runs of families read at one rule, plain, each with which images it gets `right`.

    Runs by fold are left out: each is tested on other images.
    """
    frames = []
    for results in (replace(family, rule=rule) for family in families):
        right = [results.predictions(run)["right"] for run in results.runs]
        frames.append(tables.runs_frame(results).assign(right=right))
    runs = pd.concat(frames, ignore_index=True)
    return runs[runs.fold.isna()]


def effects(results: Results, control: Results) -> pd.DataFrame:
    """Return one row a variant of `results`, beside its model in `control` at the same seeds.

    Indexed by a name for readers. Columns: model, title, variant, n, parameters, macs,
    test_accuracy, best_epoch; effect (in points of test accuracy, paired by seed, with its 95 %
    interval over seeds and images; of one run, against all seeds of the control, whose spread
    counts as its own, as in `tables.next_run`; nan without two seeds); p_holm and differs as in
    `tables.pairs`, corrected over all rows.
    """
    control = replace(control, rule=results.rule)
    runs, rows, found = joined([control, results], results.rule), {}, []
    for model, variant in results.variants:
        own = replace(results, variant=variant)
        before, after = (tables.measured(side, model, "test_accuracy") for side in (control, own))
        if len(after.parts) == 1 < (seeds := len(before.parts)):
            by_seed, error = after - before, before.std * (1 + 1 / seeds) ** 0.5
            found.append(Estimate(float(by_seed), error, seeds - 1, seeds=1))
        else:
            by_seed = paired(after, before)
            found.append(effect(Comparison(model, variant, ""), runs))
        number = nan if found[-1] == UNKNOWN else found[-1].effect
        first, title = own.of(model)[0], MODELS[model].title
        rows[f"{title}, {variant}"] = {
            **{"model": model, "title": title, "variant": variant},
            "n": Value(len(own.of(model)), after),
            **{name: Value(getattr(first, name), first.name) for name in ("parameters", "macs")},
            "test_accuracy": after,
            "best_epoch": tables.measured(own, model, "best_epoch"),
            "effect": Value(number, by_seed, **found[-1].interval._asdict(), parts=by_seed.parts),
        }
    frame = framed(rows)
    decided = tables.decisions(found, [*frame.effect])
    return frame.join(pd.DataFrame(decided, frame.index, dtype=object))
