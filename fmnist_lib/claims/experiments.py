"""The paper's claims that take variants of its models: C11, C16, C17, C18, C19, each with its rule.

Rules, margins and comparisons were written before any run of these experiments was trained; the
history of this file shows it.

- Effect: variant minus control ("paper") at the same seeds, in points of accuracy; with a rival,
  the effect on the model minus that on the rival. Of times it is 100·ln(variant / control).
- Chance: the variance over seeds plus, where it is known which images each run gets right, that
  over the images, to which only those add that one side alone gets right. What seed and image do
  together is in both, so that intervals are rather too wide.
- Correction: Holm's over all comparisons planned for a family of runs. One without runs is p = 1.
- Known beforehand, by the chance seen in the released runs: with 2 seeds no corrected comparison
  of accuracies can reach significance; with 3, ablations (7) do so from 1.9 points on and
  augmentation (10) from 2.2; with 5 from 1.0 and 1.4. Without the images, 3 are too few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import pandas as pd

from fmnist_lib.claims.answers import Answer, above, all_of, any_of, opposite
from fmnist_lib.claims.verdicts import CLAIMS, EVIDENCE, Outcome, Sentence, Verdict, claim
from fmnist_lib.models import MODELS
from fmnist_lib.results import tables
from fmnist_lib.results.load import Results, paired
from fmnist_lib.results.statistics import Estimate, estimate
from fmnist_lib.results.value import Value, framed

MARGINS = {"test_accuracy": tables.EQUAL, "train_seconds": (2.5, 5.0, 10.0)}
"""In points, in percent; 5 % is the paper's largest spread of times over epochs."""
BESIDE = {"per_mac": " by multiply-accumulate"}
UNKNOWN = Estimate(0.0, 0.0, 1, seeds=0)  # the effect of what was not run


@dataclass(frozen=True)
class Comparison:
    """Asks whether a variant's effect on a model is above the margin, or beyond that on a rival."""

    model: str
    variant: str
    family: str  # of runs over whose comparisons Holm corrects; "": not corrected
    towards: int = 1  # asks about an effect above zero (1) or below it (−1)
    rival: str = ""
    measure: str = "test_accuracy"  # the column of the runs; any other is one of times


FULL = Comparison("mobilenet_lite", "full convolutions", "times", -1, measure="train_seconds")
PER_MAC = replace(FULL, measure="per_mac", family="")
LENET = ("relu", "batch norm", "relu + batch norm", "half dense", "quarter dense")
RIVALS = ("lenet5", "resnet_mini", "densenet_tiny", "mobilenet_lite", "baseline_cnn")
AUGMENTATION = [
    Comparison("vit_tiny", augmentation, "augmentation" if rival else "", rival=rival)
    for augmentation in ("mixup", "flip+shift")
    for rival in ("", *RIVALS)
]


@claim("C11", "Section 5.5", [Comparison("densenet_tiny", "plain blocks", "ablations", -1)])
def dense_connectivity(pays: Answer) -> Answer:
    """Dense connectivity does not pay for DenseNet-Tiny at this size.

    Fails if plain blocks cost accuracy; holds if they are shown not to.
    """
    return opposite(pays)


@claim("C16", "Sections 5.2 and 7", [Comparison("resnet_mini", "no shortcuts", "ablations", -1)])
def skip_connections(costs: Answer) -> Answer:
    """Skip connections are what makes ResNet-Mini good.

    Holds if leaving them out costs accuracy; fails if it is shown not to.
    """
    return costs


@claim("C17", "Section 5.3", [FULL, PER_MAC], depends="our machine")
def separable_convolutions(less: Answer, _per_mac: Answer) -> Answer:
    """Depthwise-separable convolutions are what makes MobileNet-Lite slow.

    Holds if full ones of equal width take less time an epoch; fails if shown not to. By a MAC they
    may still: that stands beside it and decides nothing.
    """
    return less


@claim("C18", "Sections 5.2 and 5.5", [Comparison("lenet5", v, "ablations") for v in LENET])
def lenet_lacks(relu: Answer, norm: Answer, both: Answer, *dense: Answer) -> Answer | Outcome:
    """LeNet-5 suffers from missing ReLU and batch norm and from its large dense layers.

    Holds if each part, mended alone, raises accuracy: the dense layers at either size. In part if
    some variant raises it, the one with both ReLU and batch norm included; fails if all are shown
    not to.
    """
    parts = [relu, norm, any_of(dense)]
    some = any_of([*parts, both])
    return Outcome.IN_PART if some and not all_of(parts) else some


@claim("C19", "Section 5.6", AUGMENTATION)
def vit_gains_most(*answers: Answer) -> Answer | Outcome:
    """ViT-Tiny would gain the most from augmentation.

    Holds for an augmentation if ViT-Tiny gains by it, and more than each of the other five. Its own
    gain is one more condition, so that it needs no correction. Fails for one if ViT-Tiny is shown
    not to gain, or not to gain more than some other. In part if it holds for one of the two.
    """
    half = len(answers) // 2
    each = [all_of(answers[:half]), all_of(answers[half:])]
    return Outcome.IN_PART if each.count(True) == 1 else any_of(each)


def judge_experiment(number: str, runs: pd.DataFrame | None) -> dict[float, Verdict]:
    """Return the verdicts on a claim by margin, the middle one decides; without runs only one.

    `runs` has a row a run: name, model, variant, seed, test_accuracy (percent) and, where it is
    known, right (which images it gets right); for C17 a row a timing alone on the machine, `seed`
    being the round that times both variants, train_seconds an epoch's and per_mac a MAC's.
    """
    needs = CLAIMS[number].needs
    families = {c.family for c in needs} - {""}
    every = [c for claim in CLAIMS.values() for c in claim.needs if isinstance(c, Comparison)]
    planned, alone = [c for c in every if c.family in families], [c for c in needs if not c.family]
    estimates = {c: UNKNOWN if runs is None else effect(c, runs) for c in (*planned, *alone)}
    if UNKNOWN in (estimates[c] for c in needs):
        return {0.0: (Outcome.UNTESTED, Sentence(EVIDENCE[f"{number} untested"], {}))}
    towards = {c: replace(found, effect=c.towards * found.effect) for c, found in estimates.items()}
    evidence, verdicts = _evidence({c: estimates[c] for c in needs}, runs), {}
    for margin in MARGINS[needs[0].measure]:
        corrected = above([towards[c] for c in planned], margin, one_makes=True, one_breaks=True)
        answers = dict(zip(planned, corrected, strict=True))
        answers |= zip(alone, above([towards[c] for c in alone], margin), strict=True)
        verdicts[margin] = CLAIMS[number].rule(*(answers[c] for c in needs)), evidence
    return verdicts


def effect(c: Comparison, runs: pd.DataFrame) -> Estimate:
    """Return the effect that a comparison asks about; `UNKNOWN` with under two seeds in common."""
    accuracies = c.measure == "test_accuracy"
    runs = runs.assign(number=runs[c.measure] if accuracies else 100 * np.log(runs[c.measure]))
    by_seed, leads = [], []
    for model in filter(None, (c.model, c.rival)):
        sides = (runs[(runs.model == model) & (runs.variant == v)] for v in (c.variant, "paper"))
        both = pd.merge(*sides, on="seed", suffixes=("", "_control"))
        if len(both) < 2:
            return UNKNOWN
        by_seed.append(both.number - both.number_control)
        if "right" in both:
            shares = (np.mean([*side], axis=0) for side in (both.right, both.right_control))
            leads.append(100 * np.subtract(*shares))
    return estimate(by_seed, leads[0] - sum(leads[1:]) if leads else None)


def _evidence(estimates: Mapping[Comparison, Estimate], runs: pd.DataFrame) -> Sentence:
    texts, values = [], {}
    accuracies = {c.measure for c in estimates} == {"test_accuracy"}
    lead = "Effects in points" if accuracies else "Times as long as without"
    spec = "+.2f" if accuracies else ".2f"
    for at, (c, found) in enumerate(estimates.items()):
        own = runs[runs.model.isin([c.model, c.rival]) & runs.variant.isin([c.variant, "paper"])]
        numbers = np.array([found.effect, *found.interval])
        effect, low, high = numbers if accuracies else np.exp(numbers / 100)  # were logarithms
        values[f"effect{at}"] = Value(effect, [*own.name], low=low, high=high)
        beside = f" beyond {MODELS[c.rival].title}" if c.rival else BESIDE.get(c.measure, "")
        texts.append(f"{c.variant}{beside} {{effect{at}:{spec}}} ({{effect{at}.interval:{spec}}})")
    return Sentence(f"{lead}: {'; '.join(texts)}.", values)


# --- what variants add, by the same formula ---


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
    test_accuracy, control (that of the same seeds without), best_epoch; effect (in points of test
    accuracy, paired by seed, with its 95 % interval over seeds and images; of one run, against all
    seeds of the control, whose spread counts as its own, as in `tables.next_run`; nan without two
    seeds); p_holm and differs as in `tables.pairs`, corrected over all rows.
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
            "control": Value(float(after) - float(by_seed), by_seed),
            "best_epoch": tables.measured(own, model, "best_epoch"),
            "effect": Value(number, by_seed, **found[-1].interval._asdict(), parts=by_seed.parts),
        }
    frame = framed(rows)
    decided = tables.decisions(found, [*frame.effect])
    return frame.join(pd.DataFrame(decided, frame.index, dtype=object))
