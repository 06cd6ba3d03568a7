"""All claims judged, on our runs and on the paper's own tables; verdicts counted; agreement."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace

import pandas as pd

from fmnist_lib.claims import protocol  # noqa: F401, which puts its rules into CLAIMS
from fmnist_lib.claims.experiments import Comparison, joined, judge_experiment
from fmnist_lib.claims.paper import REPORTED, reported_frame
from fmnist_lib.claims.verdicts import CLAIMS, Claim, Outcome, Sentence, Tables, Verdict, outcome_of
from fmnist_lib.models import MODELS
from fmnist_lib.results import statistics, tables
from fmnist_lib.results.columns import heading
from fmnist_lib.results.load import Results
from fmnist_lib.results.statistics import Estimate
from fmnist_lib.results.times import rounds
from fmnist_lib.results.value import PRINTED, SETTINGS, Value, setting, sources_of

AGREEMENT_POINTS = 1.5  # within which accuracies agree: another setting may well make as much
AT = ["at_half", "at_margin", "at_twice"]
AGREEING = ("test_accuracy", "train_accuracy", "test_loss", "train_loss", "best_epoch")


def judge_all(
    results: Results, validated: Results | None = None, trials: Sequence[Results] = ()
) -> pd.DataFrame:
    """Return what `judge` does, of runs by the paper's protocol.

    `trials` are families of variants, whose control is `validated`; they are read at the stopping
    rules of both. C17 rests on what was timed with these models. `validated`, and `…_validated` of
    the names in `AT`, have the outcomes in runs whose epoch validation images chose; where these
    hang on the margin otherwise, `margins` tells of both.
    """
    calls = {cost.environment.started for cost in results.costs.values()}
    timings = rounds(c for c in results.store.costs() if c.environment.started in calls)
    families = [validated, *trials] if validated else [results]
    judged = judge(our_tables(results), joined(families, results.rule), timings)
    ends = [f"{name}_validated" for name in AT]
    judged[ends] = Outcome.UNTESTED
    if validated:
        other = judge(our_tables(validated), joined(families, validated.rule), timings)
        judged[ends] = other[AT]
        judged["margins"] = [
            ours if ours == theirs else f"{ours}; by validation images {theirs}"
            for ours, theirs in zip(judged.margins, other.margins, strict=True)
        ]
    return judged.assign(validated=judged.at_margin_validated)


def judge(
    ours: Tables, runs: pd.DataFrame | None, timings: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every claim: id, claim, where, in_paper, outcome, `AT`, depends, margins, evidence.

    Text, but for `evidence`, a `Sentence`. `in_paper` is what the same rule says of the paper's own
    tables; those of `AT` are the outcomes at three margins, the same where none enters, and
    `margins` tells of them in words; `depends` is on what it may hang that a claim does not hold.
    `runs`, and `timings` for C17, as in `judge_experiment`.
    """
    paper, rows = paper_tables(), []
    for number, claim in sorted(CLAIMS.items(), key=lambda item: int(item[0][1:])):
        in_paper = str(Outcome.UNTESTED)
        if isinstance(claim.needs[0], Comparison):
            timed = claim.needs[0].measure == "train_seconds"
            verdicts = judge_experiment(number, timings if timed else runs)
        else:
            verdicts = judge_tables(claim, ours)
            (_, in_paper, _), *_ = _told(judge_tables(claim, paper))
        at, margins, evidence = _told(verdicts)
        depends = "" if at[1] in (Outcome.HOLDS, Outcome.UNTESTED) else claim.depends
        row = {"id": number, "claim": claim.statement, "where": claim.where, "in_paper": in_paper}
        row |= {"outcome": at[1], **dict(zip(AT, at, strict=True)), "depends": depends}
        rows.append({**row, "margins": margins, "evidence": evidence})
    return pd.DataFrame(rows)


def outcome(number: str, runs: pd.DataFrame) -> str:
    """Return how a claim about variants comes out, of runs as in `judge_experiment`."""
    return _told(judge_experiment(number, runs))[0][1]


def judge_tables(claim: Claim, m: Tables) -> dict[float, Verdict]:
    """Return a rule's verdicts on tables by margin; only one where no margin enters."""
    if absent := [kind.title for name, kind in MODELS.items() if name not in m.models.index]:
        return {0.0: (Outcome.UNTESTED, m.say("no runs", models=absent))}
    if absent := [heading(name) for name in claim.needs if not m.known(name)]:
        return {0.0: (Outcome.UNTESTED, m.say("not measured", columns=absent))}
    m.asked, verdicts = False, {}
    for m.margin in tables.EQUAL:
        verdicts[m.margin] = claim.rule(m)
    return verdicts if m.asked else {m.margin: verdicts[m.margin]}


def _told(verdicts: dict[float, Verdict]) -> tuple[list[str], str, Sentence]:
    """Return the outcomes at the margins of `AT`, the others in words, and the evidence."""
    outcomes = {margin: str(outcome_of(answer)) for margin, (answer, _) in verdicts.items()}
    low, decides, high = ([*outcomes][at] for at in (0, len(outcomes) // 2, -1))
    others = [f"{o} at {margin:g}" for margin, o in outcomes.items() if o != outcomes[decides]]
    same = f"same at {low:g} and {high:g}" if len(outcomes) > 1 else ""
    at = [outcomes[margin] for margin in (low, decides, high)]
    return at, ", ".join(others) or same, verdicts[decides][1]


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
        lead = getattr(one, measure) - getattr(other, measure)
        found = statistics.combined(float(lead), [], sum((reach / 1.96) ** 2 for reach in reaches))
        return Value(lead, (PRINTED,), **found.interval._asdict()), found

    return Tables(reported_frame(), compare)


def tally(judged: pd.DataFrame) -> SimpleNamespace:
    """Return how many claims came out how in our runs: `total`, `holds`, `in_part`, `fails`, ….

    The counts rest on all that stands in the evidence.
    """
    sources = sources_of(_sources(sentence.values) for sentence in judged.evidence)
    counts = {
        each.name.lower(): Value((judged.outcome == each).sum(), sources or SETTINGS)
        for each in Outcome
    }
    return SimpleNamespace(total=setting(len(judged)), **counts)


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
    a dash for a single run). `rho` correlates the two orders by test accuracy, `within` counts the
    models no further than `limit` points.
    """
    models, rows = tables.models_frame(results), []
    for measure in AGREEING:
        for row in tables.namespace(models).values():
            ours, theirs = getattr(row, measure), getattr(row, f"{measure}_paper")
            expected = tables.next_run(ours)
            near, known = expected.low <= theirs <= expected.high, len(ours.parts) > 1
            inside = "yes" if near else "no" if known else "–"
            rows.append([row.title, heading(measure), Value(ours, ours), theirs, expected, inside])
    columns = ["title", "measure", "ours", "paper", "next_run", "inside"]
    apart = models.difference.astype(float).abs()
    return SimpleNamespace(
        rows=pd.DataFrame(rows, columns=columns, dtype=object),
        rho=statistics.rank_correlation(models.test_accuracy, models.test_accuracy_paper)[0],
        limit=setting(AGREEMENT_POINTS),
        within=Value(int((apart <= AGREEMENT_POINTS).sum()), *models.difference),
        models=Value(len(models), *models.difference),
        farthest=tables.namespace(models)[apart.idxmax()],
    )
