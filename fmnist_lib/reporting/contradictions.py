"""Where the paper disagrees with itself, each time with the arithmetic that shows it.

Every figure that follows from the tables is computed from `REPORTED`; typed are only the numbers
that the paper states in prose or diagrams, and those of the architectures it cites.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fmnist_lib.reporting.paper import (
    PATIENCE,
    REPORTED,
    TEST_IMAGES,
    TRAIN_IMAGES,
    ReportedModel,
    implied_parameters,
)
from fmnist_lib.reporting.words import join, name_of, names_of, ordinal


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """One place where two statements of the paper cannot both be right."""

    title: str
    says: str  # what the paper says, in our words
    arithmetic: str  # what its own numbers give
    where: str  # sections, tables, figures


def contradictions() -> list[Contradiction]:
    """All contradictions we found, in a fixed order; count them with `len`."""
    return [describe() for describe in _CONTRADICTIONS]


def efficiency_ranking() -> list[str]:
    """Model names by Table 2's train time per parameter, the cheapest first."""
    return ranking(lambda row: row.train_time_per_parameter)


def ranking(value: Callable[[ReportedModel], float], *, descending: bool = False) -> list[str]:
    """Model names by a value of their row."""
    return sorted(REPORTED, key=lambda name: value(REPORTED[name]), reverse=descending)


def resnet_parameters(widths: Sequence[int]) -> int:
    """Parameters of a ResNet-Mini with two blocks a stage, counted from its layers (biases on).

    Per block: two 3×3 convolutions and two batch norms; where the width changes also a 1×1
    convolution with batch norm as the shortcut.
    """
    count = widths[0] * 1 + widths[0]  # 1×1 stem from one channel
    before = widths[0]
    for width in widths:
        for channels in (before, width):
            count += 9 * channels * width + width + 9 * width * width + width + 4 * width
            if channels != width:
                count += channels * width + width + 2 * width
        before = width
    return count + 10 * (before + 1)


def densenet_parameters(transitions: int) -> int:
    """Parameters of a DenseNet-Tiny whose three blocks are followed by so many transitions.

    Stem 1→8, three layers a block (batch norm, 3×3 convolution, growth 8), so 8→32 channels; a
    transition is a 1×1 convolution 32→8.
    """
    block = sum(2 * channels + 9 * channels * 8 + 8 for channels in (8, 16, 24))
    features = 32 if transitions < 3 else 8  # what the last layer sees
    return (9 * 8 + 8) + 3 * block + transitions * (32 * 8 + 8) + 10 * (features + 1)


def _time_per_parameter() -> Contradiction:
    per_thousand = {
        name: row.train_seconds.mean * 1e6 / (row.nominal_parameters / 1000)
        for name, row in REPORTED.items()
    }
    factors = [us / REPORTED[name].train_time_per_parameter for name, us in per_thousand.items()]
    return Contradiction(
        title="The unit of time per parameter",
        says="The last column of Table 2 is in µs/K, explained as time per 1K parameters.",
        arithmetic="Train time over parameters in thousands is"
        f" {min(factors):,.0f} to {max(factors):,.0f} times the printed figure. Up to the rounding"
        " of the counts that is a thousand: the column holds microseconds per single parameter.",
        where="Table 2",
    )


def _best_accuracy() -> Contradiction:
    best, second = ranking(lambda row: row.test_accuracy, descending=True)[:2]
    lead = REPORTED[best].test_accuracy - REPORTED[second].test_accuracy
    return Contradiction(
        title="Which model is the most accurate",
        says="ResNet-Mini is said to be slightly ahead of MobileNet-Lite and is listed as the most"
        " accurate model.",
        arithmetic=f"Table 1 puts {name_of(best)} first with {REPORTED[best].test_accuracy:.2f} %, "
        f"{lead:.2f} points above {name_of(second)} ({REPORTED[second].test_accuracy:.2f} %).",
        where="Table 1, sections 4 and 7",
    )


def _resnet_width() -> Contradiction:
    literal, narrow = (16, 32, 64), (4, 8, 16)
    low, high = implied_parameters("resnet_mini")
    return Contradiction(
        title="The width of ResNet-Mini",
        says="The network starts with 16 channels and doubles them from stage to stage, yet has"
        f" {REPORTED['resnet_mini'].parameters_text} parameters.",
        arithmetic=f"Widths {join(literal)} need {resnet_parameters(literal):,} parameters,"
        f" {resnet_parameters(literal) / high:.0f} times what Table 2 allows ({low:,} to {high:,})."
        f" Widths {join(narrow)} need {resnet_parameters(narrow):,}, so 16 can only be the last.",
        where="Section 3.3.2, appendix, Tables 1 and 2",
    )


def _patience() -> Contradiction:
    waits = {name: row.epochs - row.best_epoch for name, row in REPORTED.items()}
    short = [name for name, wait in waits.items() if wait != PATIENCE]
    gaps = [
        f"{REPORTED[name].epochs} − {REPORTED[name].best_epoch} = {waits[name]}" for name in short
    ]
    return Contradiction(
        title="How long patience lasted",
        says=f"Every model is trained with a patience of {PATIENCE} epochs.",
        arithmetic=f"The epochs run past the best one are {PATIENCE} for {len(waits) - len(short)}"
        f" of {len(waits)} models, but for {names_of(short)} they are {join(gaps)}: the very models"
        " that are suspected of having been stopped too early.",
        where="Sections 3.2 and 5.4, Tables 1 and 2",
    )


def _final_epoch() -> Contradiction:
    earlier = [row.epochs - row.best_epoch for row in REPORTED.values()]
    return Contradiction(
        title="Which epoch Table 1 shows",
        says="The caption of Table 1 takes its accuracies from the final epoch before stopping.",
        arithmetic=f"The epoch E printed with them lies {min(earlier)} to {max(earlier)} epochs"
        f" before the last one run in {sum(gap > 0 for gap in earlier)} of {len(earlier)} models."
        " E is the best epoch; the final one comes after the patience.",
        where="Tables 1 and 2",
    )


def _transitions() -> Contradiction:
    low, high = implied_parameters("densenet_tiny")
    counts = [f"{densenet_parameters(number):,} with {number}" for number in (2, 3)]
    return Contradiction(
        title="The transitions of DenseNet-Tiny",
        says="Each of three dense blocks is followed by a transition; the diagram draws none after"
        " the last block, so two.",
        arithmetic=f"Table 2 allows {low:,} to {high:,} parameters; the layers add up to"
        f" {join(counts)} transitions. The diagram is right.",
        where="Section 3.3.3, Table 2",
    )


def _per_parameter() -> Contradiction:
    order = efficiency_ranking()
    return Contradiction(
        title="The most efficient per parameter",
        says="Normalised by parameters, ResNet-Mini and Custom CNN are called the most efficient.",
        arithmetic="By train time per parameter they come"
        f" {ordinal(order, 'resnet_mini')} and {ordinal(order, 'baseline_cnn')} of {len(order)}:"
        f" the order is {names_of(order)}. The measure rewards size: first are the models with"
        f" {join(REPORTED[name].parameters_text for name in order[:2])} parameters.",
        where="Table 2 with its caption, sections 4 and 5.3",
    )


def _slow_inference() -> Contradiction:
    order = ranking(lambda row: row.inference_ms.mean, descending=True)
    vit, dense = REPORTED["vit_tiny"].inference_ms.mean, REPORTED["densenet_tiny"].inference_ms.mean
    return Contradiction(
        title="Which models are slow at inference",
        says="MobileNet-Lite and DenseNet-Tiny are named as the slowest at inference too, and"
        " ViT-Tiny's inference as only moderately slow.",
        arithmetic=f"ViT-Tiny needs {vit:,.0f} ms, {_percent(vit / dense - 1)} more than"
        f" DenseNet-Tiny with {dense:,.0f} ms; from the slowest on the order is {names_of(order)}.",
        where="Table 2, sections 4 and 5.3",
    )


def _stable_times() -> Contradiction:
    def spread(model: str) -> str:
        return _percent(_relative_spread(REPORTED[model]))

    order = ranking(_relative_spread, descending=True)
    most, least = order[0], order[-1]
    return Contradiction(
        title="Whose times are stable",
        says="ResNet-Mini and Custom CNN are said to have low and stable times per epoch.",
        arithmetic=f"Relative to its mean, {name_of(most)} has the largest spread of all"
        f" ({spread(most)}) and {name_of(least)} the smallest ({spread(least)}); ResNet-Mini's"
        f" ({spread('resnet_mini')}) comes {ordinal(order, 'resnet_mini')} of {len(order)}.",
        where="Table 2, Figure 2, section 4",
    )


def _regularised() -> Contradiction:
    vit, lenet = REPORTED["vit_tiny"].accuracy_gap, REPORTED["lenet5"].accuracy_gap
    order = ranking(lambda row: row.accuracy_gap, descending=True)
    return Contradiction(
        title="ViT-Tiny, regularised too much or too little",
        says="ViT-Tiny is suspected of being over-regularised, LeNet-5 of overfitting.",
        arithmetic=f"ViT-Tiny's gap between train and test accuracy is {vit:.2f} points, LeNet-5's"
        f" {lenet:.2f}: they rank {ordinal(order, 'vit_tiny')} and {ordinal(order, 'lenet5')} of"
        f" {len(order)}, {lenet - vit:.2f} points apart. What is overfitting in one is so in both.",
        where="Table 1, sections 5.2 and 5.4",
    )


def _validation() -> Contradiction:
    images = 70_000  # section 1
    return Contradiction(
        title="A validation loss without a validation set",
        says="The discussion explains an early stop with noise in the validation loss.",
        arithmetic=f"Of {images:,} images {TRAIN_IMAGES:,} train and {TEST_IMAGES:,} test, which"
        f" leaves {images - TRAIN_IMAGES - TEST_IMAGES} for validation. The loss that is watched is"
        " the test loss, so the test set chooses the epoch it then judges.",
        where="Sections 3.1, 3.2 and 5.4",
    )


def _mobilenet_pace() -> Contradiction:
    last, before = ranking(lambda row: row.best_epoch, descending=True)[:2]
    return Contradiction(
        title="The pace of MobileNet-Lite",
        says="Its accuracy is described as rising fast early on, and elsewhere as climbing smoothly"
        " and gradually.",
        arithmetic=f"The latest best epoch is that of {name_of(last)}: {REPORTED[last].best_epoch},"
        f" {REPORTED[last].best_epoch - REPORTED[before].best_epoch} epochs after the next,"
        f" {name_of(before)}'s, at {REPORTED[before].best_epoch}.",
        where="Table 1, Figure 1, sections 4 and 5.4",
    )


def _convergence() -> Contradiction:
    low, high = 20, 30  # section 4
    by_best = [name for name, row in REPORTED.items() if low <= row.best_epoch <= high]
    by_epochs = [name for name, row in REPORTED.items() if low <= row.epochs <= high]
    return Contradiction(
        title="When most models converge",
        says=f"Most models are said to converge within {low} to {high} epochs.",
        arithmetic=f"By the best epoch {len(by_best)} of {len(REPORTED)} do ({names_of(by_best)}),"
        f" by the epochs run {len(by_epochs)} ({names_of(by_epochs)}); neither is more than half.",
        where="Tables 1 and 2, section 4",
    )


def _layers_as_blocks() -> Contradiction:
    # He et al., "Deep residual learning", Table 1: blocks a stage, convolutions a block
    originals = {34: ((3, 4, 6, 3), 2), 101: ((3, 4, 23, 3), 3)}
    counts = [
        f"ResNet-{depth} has {sum(stages)} blocks ({sum(stages)} × {convolutions} convolutions +"
        f" stem + classifier = {sum(stages) * convolutions + 2} layers)"
        for depth, (stages, convolutions) in originals.items()
    ]
    return Contradiction(
        title="Layers taken for blocks",
        says=f"The appendix gives the original ResNet {join(originals, 'to')} residual blocks.",
        arithmetic=f"Those are numbers of layers: {join(counts)}.",
        where="Appendix",
    )


_CONTRADICTIONS: tuple[Callable[[], Contradiction], ...] = (
    _time_per_parameter,
    _best_accuracy,
    _resnet_width,
    _patience,
    _final_epoch,
    _transitions,
    _per_parameter,
    _slow_inference,
    _stable_times,
    _regularised,
    _validation,
    _mobilenet_pace,
    _convergence,
    _layers_as_blocks,
)


def _relative_spread(row: ReportedModel) -> float:
    return row.train_seconds.std / row.train_seconds.mean


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
