"""Runs of variants judged: a frame with one row a run goes in, numbers and a verdict come out.

Written, like the claims in `experiments`, before any run that it judges was trained.

- Effect: variant minus control at the same seeds, in points of test accuracy; with a rival, the
  effect on the model minus that on the rival. Of times it is 100·ln(variant / control).
- Chance: the variance over seeds plus, where it is known which test images each run gets right,
  that over the images, to which only those add that one side alone gets right. What seed and image
  do together is in both, so that intervals are rather too wide.
- Answer to "is the effect above the margin", in the direction that a comparison asks about: see
  `verdicts.is_above`.
- Correction: Holm's over all comparisons planned for a family of runs. One without runs is p = 1.
- Known beforehand (`foreseen`, by the chance seen in the released runs): with 2 seeds no corrected
  comparison of accuracies can reach significance; with 3, ablations (7) do so from 1.9 points on
  and augmentation (10) from 2.2; with 5 from 1.0 and 1.4. Without the images, 3 are too few.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fmnist_lib.claims.experiments import Comparison
from fmnist_lib.claims.verdicts import CLAIMS, MARGINS, Answer, Claim, Outcome, is_above
from fmnist_lib.errors import UserError
from fmnist_lib.results.statistics import Estimate, combined, estimate, holm

EQUAL_COST = 0.10  # parameters and MACs may differ by so much where costs are to be equal
# For `foreseen`: medians over the 15 pairs of the paper's models in the released five seeds.
SEED_SD = 0.53  # points, of a difference from seed to seed
IMAGE_VARIANCE = (0.014, 0.068)  # points², of a difference; the second part is over n seeds
WIDEST = 91.55 - 88.09  # points from the paper's worst model to its best: no effect is larger


@dataclass(frozen=True)
class Finding:
    """A comparison with its numbers."""

    comparison: Comparison
    estimate: Estimate
    p: float  # of the effect being other than zero, corrected over the family
    answer: Answer
    shown_from: float | None  # where there is no answer: the effect shown with 80 % probability


@dataclass(frozen=True)
class Result:
    """The verdict on a claim, for which parts it holds, and the numbers behind it."""

    outcome: Outcome
    parts: tuple[str, ...] = ()
    at_margins: Mapping[float, Outcome] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def judge(number: str, runs: pd.DataFrame, right: np.ndarray | None = None) -> Result:
    """Return the verdict on a claim.

    `runs` has a row a run: model, variant, seed, fold, test_accuracy (percent), parameters, macs;
    for C17 a row a timing alone on the machine, `seed` being the round that times both variants
    and train_seconds an epoch's. `right` (runs, images) says which test images each gets right.

    Raises:
        UserError: one line, for what is not such runs.
    """
    claims = [name for name, claim in CLAIMS.items() if claim.family]
    if number not in claims:
        raise UserError(f"claim: unknown {number!r}; allowed: {', '.join(claims)}")
    claim = CLAIMS[number]
    family, measure = _family(claim), claim.needs[0].measure
    _check(runs, measure)
    estimates = {c: _effect(c, runs, right) for c in family}
    if any(estimates[c] is None for c in claim.needs):  # fewer than two seeds
        return Result(Outcome.NOT_TESTED)

    def corrected(test: Callable[[Comparison, Estimate], float]) -> dict[Comparison, float]:
        p = {c: test(c, e) if e else 1.0 for c, e in estimates.items()}
        counted = [c for c in family if c.counted]
        return p | dict(zip(counted, holm([p[c] for c in counted]), strict=True))

    differs = corrected(lambda _, e: e.p_differs())

    def answers(margin: float) -> dict[Comparison, Answer]:
        short = corrected(lambda c, e: e.p_short(margin, c.towards))
        effects = {c: c.towards * estimates[c].effect for c in claim.needs}
        return {c: is_above(e, margin, differs[c], short[c]) for c, e in effects.items()}

    _, margin, _ = MARGINS[measure]
    findings = []
    for c, answer in answers(margin).items():
        e, comparisons = estimates[c], _comparisons(c, family)
        shown = e.shown_from(comparisons, margin) if answer is None else None
        findings.append(Finding(c, e, differs[c], answer, shown))
    return Result(
        *claim.rule(answers(margin)),
        at_margins={m: claim.rule(answers(m))[0] for m in MARGINS[measure]},
        findings=tuple(findings),
    )


def foreseen(seeds: int, *, images: bool = True) -> pd.DataFrame:
    """Return what so many seeds can show before they are trained, one row a comparison.

    In points: the smallest estimate that is significant at Holm's strictest step and the smallest
    effect that gets there with 80 % probability; `reachable` is whether the former is an effect
    that could be. Of `images` it says whether their variance enters. Times are left out.
    """
    rows = []
    for number, claim in CLAIMS.items():
        for c in claim.needs if claim.family not in ("", "times") else ():
            models = 2 if c.rival else 1
            own = IMAGE_VARIANCE[0] + IMAGE_VARIANCE[1] / seeds if images else 0.0
            expected = combined(0.0, models * [(SEED_SD**2 / seeds, seeds - 1)], models * own)
            count = _comparisons(c, _family(claim))
            limit = expected.significant_from(count)
            rows.append(
                {"claim": number, "model": c.model, "variant": c.variant, "rival": c.rival}
                | {"comparisons": count, "significant_from": limit}
                | {"shown_from": expected.shown_from(count), "reachable": limit < WIDEST}
            )
    return pd.DataFrame(rows)


def _family(claim: Claim) -> list[Comparison]:
    """Return all comparisons planned for the runs to which a claim's belong."""
    return [c for other in CLAIMS.values() if other.family == claim.family for c in other.needs]


def _comparisons(comparison: Comparison, family: Sequence[Comparison]) -> int:
    """Return over how many comparisons this one is corrected."""
    return sum(c.counted for c in family) if comparison.counted else 1


def _effect(c: Comparison, runs: pd.DataFrame, right: np.ndarray | None) -> Estimate | None:
    """Return the effect that a comparison asks about; None with under two seeds in common."""
    by_seed, leads = [], []
    runs = runs.assign(row=np.arange(len(runs)))[runs[c.measure].notna().to_numpy()]
    for model in [c.model, *([c.rival] if c.rival else [])]:
        variant, control = (
            runs[(runs.model == model) & (runs.variant == name)].set_index("seed")
            for name in (c.variant, "paper")
        )
        seeds = variant.index.intersection(control.index)
        if len(seeds) < 2:
            return None
        variant, control = variant.loc[seeds], control.loc[seeds]
        if c.equal_cost:
            _require_equal_cost(c, variant, control)
        by_seed.append(_measured(c, variant) - _measured(c, control))
        if right is not None and c.measure == "test_accuracy":
            shares = (right[side["row"]].mean(axis=0) for side in (variant, control))
            leads.append(100 * np.subtract(*shares))
    return estimate(by_seed, leads[0] - sum(leads[1:]) if leads else None)


def _measured(c: Comparison, runs: pd.DataFrame) -> np.ndarray:
    values = runs[c.measure].to_numpy(float)
    if c.measure == "test_accuracy":
        return values
    return 100 * np.log(values / runs["macs"].to_numpy(float) if c.per_mac else values)


def _require_equal_cost(c: Comparison, variant: pd.DataFrame, control: pd.DataFrame) -> None:
    for cost in ("parameters", "macs"):
        ratio = (variant[cost] / control[cost]).to_numpy(float)
        if not (np.abs(np.log(ratio)) <= np.log1p(EQUAL_COST)).all():
            raise UserError(
                f"{c.model}, {c.variant}: {cost} are {ratio.max():.2f} times the control's; "
                f"allowed: {EQUAL_COST:.0%} more or less"
            )


def _check(runs: pd.DataFrame, measure: str) -> None:
    """Raise `UserError` for what is not runs."""
    run = ["model", "variant", "seed"]
    if absent := [name for name in [*run, measure, "parameters", "macs"] if name not in runs]:
        raise UserError(f"runs: there is no column {', '.join(absent)}")
    values = runs[measure].dropna().to_numpy(float)
    accuracies = measure == "test_accuracy"
    good = (values >= 0) & (values <= 100) if accuracies else (values > 0) & np.isfinite(values)
    if not good.all():
        raise UserError(f"runs: {measure} {values[~good][0]} cannot be")
    if "fold" in runs and runs["fold"].notna().any():
        raise UserError("runs: these claims are judged over seeds; leave out the runs of folds")
    if runs.duplicated(run).any():
        raise UserError(f"runs: {runs.loc[runs.duplicated(run), run].iloc[0].tolist()} twice")
