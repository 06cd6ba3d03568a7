"""The rules by which runs answer a claim: measurements in, verdict out.

Each takes `Measured` results that have the models and columns its claim asks for. What the paper
leaves vague (how close is "about a tenth", what is "early") is declared here as a constant.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

import pandas as pd

from fmnist_lib.reporting.judging import (
    EPOCH_MARGIN,
    Answer,
    Interval,
    Measured,
    Verdict,
    above,
    agreed,
    all_of,
    at_least_half,
    opposite,
    over_seeds,
    slower,
    verdict,
)
from fmnist_lib.reporting.paired import GAPS
from fmnist_lib.reporting.words import join, name_of, names_of, ordinal

# The strong form of C1, declared beforehand: ranks in these columns count the same. The paper
# praises accuracy, speed and simplicity (section 7) without an order among them, hence equal
# weights; ranks, since the units cannot be added and no single extreme should decide.
TRADE_OFF_WEIGHTS = {"test_accuracy": 1, "parameters": 1, "train_seconds": 1}
ABOUT_A_TENTH = (0.05, 0.15)  # what rounds to one tenth
ACCURACY_TO_REACH = 90.0  # percent, C5
# A count predicts when it orders at least this share of pairs: halfway from chance to certainty.
PREDICTS = 0.75
CONVERGENCE = (20, 30)  # epochs, section 4
PLATEAU_POINTS = (0.5, 1.0)  # so close to its best an accuracy has levelled off; both must agree

Comparison = Callable[[str, str], Answer]


def best_trade_off(m: Measured) -> Verdict:
    """C1: on every Pareto front (weak form), and first by `TRADE_OFF_WEIGHTS` (strong form)."""
    costs: dict[str, Comparison] = {"parameters": m.larger, "train time": m.slower}
    if m.known("macs", m.models):
        costs["MACs"] = lambda first, second: m.larger(first, second, "macs")
    dominated = {
        (rival, cost): all_of([dearer("resnet_mini", rival), m.more_accurate(rival, "resnet_mini")])
        for cost, dearer in costs.items()
        for rival in m.others("resnet_mini")
    }
    weak = all_of(opposite(answer) for answer in dominated.values())
    against = {rival: None for (rival, _), answer in dominated.items() if answer is not False}
    strong, mean_rank = _first_by_weights(m, "resnet_mini")
    best = min(mean_rank, key=mean_rank.__getitem__)
    return verdict(
        all_of([weak, strong]),
        f"Weak form, not dominated in accuracy against {join(costs)}: {_word(weak)}"
        f" (dominating it, for certain or perhaps: {names_of(against)}). Strong form, first by"
        f" equally weighted ranks in accuracy, parameters and train time: {_word(strong)}"
        f" (mean rank {mean_rank['resnet_mini']:.2f}; the best is {name_of(best)}'s,"
        f" {mean_rank[best]:.2f}).",
    )


def resnet_most_accurate(m: Measured) -> Verdict:
    """C2."""
    me, others = "resnet_mini", m.others("resnet_mini")
    rival = m.extreme("test_accuracy", others)
    return verdict(
        all_of(m.more_accurate(me, other) for other in others),
        f"ResNet-Mini reaches {_accuracy(m, me)}, the best of the others, {name_of(rival)},"
        f" {_accuracy(m, rival)}: a difference of {m.accuracy_difference(me, rival).text}.",
    )


def resnet_beats_vit(m: Measured) -> Verdict:
    """C3."""
    share = m.value("resnet_mini", "parameters") / m.value("vit_tiny", "parameters")
    low, high = ABOUT_A_TENTH
    return verdict(
        all_of([m.more_accurate("resnet_mini", "vit_tiny"), low <= share < high]),
        f"ResNet-Mini reaches {_accuracy(m, 'resnet_mini')} with {share:.3f} times the parameters"
        f" of ViT-Tiny, which reaches {_accuracy(m, 'vit_tiny')}:"
        f" a difference of {m.accuracy_difference('resnet_mini', 'vit_tiny').text}.",
    )


def mobilenet_slowest(m: Measured) -> Verdict:
    """C4; accurate means more accurate than at least half of the others."""
    me, others = "mobilenet_lite", m.others("mobilenet_lite")
    better = [m.more_accurate(me, other) for other in others]
    slowest = [m.slower(me, other, column) for other in others for column in _TIMES]
    times = [
        f"{_place(m.results[column], me)} with {_time(m, me, column)} {use}"
        f" (DenseNet-Tiny {_time(m, 'densenet_tiny', column)})"
        for column, (_, _, use) in _TIMES.items()
    ]
    share = m.value("densenet_tiny", "parameters") / m.value(me, "parameters")
    return verdict(
        all_of([at_least_half(better), *slowest]),
        f"MobileNet-Lite reaches {_accuracy(m, me)}, clearly more than {better.count(True)} of"
        f" {len(others)} others. The slowest first, it comes {join(times)}; DenseNet-Tiny has"
        f" {share:.2f} times its parameters.",
    )


def cnn_smallest(m: Measured) -> Verdict:
    """C5."""
    me = "baseline_cnn"
    low, high = m.value(me, "test_accuracy_low"), m.value(me, "test_accuracy_high")
    reaches = True if low >= ACCURACY_TO_REACH else False if high < ACCURACY_TO_REACH else None
    smallest = m.extreme("parameters", m.others(me), highest=False)
    interval = f" (95 % interval {low:.2f} to {high:.2f})" if high > low else ""
    return verdict(
        all_of([reaches, *(m.larger(other, me) for other in m.others(me))]),
        f"Custom CNN reaches {_accuracy(m, me)}{interval} with {m.value(me, 'parameters'):,.0f}"
        f" parameters; the smallest of the others, {name_of(smallest)}, has"
        f" {m.value(smallest, 'parameters'):,.0f}.",
    )


def lenet_overfits(m: Measured) -> Verdict:
    """C6, by the running train accuracy as in the paper, and by the re-evaluated one if known."""
    answers, texts = [], []
    for gap, (kind, column) in _GAPS.items():
        if not m.known(column, m.models):
            continue
        gaps = m.results[column] - m.results["test_accuracy"]
        leads = {other: m.gap_lead("lenet5", other, gap) for other in m.others("lenet5")}
        rival = gaps.drop("lenet5").idxmax()
        answers.append(all_of(above(lead) for lead in leads.values()))
        texts.append(
            f"{gaps['lenet5']:.2f} points by {kind} train accuracy ({name_of(rival)}, the largest"
            f" other, {gaps[rival]:.2f}, a lead of {leads[rival].text})"
        )
    return verdict(
        agreed(answers), f"LeNet-5's {m.mean}gap between train and test is {join(texts)}."
    )


def two_fastest(m: Measured) -> Verdict:
    """C7."""
    return _two_lowest(m.results["train_seconds"], m.slower, "{:.1f} s an epoch")


def vit_last(m: Measured) -> Verdict:
    """C8."""
    others = m.others("vit_tiny")
    largest = m.extreme("parameters", others)
    least = m.extreme("test_accuracy", others, highest=False)
    return verdict(
        all_of(
            answer
            for other in others
            for answer in (m.larger("vit_tiny", other), m.more_accurate(other, "vit_tiny"))
        ),
        f"ViT-Tiny has {m.value('vit_tiny', 'parameters'):,.0f} parameters ({name_of(largest)},"
        f" the largest other, {m.value(largest, 'parameters'):,.0f}) and reaches"
        f" {_accuracy(m, 'vit_tiny')}; the least accurate other, {name_of(least)}, reaches"
        f" {_accuracy(m, least)}: a difference of {m.accuracy_difference('vit_tiny', least).text}.",
    )


def size_and_accuracy(m: Measured) -> Verdict:
    """C9."""
    return _size_predicts(m, m.more_accurate, "more accurate")


def size_and_time(m: Measured) -> Verdict:
    """C10."""
    return _size_predicts(m, m.slower, "slower to train")


def most_converge(m: Measured) -> Verdict:
    """C13, by the best epoch and by the epochs run; both must agree."""
    low, high = CONVERGENCE
    best, run = (m.results[column].between(low, high).sum() for column in ("best_epoch", "epochs"))
    late = (m.results["best_epoch"] > high).sum()
    number = len(m.models)
    return verdict(
        agreed([bool(best > number / 2), bool(run > number / 2)]),
        f"The {m.mean}best epoch lies within {low} to {high} in {best} of {number} models, and the"
        f" {m.mean}last epoch run in {run}; in {late} the best epoch comes later still.",
    )


def two_most_efficient(m: Measured) -> Verdict:
    """C14, by train time of an epoch per parameter."""
    micros = m.results["train_seconds"] / m.results["parameters"] * 1e6
    pair = ("resnet_mini", "baseline_cnn")

    def slower_each(first: str, second: str) -> Answer:
        return slower(micros[first], micros[second])

    return _two_lowest(micros, slower_each, "{:,.0f} µs a parameter", pair)


def lenet_plateau(m: Measured) -> Verdict:
    """C15: LeNet-5 comes close to its best accuracy earlier than the median of the others.

    Each run by its own best; of several seeds, those that all models have, as a paired difference.
    """
    history = m.history[m.history.model.isin(m.models)]
    best = history.groupby(["seed", "model"]).test_accuracy.transform("max")
    answers, texts = [], []
    for points in PLATEAU_POINTS:
        close = history[history.test_accuracy >= best - points]
        epochs = close.groupby(["seed", "model"]).epoch.min().unstack().dropna()  # (seeds, models)
        if epochs.empty:
            return verdict(None, "The models have no seed in common.")
        own, median = epochs["lenet5"], epochs.drop(columns="lenet5").median(axis=1)
        answers.append(above(over_seeds(median - own)))
        texts.append(
            f"{points} points of its best at {m.mean}epoch {own.mean():.3g} (the median of the"
            f" others: {median.mean():.3g})"
        )
    return verdict(agreed(answers), f"LeNet-5 first comes within {join(texts)}.")


def patience_too_short(m: Measured) -> Verdict:
    """C12: a longer patience makes both models more accurate.

    A gain of exactly zero, where it moved no best epoch, is none.
    """
    answers, found = [], []
    for model in ("vit_tiny", "mobilenet_lite"):
        gain, name = m.gains[model], name_of(model)
        still = gain == (0, 0)
        answers.append(False if still else above(gain))
        changes = f"moves no best epoch of {name}" if still else f"adds {gain.text} to {name}"
        found.append(f"{changes}: {_word(answers[-1])}")
    return verdict(
        all_of(answers),
        f"The longer patience {'; it '.join(found)}. A longer search is favoured: the epoch is"
        " chosen by the same test images.",
    )


def two_soonest(m: Measured) -> Verdict:
    """C20."""
    found = _two_lowest(m.results["best_epoch"], m.later, f"{m.mean}epoch {{:.3g}}")
    return Verdict(
        found.outcome,
        f"By best epoch. {found.evidence} Fewer than {EPOCH_MARGIN} epochs apart decide nothing;"
        f" by size, the largest first, LeNet-5 is the {_place(m.results['parameters'], 'lenet5')}.",
    )


_TIMES = {
    "train_seconds": (".1f", "s", "a training epoch"),
    "inference_ms": (",.0f", "ms", "for the test images"),
}
_GAPS = {gap: (kind, GAPS[gap]) for gap, kind in [("gap", "running"), ("gap_eval", "re-evaluated")]}


def _with_spread(m: Measured, model: str, column: str, spec: str) -> str:
    """A number, with its standard deviation where there is one."""
    deviation = f"{column}_std"
    spread = f" ± {m.value(model, deviation):{spec}}" if m.known(deviation, [model]) else ""
    return f"{m.value(model, column):{spec}}{spread}"


def _accuracy(m: Measured, model: str) -> str:
    return f"{_with_spread(m, model, 'test_accuracy', '.2f')} %"


def _time(m: Measured, model: str, column: str) -> str:
    spec, unit, _ = _TIMES[column]
    return f"{_with_spread(m, model, column, spec)} {unit}"


def _word(answer: Answer) -> str:
    return {True: "yes", False: "no", None: "undecided"}[answer]


def _place(values: pd.Series, model: str) -> str:
    """The place of a model from the highest value on."""
    return f"{ordinal(list(values.sort_values(ascending=False).index), model)} of {len(values)}"


def _two_lowest(
    values: pd.Series,
    higher: Comparison,
    form: str,
    pair: tuple[str, str] = ("lenet5", "baseline_cnn"),
) -> Verdict:
    """Whether every other model's value is higher than both of the pair's."""
    others = values.drop(list(pair))
    order = list(values.sort_values().index)
    answer = all_of(higher(other, one) for one in pair for other in others.index)
    own = [
        f"{name_of(one)} comes {ordinal(order, one)} with {form.format(values[one])}"
        for one in pair
    ]
    return verdict(
        answer,
        f"The lowest first, {join(own)}; the lowest of the others, {name_of(others.idxmin())}, has"
        f" {form.format(others.min())}.",
    )


def _size_predicts(m: Measured, more: Comparison, words: str) -> Verdict:
    """Whether the larger of two models is not reliably the one that has more of something."""
    answers = [
        more(first, second) if m.larger(first, second) else more(second, first)
        for first, second in combinations(m.models, 2)
        if m.larger(first, second) is not None
    ]
    yes, no, unsure = (answers.count(answer) for answer in (True, False, None))
    predicts = agreed([yes / len(answers) >= PREDICTS, (yes + unsure) / len(answers) >= PREDICTS])
    return verdict(
        opposite(predicts),
        f"Of {len(answers)} pairs of models the larger is {words} in {yes} and the smaller in {no};"
        f" too close to tell: {unsure}. To predict, it would have to order at least"
        f" {100 * PREDICTS:.0f} % of them rightly.",
    )


def _first_by_weights(m: Measured, model: str) -> tuple[Answer, Mapping[str, float]]:
    """Whether a model comes first by `TRADE_OFF_WEIGHTS` however the close calls fall, and the
    mean rank of every model as measured."""
    worse: dict[str, Comparison] = {
        "test_accuracy": lambda first, second: m.more_accurate(second, first),
        "parameters": m.larger,
        "train_seconds": m.slower,
    }
    measured, lowest, highest = (dict.fromkeys(m.models, 0.0) for _ in range(3))
    for column, weight in TRADE_OFF_WEIGHTS.items():
        ranks = m.results[column].rank(ascending=column != "test_accuracy")
        for one in m.models:
            answers = [worse[column](one, other) for other in m.others(one)]
            measured[one] += weight * float(ranks[one]) / sum(TRADE_OFF_WEIGHTS.values())
            lowest[one] += weight * (1 + answers.count(True))
            highest[one] += weight * (len(m.models) - answers.count(False))
    leads = [
        Interval(lowest[one] - highest[model], highest[one] - lowest[model])
        for one in m.others(model)
    ]
    return all_of(map(above, leads)), measured
