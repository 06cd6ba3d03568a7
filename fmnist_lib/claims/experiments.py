"""The paper's claims that take variants of its models: C11, C16, C17, C18, C19, each with its rule.

Written before any run of these experiments was trained; the history of this file shows it. A claim
stands with the comparisons that it needs and the rule that turns their answers into a verdict.
Not here: how an answer comes about (`judge`), training, and words for a reader.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

RIVALS = ("lenet5", "resnet_mini", "densenet_tiny", "mobilenet_lite", "baseline_cnn")
AUGMENTATIONS = ("mixup", "flip+shift")

Answer = bool | None


class Outcome(StrEnum):
    """What the runs say about a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested here"


@dataclass(frozen=True)
class Comparison:
    """A planned comparison: what a variant changes in a model, or by how much more than elsewhere.

    The answer to it is whether the effect, variant minus control ("paper"), is above the margin.
    """

    model: str
    variant: str
    towards: int = 1  # asks about an effect above zero (1) or below it (−1)
    rival: str | None = None  # the model whose effect of the same variant is taken off
    measure: str = "test_accuracy"  # or train_seconds
    per_mac: bool = False
    equal_cost: bool = False  # parameters and MACs have to be about the control's
    counted: bool = True  # in Holm's correction


Answers = Mapping[Comparison, Answer]
Judged = tuple[Outcome, tuple[str, ...]]  # the outcome, and the parts of the claim that hold


@dataclass(frozen=True)
class Claim:
    """A statement, what it needs, the runs over whose comparisons Holm corrects, and its rule."""

    statement: str
    where: str
    family: str
    needs: tuple[Comparison, ...]
    rule: Callable[[Answers], Judged]

    @property
    def apart(self) -> list[list[Comparison]]:
        """The comparisons in groups, each corrected by itself: against rivals by variant."""
        rivals = any(need.rival for need in self.needs)
        groups: dict[str, list[Comparison]] = {}
        for need in self.needs:
            groups.setdefault(need.variant if rivals else "", []).append(need)
        return list(groups.values())


CLAIMS: dict[str, Claim] = {}


def claim(
    number: str, statement: str, where: str, *, family: str, needs: Iterable[Comparison]
) -> Callable[[Callable[[Answers], Judged]], Callable[[Answers], Judged]]:
    """Put the rule below it into `CLAIMS`."""

    def register(rule: Callable[[Answers], Judged]) -> Callable[[Answers], Judged]:
        CLAIMS[number] = Claim(statement, where, family, tuple(needs), rule)
        return rule

    return register


def all_of(answers: Iterable[Answer]) -> Answer:
    """No if any is no, else unknown if any is unknown, else yes."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def any_of(answers: Iterable[Answer]) -> Answer:
    """Yes if any is yes, else unknown if any is unknown, else no."""
    answers = list(answers)
    return True if True in answers else None if None in answers else False


def outcome_of(answer: Answer) -> Outcome:
    """The outcome that goes with an answer."""
    return {True: Outcome.HOLDS, False: Outcome.FAILS, None: Outcome.UNDECIDED}[answer]


@claim(
    "C11",
    "Dense connectivity does not pay for DenseNet-Tiny at this size.",
    "Section 5.5",
    family="ablations",
    needs=[Comparison("densenet_tiny", "plain blocks", towards=-1, equal_cost=True)],
)
def dense_connectivity(answers: Answers) -> Judged:
    """Fails if plain blocks cost accuracy; holds if they are shown not to."""
    (pays,) = answers.values()
    return outcome_of(None if pays is None else not pays), ()


@claim(
    "C16",
    "Skip connections are what makes ResNet-Mini good.",
    "Sections 5.2 and 7",
    family="ablations",
    needs=[Comparison("resnet_mini", "no shortcuts", towards=-1, equal_cost=True)],
)
def skip_connections(answers: Answers) -> Judged:
    """Holds if leaving them out costs accuracy; fails if it is shown not to."""
    (costs,) = answers.values()
    return outcome_of(costs), ()


@claim(
    "C17",
    "Depthwise-separable convolutions are what makes MobileNet-Lite slow.",
    "Section 5.3",
    family="times",
    needs=[
        Comparison(
            *("mobilenet_lite", "full convolutions"),
            towards=-1,
            measure="train_seconds",
            per_mac=per_mac,
            counted=not per_mac,
        )
        for per_mac in (False, True)
    ],
)
def separable_convolutions(answers: Answers) -> Judged:
    """Holds if full ones of equal width take less time an epoch; fails if shown not to.

    By a MAC they may still: that stands beside it and decides nothing.
    """
    less, _by_a_mac = answers.values()
    return outcome_of(less), ()


@claim(
    "C18",
    "LeNet-5 suffers from missing ReLU and batch norm and from its large dense layers.",
    "Sections 5.2 and 5.5",
    family="ablations",
    needs=[
        *(Comparison("lenet5", v, equal_cost=True) for v in ("relu", "batch norm")),
        Comparison("lenet5", "relu + batch norm", equal_cost=True),
        *(Comparison("lenet5", v) for v in ("half dense", "quarter dense")),
    ],
)
def lenet_lacks(answers: Answers) -> Judged:
    """Holds if each part, mended alone, raises accuracy: the dense layers at either size.

    In part if some variant raises it, the one with both ReLU and batch norm included; fails if all
    are shown not to.
    """
    relu, norm, both, *dense = answers.values()
    parts = {"relu": relu, "batch norm": norm, "dense layers": any_of(dense)}
    raised = {**parts, "relu + batch norm": both}
    some = any_of(raised.values())
    outcome = Outcome.IN_PART if some and not all_of(parts.values()) else outcome_of(some)
    return outcome, tuple(part for part, answer in raised.items() if answer)


@claim(
    "C19",
    "ViT-Tiny would gain the most from augmentation.",
    "Section 5.6",
    family="augmentation",
    needs=[
        Comparison("vit_tiny", augmentation, rival=rival, counted=rival is not None)
        for augmentation in AUGMENTATIONS
        for rival in (None, *RIVALS)
    ],
)
def vit_gains_most(answers: Answers) -> Judged:
    """Holds for an augmentation if ViT-Tiny gains by it, and more than each of the other five.

    Its own gain is one more condition, so that it needs no correction. Fails for one if ViT-Tiny is
    shown not to gain, or not to gain more than some other. In part if it holds for one of the two.
    """
    by = {
        name: all_of(a for c, a in answers.items() if c.variant == name) for name in AUGMENTATIONS
    }
    holds = tuple(name for name, answer in by.items() if answer)
    if holds and len(holds) < len(by):
        return Outcome.IN_PART, holds
    return outcome_of(all_of(by.values()) if holds else any_of(by.values())), holds
