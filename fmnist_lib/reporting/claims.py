"""The paper's claims C1 to C20, and what our runs of each model say about them.

A claim that needs an experiment of its own (an ablation, augmentation) is not tested here; its
verdict names the experiment. How comparisons are decided: see `judging`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from fmnist_lib.reporting import rules
from fmnist_lib.reporting.judging import Interval, Measured, Outcome, PairedInterval, Verdict
from fmnist_lib.reporting.paper import REPORTED, reported_results
from fmnist_lib.reporting.words import join, names_of

ALL_MODELS = tuple(REPORTED)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of the paper that data can answer.

    Either `rule` judges it on the results of `models`, reading `columns`, or `experiment` says
    what would have to be run. One with both needs the `gains` of such an experiment.
    """

    id: str
    statement: str  # in our words
    where: str  # sections, tables
    rule: Callable[[Measured], Verdict] | None = None
    experiment: str = ""
    models: tuple[str, ...] = ALL_MODELS
    columns: tuple[str, ...] = ()
    history_columns: tuple[str, ...] = ()

    def judge(
        self,
        results: pd.DataFrame,
        history: pd.DataFrame | None = None,
        pairs: PairedInterval | None = None,
        gains: Mapping[str, Interval] | None = None,
    ) -> Verdict:
        """The verdict of these results; `Outcome.NOT_TESTED` with the reason where they lack some.

        Args as in `judge_claims`.
        """
        if self.experiment and (self.rule is None or gains is None):
            return Verdict(Outcome.NOT_TESTED, f"It takes {self.experiment}.")
        measured = Measured(results[results.index.isin(self.models)], history, pairs, gains)
        lacking = self._lacking(measured)
        return Verdict(Outcome.NOT_TESTED, lacking) if lacking else self.rule(measured)

    def _lacking(self, measured: Measured) -> str:
        """What the results lack for this claim, as a sentence; empty if nothing."""
        there = measured.gains if self.experiment else measured.models
        absent = [model for model in self.models if model not in there]
        if absent:
            return f"There are no results for {names_of(absent)}."
        unknown = [name for name in self.columns if not measured.known(name, self.models)]
        if unknown:
            return f"The results do not give {join(unknown)} for every model."
        if not self.history_columns:
            return ""
        history = measured.history
        known = set() if history is None else set(history.columns)
        if not {"model", "seed", "epoch", *self.history_columns} <= known:
            return f"It takes the {join(self.history_columns)} of every epoch."
        absent = sorted(set(self.models) - set(history.model), key=self.models.index)
        return f"There is no history for {names_of(absent)}." if absent else ""


_ACCURACY = ("test_accuracy", "test_accuracy_low", "test_accuracy_high")

CLAIMS = (
    Claim(
        id="C1",
        statement="ResNet-Mini offers the best trade-off between accuracy and efficiency.",
        where="Abstract, sections 5.6 and 7",
        rule=rules.best_trade_off,
        columns=(*_ACCURACY, "parameters", "train_seconds"),
    ),
    Claim(
        id="C2",
        statement="ResNet-Mini has the highest test accuracy.",
        where="Section 7",
        rule=rules.resnet_most_accurate,
        columns=_ACCURACY,
    ),
    Claim(
        id="C3",
        statement="ResNet-Mini beats ViT-Tiny with about a tenth of its parameters.",
        where="Section 5.2",
        rule=rules.resnet_beats_vit,
        models=("resnet_mini", "vit_tiny"),
        columns=(*_ACCURACY, "parameters"),
    ),
    Claim(
        id="C4",
        statement="MobileNet-Lite is accurate but the slowest per epoch, in training and at"
        " inference, slower than DenseNet-Tiny at a similar size.",
        where="Section 5.3",
        rule=rules.mobilenet_slowest,
        columns=(*_ACCURACY, "parameters", "train_seconds", "inference_ms"),
    ),
    Claim(
        id="C5",
        statement="Custom CNN has the fewest parameters and still reaches 90 % test accuracy.",
        where="Section 7",
        rule=rules.cnn_smallest,
        columns=(*_ACCURACY, "parameters"),
    ),
    Claim(
        id="C6",
        statement="LeNet-5 overfits: its train accuracy exceeds its test accuracy by the most.",
        where="Caption of Table 1, section 5.2",
        rule=rules.lenet_overfits,
        columns=(*_ACCURACY, "train_accuracy"),
    ),
    Claim(
        id="C7",
        statement="LeNet-5 and Custom CNN train fastest.",
        where="Sections 5.3 and 7",
        rule=rules.two_fastest,
        columns=("train_seconds",),
    ),
    Claim(
        id="C8",
        statement="ViT-Tiny has the most parameters and the lowest test accuracy.",
        where="Sections 5.2 and 5.5",
        rule=rules.vit_last,
        columns=(*_ACCURACY, "parameters"),
    ),
    Claim(
        id="C9",
        statement="The parameter count does not predict accuracy: more is not reliably better.",
        where="Abstract, section 5.2",
        rule=rules.size_and_accuracy,
        columns=(*_ACCURACY, "parameters"),
    ),
    Claim(
        id="C10",
        statement="The parameter count does not predict run time: more is not reliably slower.",
        where="Section 5.3",
        rule=rules.size_and_time,
        columns=("parameters", "train_seconds"),
    ),
    Claim(
        id="C11",
        statement="Dense connectivity does not pay for DenseNet-Tiny at this size.",
        where="Section 5.5",
        experiment="an ablation: dense against plain blocks at equal cost",
    ),
    Claim(
        id="C12",
        statement="A patience of 5 stops ViT-Tiny and MobileNet-Lite too early, and a longer one"
        " would raise their accuracy.",
        where="Section 5.4",
        rule=rules.patience_too_short,
        models=("mobilenet_lite", "vit_tiny"),
        experiment="runs that go on to a longer patience, compared with their own stop at 5",
    ),
    Claim(
        id="C13",
        statement="Most models converge within 20 to 30 epochs.",
        where="Section 4",
        rule=rules.most_converge,
        columns=("best_epoch", "epochs"),
    ),
    Claim(
        id="C14",
        statement="Per parameter, ResNet-Mini and Custom CNN learn most efficiently.",
        where="Section 4",
        rule=rules.two_most_efficient,
        columns=("parameters", "train_seconds"),
    ),
    Claim(
        id="C15",
        statement="LeNet-5's test accuracy levels off early.",
        where="Section 4",
        rule=rules.lenet_plateau,
        history_columns=("test_accuracy",),
    ),
    Claim(
        id="C16",
        statement="Skip connections are what makes ResNet-Mini good.",
        where="Sections 5.2 and 7",
        experiment="an ablation: ResNet-Mini with and without its shortcuts, over several seeds",
    ),
    Claim(
        id="C17",
        statement="Depthwise-separable convolutions are what makes MobileNet-Lite slow.",
        where="Section 5.3",
        experiment="an ablation: separable against full convolutions at equal width, timed alone",
    ),
    Claim(
        id="C18",
        statement="LeNet-5 suffers from missing ReLU and batch norm and from its large dense"
        " layers.",
        where="Sections 5.2 and 5.5",
        experiment="an ablation: LeNet-5 with ReLU, with batch norm, with a smaller dense head",
    ),
    Claim(
        id="C19",
        statement="ViT-Tiny would gain the most from augmentation.",
        where="Section 5.6",
        experiment="every model trained with and without augmentation, over several seeds",
    ),
    Claim(
        id="C20",
        statement="The small models, Custom CNN and LeNet-5, converge in the fewest epochs.",
        where="Section 5.4",
        rule=rules.two_soonest,
        columns=("best_epoch", "parameters"),
    ),
)


def judge_claims(
    results: pd.DataFrame,
    history: pd.DataFrame | None = None,
    pairs: PairedInterval | None = None,
    gains: Mapping[str, Interval] | None = None,
) -> pd.DataFrame:
    """Every claim with its verdict: columns id, claim, where, in_paper, outcome, evidence.

    `results` has one row a model (index: its name), means over its `n` runs: parameters, macs,
    train_loss, test_loss, train_accuracy, train_accuracy_eval, test_accuracy with _low and _high
    (95 % interval), best_epoch, epochs, train_seconds, inference_ms, total_train_seconds; models or
    columns may be missing. `history` has model, seed, epoch and test_accuracy, one row an epoch.
    `pairs` and `gains` as in `Measured`. `in_paper` is the outcome of the same rule on the paper's
    own tables, its accuracies taken at face value.
    """
    reported = reported_results()
    rows = []
    for claim in CLAIMS:
        outcome, evidence = claim.judge(results, history, pairs, gains)
        rows.append(
            {
                "id": claim.id,
                "claim": claim.statement,
                "where": claim.where,
                "in_paper": claim.judge(reported).outcome.value,
                "outcome": outcome.value,
                "evidence": evidence,
            }
        )
    return pd.DataFrame(rows)


def pareto_front(
    results: pd.DataFrame, cost_column: str, value_column: str = "test_accuracy"
) -> list[str]:
    """The models that no other beats on one of cost and value without losing on the other.

    From the cheapest on. Models without a number for either are left out.
    """
    points = results[[cost_column, value_column]].dropna().sort_values(cost_column)
    return [
        name
        for name, (cost, value) in zip(points.index, points.to_numpy(), strict=True)
        if not any(
            c <= cost and v >= value and (c < cost or v > value) for c, v in points.to_numpy()
        )
    ]
