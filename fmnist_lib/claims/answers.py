"""Yes, no, or unknown: answers put together, and drawn from effects whose chance is known."""

from collections.abc import Iterable, Sequence

from fmnist_lib.results.statistics import ALPHA, Estimate, holm

Answer = bool | None  # None is unknown


def all_of(answers: Iterable[Answer]) -> Answer:
    """No if any is no, else unknown if any is unknown, else yes."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


def any_of(answers: Iterable[Answer]) -> Answer:
    """Yes if any is yes, else unknown if any is unknown, else no."""
    return opposite(all_of(map(opposite, answers)))


def agreed(answers: Iterable[Answer]) -> Answer:
    """The answer on which all agree, else unknown."""
    different = set(answers)
    return different.pop() if len(different) == 1 else None


def opposite(answer: Answer) -> Answer:
    """Yes for no, no for yes; unknown stays."""
    return None if answer is None else not answer


def above(
    effects: Sequence[Estimate], margin: float, *, one_makes: bool = False, one_breaks: bool = False
) -> list[Answer]:
    """Whether each of several effects is above the margin.

    Yes: it differs from zero (two-sided p below 0.05), and the estimate is above the margin. No: it
    is shown to fall short (one-sided p below 0.05), as an equivalent one does. Holm corrects the
    yes if one of them makes the claim, the no if one of them breaks it. What one run of each tells
    without any measure of chance, epochs say, is taken as it is; closer than the margin it decides
    nothing.
    """
    if all(e.seeds == 1 and not e.error for e in effects):
        return [e.effect > 0 if e.effect and abs(e.effect) >= margin else None for e in effects]
    differs, short = [e.p_differs() for e in effects], [e.p_below(margin) for e in effects]
    differs, short = holm(differs) if one_makes else differs, holm(short) if one_breaks else short
    return [
        True if e.effect > margin and p_differs < ALPHA else False if p_short < ALPHA else None
        for e, p_differs, p_short in zip(effects, differs, short, strict=True)
    ]
