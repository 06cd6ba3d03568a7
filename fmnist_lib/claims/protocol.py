"""The paper's claims that runs of its own protocol answer, each with its rule and its evidence.

What the paper leaves vague (how close is "about a tenth", what is "early") is a constant here.
Most rules, and the limit on agreement in `judge`, were first committed after runs of seed 0 had
ended, the margins of accuracy after all runs.
"""

from collections.abc import Sequence
from itertools import combinations
from types import SimpleNamespace

import numpy as np

from fmnist_lib.claims.paper import PATIENCE
from fmnist_lib.claims.verdicts import (
    Answer,
    Outcome,
    Sentence,
    Tables,
    above,
    agreed,
    all_of,
    any_of,
    claim,
    opposite,
    outcome_of,
)
from fmnist_lib.results.statistics import Estimate, combined, rank_correlation
from fmnist_lib.results.value import Value, mean, setting

ABOUT_A_TENTH = (0.05, 0.15)  # what rounds to one tenth
TO_REACH = 90.0  # percent, C5
# A count predicts when it orders at least this share of pairs: halfway from chance to certainty.
PREDICTS = 0.75
CONVERGED_BY = 30  # epochs; section 4 says "within 20–30", which is read as "by 30"
EPOCH_MARGIN = PATIENCE  # epochs closer than that count as equal: stopping resolves no finer
PLATEAU_POINTS = (1.0, 0.5)  # so close to its best an accuracy has levelled off; both must agree
TIMES = ("train_seconds", "inference_ms")
MACHINE, RECIPE = "our machine", "our recipe"  # on which a failure may hang

Verdict = tuple[Outcome, Sentence]


@claim(
    *("C1", "Abstract, sections 5.6 and 7"),
    needs=("test_accuracy", "parameters", "train_seconds"),
    depends="the weighting",
)
def best_trade_off(m: Tables) -> Verdict:
    """ResNet-Mini offers the best trade-off between accuracy and efficiency.

    Judged in the weak form: no other model is more accurate and cheaper, whichever the cost.
    """
    me, others = "resnet_mini", m.others("resnet_mini")
    better = m.ahead([(other, me) for other in others], one_makes=True)
    cheaper = [any_of([m.more(me, o), m.more(me, o, "macs"), m.slower(me, o)]) for o in others]
    beats = dict(zip(others, map(all_of, zip(better, cheaper, strict=True)), strict=True))
    beaten = any_of(beats.values())
    shown = "" if beaten else "perhaps "
    return outcome_of(opposite(beaten)), m.say(
        f"By some cost not shown to be dearer than ResNet-Mini, and {shown}more accurate:"
        " {rivals}. Which is best of all hangs on a weighting that the authors never gave: by ranks"
        " in accuracy, parameters and train time it is {alike}, with accuracy counted twice"
        " {twice}, three times {thrice}.",
        rivals=[m.rows[one].title for one in others if beats[one] is (True if beaten else None)],
        **{name: _first(m, n) for n, name in enumerate(("alike", "twice", "thrice"), start=1)},
    )


def _first(m: Tables, weight: int) -> list[str]:
    """Return the models with the lowest sum of ranks, that in accuracy counted so many times."""
    numbers = m.models[["test_accuracy", "parameters", "train_seconds"]].astype(float)
    ranks = numbers.mul([-1, 1, 1]).rank().mul([weight, 1, 1]).sum(axis=1)
    return [m.rows[name].title for name in ranks.index[ranks == ranks.min()]]


@claim("C2", "Section 7", needs=["test_accuracy"], depends="the patience")
def most_accurate(m: Tables) -> Verdict:
    """ResNet-Mini has the highest test accuracy."""
    me, others = "resnet_mini", m.others("resnet_mini")
    answers = m.ahead([(me, other) for other in others], one_breaks=True)
    best = m.top("test_accuracy", me)
    patient = m.top("test_accuracy_long", me) if m.known("test_accuracy_long") else None
    return outcome_of(all_of(answers)), m.say(
        "ResNet-Mini reaches {resnet_mini.test_accuracy:.2f} %, the best of the others,"
        " {best.title}, {best.test_accuracy:.2f} %: {lead:+.2f} points ({lead.interval:+.2f})."
        + " With the longer patience the lead of {patient.title} over ResNet-Mini is {long:+.2f}"
        " points ({long.interval:+.2f})." * bool(patient),
        best=best,
        lead=m.compare(me, best.name)[0],
        patient=patient,
        long=patient and m.compare(patient.name, me, "test_accuracy_long")[0],
    )


@claim(
    *("C3", "Section 5.2"),
    needs=("test_accuracy", "parameters"),
    models=("resnet_mini", "vit_tiny"),
)
def beats_vit(m: Tables) -> Verdict:
    """ResNet-Mini beats ViT-Tiny with about a tenth of its parameters."""
    pair = ("resnet_mini", "vit_tiny")
    share = m.rows[pair[0]].parameters / m.rows[pair[1]].parameters
    tenth = ABOUT_A_TENTH[0] <= share < ABOUT_A_TENTH[1]
    return outcome_of(all_of([tenth, *m.ahead([pair])])), m.say(
        "ResNet-Mini reaches {resnet_mini.test_accuracy:.2f} % with {share:.2f} times the"
        " parameters of ViT-Tiny, which reaches {vit_tiny.test_accuracy:.2f} %: {lead:+.2f} points"
        " ({lead.interval:+.2f}).",
        share=share,
        lead=m.compare(*pair)[0],
    )


@claim("C4", "Section 5.3", needs=("test_accuracy", *TIMES), depends=MACHINE)
def accurate_but_slowest(m: Tables) -> Verdict:
    """MobileNet-Lite is accurate but the slowest per epoch, in training and at inference, slower
    than DenseNet-Tiny at a similar size.

    Accurate is more accurate than most others.
    """
    me, others = "mobilenet_lite", m.others("mobilenet_lite")
    better = m.ahead([(me, other) for other in others], one_makes=True, one_breaks=True)
    more, less = better.count(True), better.count(False)
    accurate = True if 2 * more > len(others) else False if 2 * less >= len(others) else None
    slow = [m.slower(me, o, time) for time in TIMES for o in others]
    return outcome_of(all_of([accurate, *slow])), m.say(
        "MobileNet-Lite takes {mobilenet_lite.train_seconds:.1f} s an epoch (the slowest of the"
        " others, {train.title}, {train.train_seconds:.1f} s) and"
        " {mobilenet_lite.inference_ms:,.0f} ms for the test images ({test.title}"
        " {test.inference_ms:,.0f} ms). It is shown to be more accurate than {better:.0f} of"
        " {others:.0f} others.",
        train=m.top("train_seconds", me),
        test=m.top("inference_ms", me),
        better=m.count(more, "test_accuracy"),
        others=m.count(len(others), "test_accuracy"),
    )


@claim("C5", "Section 7", needs=("test_accuracy", "parameters"))
def smallest_reaches(m: Tables) -> Verdict:
    """Custom CNN has the fewest parameters and still reaches 90 % test accuracy."""
    low, high = m.rows["baseline_cnn"].test_accuracy.interval
    reaches = True if low >= TO_REACH else False if high < TO_REACH else None
    smaller = [m.more(other, "baseline_cnn") for other in m.others("baseline_cnn")]
    return outcome_of(all_of([reaches, *smaller])), m.say(
        "Custom CNN reaches {baseline_cnn.test_accuracy:.2f} % (95 % interval"
        " {baseline_cnn.test_accuracy.interval:.2f}) with {baseline_cnn.parameters:,.0f}"
        " parameters; the next smallest, {next.title}, has {next.parameters:,.0f}.",
        next=m.top("parameters", "baseline_cnn", lowest=True),
    )


@claim("C6", "Caption of Table 1, section 5.2", needs=("test_accuracy", "gap"))
def overfits_most(m: Tables) -> Verdict:
    """LeNet-5 overfits: its train accuracy exceeds its test accuracy by the most.

    By the gap as the paper takes it and, where known, by train accuracy evaluated again.
    """
    answers, found = [], {}
    for gap in [name for name in ("gap", "gap_eval") if m.known(name)]:
        pairs = [("lenet5", other) for other in m.others("lenet5")]
        answers.append(all_of(m.ahead(pairs, gap, one_breaks=True)))
        rival = m.top(gap, "lenet5")
        found[gap] = m.say(
            "{own:.2f} points ({rival.title} {other:.2f}, a lead of {lead:+.2f},"
            " {lead.interval:+.2f})",
            own=getattr(m.rows["lenet5"], gap),
            rival=rival,
            other=getattr(rival, gap),
            lead=m.compare("lenet5", rival.name, gap)[0],
        )
    again = "; by train accuracy evaluated again {gap_eval}" * ("gap_eval" in found)
    text = "The gap of LeNet-5, and the largest of the others: {gap}" + again + "."
    return outcome_of(agreed(answers)), m.say(text, **found)


@claim("C7", "Sections 5.3 and 7", needs=["train_seconds"], depends=MACHINE)
def two_fastest(m: Tables) -> Verdict:
    """LeNet-5 and Custom CNN train fastest."""
    return _two_lowest(m, "train_seconds", "lenet5", "baseline_cnn"), m.say(
        "An epoch takes LeNet-5 {lenet5.train_seconds:.1f} s and Custom CNN"
        " {baseline_cnn.train_seconds:.1f} s; the fastest of the others, {next.title},"
        " {next.train_seconds:.1f} s.",
        next=m.top("train_seconds", "lenet5", "baseline_cnn", lowest=True),
    )


def _two_lowest(m: Tables, column: str, *pair: str) -> Outcome:
    """Judge whether every other model takes longer than both of the pair."""
    return outcome_of(all_of(m.slower(o, one, column) for one in pair for o in m.others(*pair)))


@claim("C8", "Sections 5.2 and 5.5", needs=("test_accuracy", "parameters"))
def largest_and_last(m: Tables) -> Verdict:
    """ViT-Tiny has the most parameters and the lowest test accuracy."""
    me, others = "vit_tiny", m.others("vit_tiny")
    behind = m.ahead([(other, me) for other in others], one_breaks=True)
    last = m.top("test_accuracy", me, lowest=True)
    return outcome_of(all_of([*behind, *(m.more(me, other) for other in others)])), m.say(
        "ViT-Tiny reaches {vit_tiny.test_accuracy:.2f} % with {vit_tiny.parameters:,.0f}"
        " parameters; the least accurate of the others, {last.title}, {last.test_accuracy:.2f} %:"
        " {lead:+.2f} points ({lead.interval:+.2f}).",
        last=last,
        lead=m.compare(me, last.name)[0],
    )


@claim("C9", "Abstract, section 5.2", needs=("test_accuracy", "parameters"))
def size_and_accuracy(m: Tables) -> Verdict:
    """The parameter count does not predict accuracy: more is not reliably better."""
    answers = m.ahead(_by_size(m), one_makes=True, one_breaks=True)
    rho, p = rank_correlation(m.models.parameters, m.models.test_accuracy)
    text = (
        "Of {pairs:.0f} pairs the larger model is shown to be the more accurate in {yes:.0f}, and"
        " shown not to be in {no:.0f}. The rank correlation, {rho:.2f} (exact p {p:.2f}), would not"
        " show by itself that size tells nothing: six models are too few."
    )
    return _predicts_not(m, "test_accuracy", answers, text, rho=rho, p=p)


@claim("C10", "Section 5.3", needs=("parameters", *TIMES), depends=MACHINE)
def size_and_time(m: Tables) -> Verdict:
    """The parameter count does not predict run time: more is not reliably slower."""
    ranks = {
        f"{size}_{time}": rank_correlation(m.models[size], m.models[time])[0]
        for size in ("parameters", "macs")
        for time in TIMES
        if m.known(size)
    }
    text = (
        "Of {pairs:.0f} pairs the larger model is the slower to train in {yes:.0f} and the faster"
        " in {no:.0f}. In rank, times of training and inference correlate with parameters by"
        " {parameters_train_seconds:.2f} and {parameters_inference_ms:.2f}"
    )
    macs = ", with MACs by {macs_train_seconds:.2f} and {macs_inference_ms:.2f}" * m.known("macs")
    answers = [m.slower(*pair) for pair in _by_size(m)]
    return _predicts_not(m, TIMES[0], answers, f"{text}{macs}.", **ranks)


def _by_size(m: Tables) -> list[tuple[str, str]]:
    """Return all pairs of models, the larger first."""
    return [*combinations(sorted(m.models.index, key=lambda n: -m.rows[n].parameters), 2)]


def _predicts_not(
    m: Tables, measure: str, answers: Sequence[Answer], text: str, **values: Value
) -> Verdict:
    """Judge whether size does not reliably tell who is ahead, however the close calls fall."""
    yes, no, pairs = answers.count(True), answers.count(False), len(answers)
    predicts = agreed(share >= PREDICTS for share in (yes / pairs, 1 - no / pairs))
    counts = {"yes": yes, "no": no, "pairs": pairs}
    values |= {name: m.count(count, measure) for name, count in counts.items()}
    return outcome_of(opposite(predicts)), m.say(text, **values)


@claim("C12", "Section 5.4", needs=["test_accuracy_long"], models=("mobilenet_lite", "vit_tiny"))
def patience_too_short(m: Tables) -> Verdict:
    """A patience of 5 stops ViT-Tiny and MobileNet-Lite too early, and a longer one would raise
    their accuracy.

    In part if that is so of one. No later best epoch in n of n runs leaves it open.
    """
    answers, found = [], {}
    for name in ("mobilenet_lite", "vit_tiny"):
        moved = bool(m.rows[name].later)
        answers += m.ahead([(name, name)], "gain") if moved else [None]
        found[name] = m.say(
            "{own.gain:+.2f} points ({own.gain.interval:+.2f})"
            if moved
            else "no later best epoch in {own.n:.0f} runs, which leaves up to"
            " {own.later_most:.0f} % of runs possible",
            own=m.rows[name],
        )
    in_part = True in answers and not all(answers)
    return Outcome.IN_PART if in_part else outcome_of(all_of(answers)), Sentence(
        "What the longer patience adds to MobileNet-Lite: {mobilenet_lite}; to ViT-Tiny:"
        " {vit_tiny}. The test images that chose the epoch also judge it.",
        found,
    )


@claim("C13", "Section 4", needs=("best_epoch", "epochs"), depends="the patience")
def most_converge(m: Tables) -> Verdict:
    """Most models converge within 20 to 30 epochs.

    By epoch 30, in the mean best epoch and in the epochs trained; both must agree.
    """
    best, run = (int((m.models[n] <= CONVERGED_BY).sum()) for n in ("best_epoch", "epochs"))
    answer = agreed(2 * count > len(m.models) for count in (best, run))
    return outcome_of(answer), m.say(
        "By epoch {limit:.0f}, {best:.0f} of {models:.0f} models have their best epoch behind them,"
        " and {run:.0f} the end of training; the last best epoch is {last.title}'s,"
        " {last.best_epoch:.1f}.",
        limit=setting(CONVERGED_BY),
        best=m.count(best, "best_epoch"),
        run=m.count(run, "epochs"),
        models=m.count(len(m.models), "epochs"),
        last=m.top("best_epoch"),
    )


@claim("C14", "Section 4", needs=["train_us_per_parameter"])
def two_most_efficient(m: Tables) -> Verdict:
    """Per parameter, ResNet-Mini and Custom CNN learn most efficiently."""
    pair = ("resnet_mini", "baseline_cnn")
    return _two_lowest(m, "train_us_per_parameter", *pair), m.say(
        "An epoch takes ResNet-Mini {resnet_mini.train_us_per_parameter:,.0f} µs a parameter and"
        " Custom CNN {baseline_cnn.train_us_per_parameter:,.0f} µs; the least of the others,"
        " {next.title}, {next.train_us_per_parameter:,.0f} µs. The measure favours large models.",
        next=m.top("train_us_per_parameter", *pair, lowest=True),
    )


@claim("C15", "Section 4", needs=["test_accuracy"], depends=RECIPE)
def early_plateau(m: Tables) -> Verdict:
    """LeNet-5's test accuracy levels off early.

    It comes close to its own best earlier than the others, in the mean, do to theirs.
    """
    if m.epochs is None:
        return Outcome.NOT_TESTED, Sentence("It takes the test accuracy of every epoch.", {})
    best = m.epochs.groupby("name").test_accuracy.transform("max")
    answers, found = [], []
    for points in PLATEAU_POINTS:
        close = m.epochs[m.epochs.test_accuracy >= best - points]
        first = close.groupby(["model", "name"]).epoch.min()
        own, *others = (first[name].to_list() for name in ("lenet5", *m.others("lenet5")))
        answers += above([_later(others, own)], 0)
        means = {"own": np.mean(own), "others": np.mean([np.mean(other) for other in others])}
        means = {name: m.count(epoch, "test_accuracy") for name, epoch in means.items()}
        found.append(SimpleNamespace(points=setting(points), **means))
    return outcome_of(agreed(answers)), m.say(
        "LeNet-5 first comes within {near.points:.1f} points of its best at epoch {near.own:.1f},"
        " the others in the mean at {near.others:.1f}; within {nearer.points:.1f} points at"
        " {nearer.own:.1f} and {nearer.others:.1f}.",
        near=found[0],
        nearer=found[1],
    )


def _later(others: Sequence[Sequence[float]], own: Sequence[float]) -> Estimate:
    """Return by how many epochs the mean of others comes later; a model's runs are one list."""
    weighted = [(1 / len(others), runs) for runs in others] + [(-1.0, own)]
    effect = float(sum(weight * np.mean(runs) for weight, runs in weighted))
    several = [(weight, runs) for weight, runs in weighted if len(runs) > 1]
    parts = [(w**2 * float(np.var(runs, ddof=1)) / len(runs), len(runs) - 1) for w, runs in several]
    return combined(effect, parts, 0.0)


@claim("C20", "Section 5.4", needs=["best_epoch"], depends=RECIPE)
def two_soonest(m: Tables) -> Verdict:
    """The small models, Custom CNN and LeNet-5, converge in the fewest epochs.

    Sooner than each other; fails if one of them is shown to be later than the others' mean.
    """
    rest = m.others("lenet5", "baseline_cnn")
    runs = {name: [*own.parts.values()] or [own] for name, own in m.models.best_epoch.items()}
    pair, others = (runs["lenet5"], runs["baseline_cnn"]), [runs[name] for name in rest]
    each = above([_later([other], one) for one in pair for other in others], EPOCH_MARGIN)
    together = above([_later(others, one) for one in pair], EPOCH_MARGIN, one_breaks=True)
    return outcome_of(False if False in together else all_of(each) or None), m.say(
        "Mean best epochs: Custom CNN {baseline_cnn.best_epoch:.1f}, LeNet-5"
        " {lenet5.best_epoch:.1f}, the other four {others:.1f}.",
        others=mean(m.models.best_epoch[rest]),
    )
