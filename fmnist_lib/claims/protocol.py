"""The paper's claims that runs of its own protocol answer, each with the rule that judges it.

What the paper leaves vague (how close is "about a tenth", what is "early") is a constant here. The
words of the evidence stand in `evidence.csv`, by claim, with the numbers that a rule fills in.
Most rules, and the limit on agreement in `judge`, were first committed after runs of seed 0 had
ended, the margins of accuracy after all runs.
"""

from collections.abc import Sequence
from itertools import combinations
from types import SimpleNamespace

import numpy as np

from fmnist_lib.claims.answers import Answer, above, agreed, all_of, any_of, opposite
from fmnist_lib.claims.verdicts import Outcome, Sentence, Tables, Verdict, claim
from fmnist_lib.results.statistics import Estimate, estimate, rank_correlation
from fmnist_lib.results.value import Value, setting

ABOUT_A_TENTH = (0.05, 0.15)  # what rounds to one tenth
TO_REACH = 90.0  # percent, C5
# A count predicts when it orders at least this share of pairs: halfway from chance to certainty.
PREDICTS = 0.75
CONVERGED_BY = 30  # epochs; section 4 says "within 20–30", which is read as "by 30"
EPOCH_MARGIN = 5  # the patience: epochs closer than that are equal, stopping resolves no finer
PLATEAU_POINTS = (1.0, 0.5)  # so close to its best an accuracy has levelled off; both must agree
WEIGHED = ["test_accuracy", "parameters", "train_seconds"]  # C1; ranks of the first count upwards
TIMES = ("train_seconds", "inference_ms")


@claim("C1", "Abstract, sections 5.6 and 7", WEIGHED, depends="the weighting")
def best_trade_off(m: Tables) -> Verdict:
    """ResNet-Mini offers the best trade-off between accuracy and efficiency.

    Judged in the weak form: no other model is more accurate and cheaper, whichever the cost.
    """
    me, others = "resnet_mini", m.others("resnet_mini")
    better = m.ahead([(other, me) for other in others], one_makes=True)
    cheaper = [any_of([m.more(me, o), m.more(me, o, "macs"), m.slower(me, o)]) for o in others]
    beats = {o: all_of(both) for o, *both in zip(others, better, cheaper, strict=True)}
    beaten = any_of(beats.values())
    return opposite(beaten), m.say(
        "C1",
        perhaps="" if beaten else "perhaps ",
        rivals=[m.rows[other].title for other in others if beats[other] is (beaten or None)],
        **{name: _first(m, n) for n, name in enumerate(("alike", "twice", "thrice"), start=1)},
    )


def _first(m: Tables, weight: int) -> list[str]:
    """Return the models with the lowest sum of ranks, that in accuracy counted so many times."""
    numbers = m.models[WEIGHED].astype(float)
    ranks = numbers.mul([-1, 1, 1]).rank().mul([weight, 1, 1]).sum(axis=1)
    return [*m.models.title[ranks == ranks.min()]]


@claim("C2", "Section 7", ["test_accuracy"], depends="the patience")
def most_accurate(m: Tables) -> Verdict:
    """ResNet-Mini has the highest test accuracy."""
    me, others = "resnet_mini", m.others("resnet_mini")
    answers = m.ahead([(me, other) for other in others], one_breaks=True)
    best = m.top("test_accuracy", me)
    longer: Sentence | str = ""
    if m.known("test_accuracy_long"):
        patient = m.top("test_accuracy_long", me)
        long = m.lead(patient.name, me, "test_accuracy_long")
        longer = m.say("C2 longer", patient=patient, long=long)
    return all_of(answers), m.say("C2", best=best, lead=m.lead(me, best.name), longer=longer)


@claim("C3", "Section 5.2", ["test_accuracy", "parameters"])
def beats_vit(m: Tables) -> Verdict:
    """ResNet-Mini beats ViT-Tiny with about a tenth of its parameters."""
    pair = ("resnet_mini", "vit_tiny")
    share = m.rows["resnet_mini"].parameters / m.rows["vit_tiny"].parameters
    tenth = ABOUT_A_TENTH[0] <= share < ABOUT_A_TENTH[1]
    return all_of([tenth, *m.ahead([pair])]), m.say("C3", share=share, lead=m.lead(*pair))


@claim("C4", "Section 5.3", ["test_accuracy", *TIMES], depends="our machine")
def accurate_but_slowest(m: Tables) -> Verdict:
    """MobileNet-Lite is accurate but the slowest per epoch, in training and at inference, slower
    than DenseNet-Tiny at a similar size.

    Accurate is more accurate than most others.
    """
    me, others = "mobilenet_lite", m.others("mobilenet_lite")
    better = m.ahead([(me, other) for other in others], one_makes=True, one_breaks=True)
    more, less = better.count(True), better.count(False)
    accurate = agreed([2 * more > len(others), 2 * less < len(others)])
    slow = [m.slower(me, o, time) for time in TIMES for o in others]
    return all_of([accurate, *slow]), m.say(
        "C4",
        train=m.top("train_seconds", me),
        test=m.top("inference_ms", me),
        **m.counts("test_accuracy", better=more, others=len(others)),
    )


@claim("C5", "Section 7", ["test_accuracy", "parameters"])
def smallest_reaches(m: Tables) -> Verdict:
    """Custom CNN has the fewest parameters and still reaches 90 % test accuracy."""
    low, high = m.rows["baseline_cnn"].test_accuracy.interval
    reaches = agreed([low >= TO_REACH, high >= TO_REACH])
    smaller = [m.more(other, "baseline_cnn") for other in m.others("baseline_cnn")]
    smallest = m.top("parameters", "baseline_cnn", lowest=True)
    return all_of([reaches, *smaller]), m.say("C5", next=smallest)


@claim("C6", "Caption of Table 1, section 5.2", ["test_accuracy", "gap"])
def overfits_most(m: Tables) -> Verdict:
    """LeNet-5 overfits: its train accuracy exceeds its test accuracy by the most.

    By the gap as the paper takes it and, where known, by train accuracy evaluated again.
    """
    answers, found = [], {}
    for gap in filter(m.known, ("gap", "gap_eval")):
        pairs = [("lenet5", other) for other in m.others("lenet5")]
        answers.append(all_of(m.ahead(pairs, gap, one_breaks=True)))
        rival = m.top(gap, "lenet5")
        found[gap] = m.say(
            "C6 gap",
            own=m.models[gap]["lenet5"],
            rival=rival,
            other=m.models[gap][rival.name],
            lead=m.lead("lenet5", rival.name, gap),
        )
    return agreed(answers), m.say("C6", **found)


@claim("C7", "Sections 5.3 and 7", ["train_seconds"], depends="our machine")
def two_fastest(m: Tables) -> Verdict:
    """LeNet-5 and Custom CNN train fastest."""
    return _two_lowest(m, "C7", "train_seconds", "lenet5", "baseline_cnn")


def _two_lowest(m: Tables, number: str, column: str, *pair: str) -> Verdict:
    """Judge whether every other model takes longer than both of the pair."""
    slower = all_of(m.slower(o, one, column) for one in pair for o in m.others(*pair))
    return slower, m.say(number, next=m.top(column, *pair, lowest=True))


@claim("C8", "Sections 5.2 and 5.5", ["test_accuracy", "parameters"])
def largest_and_last(m: Tables) -> Verdict:
    """ViT-Tiny has the most parameters and the lowest test accuracy."""
    me, others = "vit_tiny", m.others("vit_tiny")
    behind = m.ahead([(other, me) for other in others], one_breaks=True)
    last = m.top("test_accuracy", me, lowest=True)
    answer = all_of([*behind, *(m.more(me, other) for other in others)])
    return answer, m.say("C8", last=last, lead=m.lead(me, last.name))


@claim("C9", "Abstract, section 5.2", ["test_accuracy", "parameters"])
def size_and_accuracy(m: Tables) -> Verdict:
    """The parameter count does not predict accuracy: more is not reliably better."""
    answers = m.ahead(_by_size(m), one_makes=True, one_breaks=True)
    rho, p = rank_correlation(m.models.parameters, m.models.test_accuracy)
    return _predicts_not(m, "C9", "test_accuracy", answers, rho=rho, p=p)


@claim("C10", "Section 5.3", ["parameters", *TIMES], depends="our machine")
def size_and_time(m: Tables) -> Verdict:
    """The parameter count does not predict run time: more is not reliably slower."""
    ranks = {
        f"{size}_{time}": rank_correlation(m.models[size], m.models[time])[0]
        for size in filter(m.known, ("parameters", "macs"))
        for time in TIMES
    }
    answers = [m.slower(*pair) for pair in _by_size(m)]
    return _predicts_not(m, "C10", "train_seconds", answers, **ranks)


def _by_size(m: Tables) -> list[tuple[str, str]]:
    """Return all pairs of models, the larger first."""
    return [*combinations(sorted(m.models.index, key=lambda n: -m.rows[n].parameters), 2)]


def _predicts_not(
    m: Tables, number: str, measure: str, answers: Sequence[Answer], **values: Value
) -> Verdict:
    """Judge whether size does not reliably tell who is ahead, however the close calls fall."""
    yes, no, pairs = answers.count(True), answers.count(False), len(answers)
    predicts = agreed([yes / pairs >= PREDICTS, 1 - no / pairs >= PREDICTS])
    counts = m.counts(measure, yes=yes, no=no, pairs=pairs)
    return opposite(predicts), m.say(number, **counts, **values)


@claim("C12", "Section 5.4", ["test_accuracy_long"])
def patience_too_short(m: Tables) -> Verdict:
    """A patience of 5 stops ViT-Tiny and MobileNet-Lite too early, and a longer one would raise
    their accuracy.

    In part if that is so of one. No later best epoch in n of n runs leaves it open.
    """
    answers, found = [], {}
    for name in ("mobilenet_lite", "vit_tiny"):
        moved = bool(m.rows[name].later)
        answers += m.ahead([(name, name)], "gain") if moved else [None]
        found[name] = m.say("C12 gain" if moved else "C12 unmoved", own=m.rows[name])
    in_part = True in answers and not all(answers)
    return Outcome.IN_PART if in_part else all_of(answers), m.say("C12", **found)


@claim("C13", "Section 4", ["best_epoch", "epochs"], depends="the patience")
def most_converge(m: Tables) -> Verdict:
    """Most models converge within 20 to 30 epochs.

    By epoch 30, in the mean best epoch and in the epochs trained; both must agree.
    """
    best, run = (int((m.models[n] <= CONVERGED_BY).sum()) for n in ("best_epoch", "epochs"))
    longer: Sentence | str = ""
    if m.known("best_epoch_long"):
        patient = int((m.models.best_epoch_long <= CONVERGED_BY).sum())
        longer = m.say("C13 longer", **m.counts("best_epoch_long", patient=patient))
    return agreed(2 * count > len(m.models) for count in (best, run)), m.say(
        "C13",
        longer=longer,
        limit=setting(CONVERGED_BY),
        **m.counts("best_epoch", best=best),
        **m.counts("epochs", run=run, models=len(m.models)),
        last=m.top("best_epoch"),
    )


@claim("C14", "Section 4", ["train_us_per_parameter"])
def two_most_efficient(m: Tables) -> Verdict:
    """Per parameter, ResNet-Mini and Custom CNN learn most efficiently."""
    return _two_lowest(m, "C14", "train_us_per_parameter", "resnet_mini", "baseline_cnn")


@claim("C15", "Section 4", ["test_accuracy"], depends="our recipe")
def early_plateau(m: Tables) -> Verdict:
    """LeNet-5's test accuracy levels off early.

    It comes close to its own best earlier than the others, in the mean, do to theirs.
    """
    if m.epochs is None:
        return Outcome.UNTESTED, m.say("C15 untested")
    best = m.epochs.groupby("name").test_accuracy.transform("max")
    answers, found = [], []
    for points in PLATEAU_POINTS:
        close = m.epochs[m.epochs.test_accuracy >= best - points]
        first = close.groupby(["model", "name"]).epoch.min()
        own, *others = (first[name].to_list() for name in ("lenet5", *m.others("lenet5")))
        answers += above([_later(others, own)], 0)
        means = {"own": np.mean(own), "others": np.mean([np.mean(other) for other in others])}
        found.append(SimpleNamespace(points=setting(points), **m.counts("test_accuracy", **means)))
    return agreed(answers), m.say("C15", near=found[0], nearer=found[1])


def _later(others: Sequence[Sequence[float]], own: Sequence[float]) -> Estimate:
    """Return by how many epochs the mean of others comes later; a model's runs are one list."""
    return estimate([-np.array(own), *(-np.array(runs) / len(others) for runs in others)])


@claim("C20", "Section 5.4", ["best_epoch"], depends="our recipe")
def two_soonest(m: Tables) -> Verdict:
    """The small models, Custom CNN and LeNet-5, converge in the fewest epochs.

    Sooner than each other; fails if one of them is shown to be later than the others' mean.
    """
    rest = m.others("lenet5", "baseline_cnn")
    runs = {name: [*own.parts.values()] or [own] for name, own in m.models.best_epoch.items()}
    pair, others = (runs["lenet5"], runs["baseline_cnn"]), [runs[name] for name in rest]
    each = above([_later([other], one) for one in pair for other in others], EPOCH_MARGIN)
    together = above([_later(others, one) for one in pair], EPOCH_MARGIN, one_breaks=True)
    answer = False if False in together else all_of(each) or None
    return answer, m.say("C20", others=sum(m.models.best_epoch[rest]) / len(rest))
