"""All claims judged, on our runs and on the paper's own tables; verdicts counted; agreement."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import nan
from types import SimpleNamespace

import numpy as np
import pandas as pd

from fmnist_lib.claims import protocol  # noqa: F401, which puts its rules into CLAIMS
from fmnist_lib.claims.paper import REPORTED, reported_frame
from fmnist_lib.claims.variants import judge
from fmnist_lib.claims.verdicts import CLAIMS, Claim, Outcome, Sentence, Tables
from fmnist_lib.models import MODELS
from fmnist_lib.results import statistics, tables
from fmnist_lib.results.columns import heading
from fmnist_lib.results.load import Results
from fmnist_lib.results.statistics import Estimate
from fmnist_lib.results.value import PAPER, SETTINGS, Value, setting, sources_of, value

AGREEMENT_POINTS = 1.5  # within which accuracies agree: another setting may well make as much
AGREEING = ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "best_epoch")
NAMES = dict(zip(Outcome, ("holds", "in_part", "fails", "undecided", "untested"), strict=True))

Judged = tuple[Outcome, Sentence, Mapping[float, Outcome]]  # the last at other margins


def judge_all(results: Results, timings: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return every claim: id, claim, where, in_paper, outcome, depends, margins, evidence.

    Text, but for `evidence`, a `Sentence`. `in_paper` is what the same rule says of the paper's own
    tables; `depends` on what it may hang that a claim does not hold; `margins` the verdicts at half
    and twice the margin, where one enters. `timings` are those of C17, as in `variants.judge`, and
    `name` their sources.
    """
    ours, paper = our_tables(results), paper_tables()
    rows = []
    for number, claim in sorted(CLAIMS.items(), key=lambda item: int(item[0][1:])):
        if claim.family:
            in_paper = Outcome.NOT_TESTED
            outcome, evidence, at_margins = _experiment(number, results, timings)
        else:
            in_paper, _, _ = _protocol(claim, paper)
            outcome, evidence, at_margins = _protocol(claim, ours)
        hangs = outcome not in (Outcome.HOLDS, Outcome.NOT_TESTED)
        row = {"id": number, "claim": claim.statement, "where": claim.where}
        row |= {"in_paper": str(in_paper), "outcome": str(outcome)}
        row |= {"depends": claim.depends if hangs else "", "margins": _margins(outcome, at_margins)}
        rows.append(row | {"evidence": evidence})
    return pd.DataFrame(rows)


def our_tables(results: Results) -> Tables:
    """Return what the rules judge of our runs."""
    longer = results.longer()

    @cache  # claims ask for the same pairs, each of which takes the predictions of all its runs
    def compare(first: str, second: str, measure: str = "test_accuracy") -> tuple[Value, Estimate]:
        if measure == "gain":
            return tables.gain(results, longer, first)
        at = longer if measure.endswith("_long") else results
        return tables.compare(at, first, second, measure.removesuffix("_long"))

    models, epochs = tables.models_frame(results), tables.epochs_frame(results)
    return Tables(models, compare, epochs[epochs.variant == "paper"])


def paper_tables() -> Tables:
    """Return what they judge of the paper: single runs, which leave the chance of test images."""

    def compare(first: str, second: str, measure: str = "test_accuracy") -> tuple[Value, Estimate]:
        one, other = REPORTED[first], REPORTED[second]
        reaches = [(row.test_accuracy.high - row.test_accuracy.low) / 2 for row in (one, other)]
        effect = getattr(one, measure) - getattr(other, measure)
        found = statistics.combined(
            float(effect), [], sum((reach / 1.96) ** 2 for reach in reaches)
        )
        return Value(effect, (PAPER,), **found.interval._asdict()), found

    return Tables(reported_frame(), compare)


def _protocol(claim: Claim, m: Tables) -> Judged:
    """Return the verdict of a rule of the paper's protocol, if nothing lacks."""
    if absent := [MODELS[name].title for name in claim.models if name not in m.models.index]:
        return _untested("There are no runs of {models}.", models=absent)
    if absent := [heading(name) for name in claim.needs if not m.known(name, claim.models)]:
        return _untested("Not measured: {columns}.", columns=absent)
    m.asked, found = False, {}
    for m.margin in tables.EQUAL:
        found[m.margin] = claim.rule(m)
    at_margins = {margin: outcome for margin, (outcome, _) in found.items() if m.asked}
    return *found[tables.EQUAL[1]], at_margins


def _untested(why: str, **values: object) -> Judged:
    return Outcome.NOT_TESTED, Sentence(why, values), {}


def _experiment(number: str, results: Results, timings: pd.DataFrame | None) -> Judged:
    """Return the verdict on a claim about variants, if there are runs of them."""
    claim, runs, right = CLAIMS[number], timings, None
    if claim.family != "times":
        chosen = [run for run in results.runs if run.config.fold is None]
        runs = tables.runs_frame(replace(results, runs=tuple(chosen)))
        if {c.variant for c in claim.needs} & {*runs.variant}:
            found = map(results.predictions, chosen)
            right = np.array([each["predicted"] == each["true"] for each in found])
    result = None if runs is None else judge(number, runs, right)
    if not result or not result.findings:
        return _untested(f"It takes {claim.experiment}.")
    texts, values = [], {}
    for at, found in enumerate(result.findings):
        c, low, high = found.comparison, *found.estimate.interval
        own = runs[runs.model.isin([c.model, c.rival]) & runs.variant.isin([c.variant, "paper"])]
        values[f"effect{at}"] = value(found.estimate.effect, [*own.name], low=low, high=high)
        beside = f" beyond {MODELS[c.rival].title}" if c.rival else ""
        texts.append(f"{c.variant}{beside} {{effect{at}:+.2f}} ({{effect{at}.interval:+.2f}})")
    return result.outcome, Sentence(f"Effects: {'; '.join(texts)}.", values), result.at_margins


def _margins(outcome: Outcome, at_margins: Mapping[float, Outcome]) -> str:
    """Say what comes out at the other margins; nothing where no margin enters."""
    low, _, high = at_margins or (nan,) * 3
    if {at_margins.get(low), at_margins.get(high)} <= {outcome, None}:
        return f"same at {low:g} and {high:g}" if at_margins else ""
    return ", ".join(
        f"{at_margins[at]} at {at:g}" for at in (low, high) if at_margins[at] != outcome
    )


def tally(judged: pd.DataFrame) -> SimpleNamespace:
    """Return how many claims came out how: `total`, `holds`, `in_part`, `fails`, `undecided`, ….

    Of our runs, with the claims' ids as `ids.holds` and so on; `paper` has the same of the paper's
    own tables, `turned` the ids that the two judge differently, neither undecided.
    """

    def counted(column: str, sources: object) -> SimpleNamespace:
        ids = {name: [*judged.id[judged[column] == outcome]] for outcome, name in NAMES.items()}
        counts = {name: value(len(found), sources) for name, found in ids.items()}
        return SimpleNamespace(**counts, ids=SimpleNamespace(**ids))

    both = ~judged[["in_paper", "outcome"]].isin(["undecided", "not tested"]).any(axis=1)
    sources = sources_of(_sources(sentence.values) for sentence in judged.evidence)
    ours = counted("outcome", sources or SETTINGS)  # of too few models nothing is measured
    ours.total, ours.paper = setting(len(judged)), counted("in_paper", PAPER)
    ours.turned = [*judged.id[both & (judged.in_paper != judged.outcome)]]
    return ours


def _sources(found: object) -> tuple[str, ...]:
    """Return what the numbers in a sentence's values rest on, however deep they stand."""
    if isinstance(found, Value):
        return found.sources
    inner = found.values if isinstance(found, Sentence) else getattr(found, "__dict__", found)
    return sources_of(*map(_sources, inner.values())) if isinstance(inner, Mapping) else ()


def agreement(results: Results) -> SimpleNamespace:
    """Return how our runs agree with the paper's tables.

    `rows` is a frame with a row a model and measure: title, measure, ours, paper, next_run (where
    one more run of ours is expected, 95 %) and inside (whether the paper's lies there: yes, no, or
    a dash for a single run). `outside` has the models outside by measure, `rho` and `p` correlate
    the two orders by test accuracy, `within` counts the models no further than `limit` points.
    """
    models = tables.models_frame(results)
    rows, outside = [], {measure: [] for measure in AGREEING}
    for measure in AGREEING:
        for row in tables.namespace(models).values():
            ours, theirs = getattr(row, measure), getattr(row, f"{measure}_paper")
            expected = tables.next_run(ours)
            known, near = len(ours.parts) > 1, expected.low <= theirs <= expected.high
            inside = "yes" if near else "no" if known else "–"
            outside[measure] += [row.title] * (inside == "no")
            rows.append([row.title, heading(measure), value(ours, ours), theirs, expected, inside])
    columns = ["title", "measure", "ours", "paper", "next_run", "inside"]
    rho, p = statistics.rank_correlation(models.test_accuracy, models.test_accuracy_paper)
    apart = models.difference.astype(float).abs()
    return SimpleNamespace(
        rows=pd.DataFrame(rows, columns=columns, dtype=object),
        outside=SimpleNamespace(**outside),
        rho=rho,
        p=p,
        limit=setting(AGREEMENT_POINTS),
        within=value(int((apart <= AGREEMENT_POINTS).sum()), *models.difference),
        models=value(len(models), *models.difference),
        farthest=tables.namespace(models)[apart.idxmax()],
    )
