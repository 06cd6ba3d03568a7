"""The paper's claims that take variants of its models: C11, C16, C17, C18, C19, each with its rule.

Written before any run of these experiments was trained; the history of this file shows it. A claim
stands with the comparisons that it needs and the rule that turns their answers into a verdict.
Not here: how an answer comes about (`variants`), and training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fmnist_lib.claims.verdicts import Answer, Outcome, all_of, any_of, claim, opposite, outcome_of

RIVALS = ("lenet5", "resnet_mini", "densenet_tiny", "mobilenet_lite", "baseline_cnn")
LENET = ("relu", "batch norm", "relu + batch norm")
AUGMENTATIONS = ("mixup", "flip+shift")


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


FULL = Comparison("mobilenet_lite", "full convolutions", towards=-1, measure="train_seconds")

Answers = Mapping[Comparison, Answer]
Judged = tuple[Outcome, tuple[str, ...]]  # the outcome, and the parts of the claim that hold


@claim(
    *("C11", "Section 5.5"),
    family="ablations",
    experiment="an ablation, dense against plain blocks at equal cost",
    needs=[Comparison("densenet_tiny", "plain blocks", towards=-1, equal_cost=True)],
)
def dense_connectivity(answers: Answers) -> Judged:
    """Dense connectivity does not pay for DenseNet-Tiny at this size.

    Fails if plain blocks cost accuracy; holds if they are shown not to.
    """
    (pays,) = answers.values()
    return outcome_of(opposite(pays)), ()


@claim(
    *("C16", "Sections 5.2 and 7"),
    family="ablations",
    experiment="an ablation, ResNet-Mini with and without its shortcuts",
    needs=[Comparison("resnet_mini", "no shortcuts", towards=-1, equal_cost=True)],
)
def skip_connections(answers: Answers) -> Judged:
    """Skip connections are what makes ResNet-Mini good.

    Holds if leaving them out costs accuracy; fails if it is shown not to.
    """
    (costs,) = answers.values()
    return outcome_of(costs), ()


@claim(
    *("C17", "Section 5.3"),
    family="times",
    experiment="an ablation, separable against full convolutions of equal width, timed alone",
    needs=[FULL, replace(FULL, per_mac=True, counted=False)],
)
def separable_convolutions(answers: Answers) -> Judged:
    """Depthwise-separable convolutions are what makes MobileNet-Lite slow.

    Holds if full ones of equal width take less time an epoch; fails if shown not to. By a MAC they
    may still: that stands beside it and decides nothing.
    """
    less, _by_a_mac = answers.values()
    return outcome_of(less), ()


@claim(
    *("C18", "Sections 5.2 and 5.5"),
    family="ablations",
    experiment="an ablation, LeNet-5 with ReLU, with batch norm, with smaller dense layers",
    needs=[
        *(Comparison("lenet5", name, equal_cost=True) for name in LENET),
        *(Comparison("lenet5", name) for name in ("half dense", "quarter dense")),
    ],
)
def lenet_lacks(answers: Answers) -> Judged:
    """LeNet-5 suffers from missing ReLU and batch norm and from its large dense layers.

    Holds if each part, mended alone, raises accuracy: the dense layers at either size. In part if
    some variant raises it, the one with both ReLU and batch norm included; fails if all are shown
    not to.
    """
    relu, norm, both, *dense = answers.values()
    parts = {"relu": relu, "batch norm": norm, "dense layers": any_of(dense)}
    raised = {**parts, "relu + batch norm": both}
    some = any_of(raised.values())
    outcome = Outcome.IN_PART if some and not all_of(parts.values()) else outcome_of(some)
    return outcome, tuple(part for part, answer in raised.items() if answer)


@claim(
    *("C19", "Section 5.6"),
    family="augmentation",
    experiment="every model trained with and without augmentation",
    needs=[
        Comparison("vit_tiny", augmentation, rival=rival, counted=rival is not None)
        for augmentation in AUGMENTATIONS
        for rival in (None, *RIVALS)
    ],
)
def vit_gains_most(answers: Answers) -> Judged:
    """ViT-Tiny would gain the most from augmentation.

    Holds for an augmentation if ViT-Tiny gains by it, and more than each of the other five. Its own
    gain is one more condition, so that it needs no correction. Fails for one if ViT-Tiny is shown
    not to gain, or not to gain more than some other. In part if it holds for one of the two.
    """
    by = {
        name: all_of(a for c, a in answers.items() if c.variant == name) for name in AUGMENTATIONS
    }
    holds = tuple(name for name, answer in by.items() if answer)
    if holds and len(holds) < len(by):
        return Outcome.IN_PART, holds
    return outcome_of(all_of(by.values()) if holds else any_of(by.values())), holds
