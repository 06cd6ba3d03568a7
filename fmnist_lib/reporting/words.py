"""Small pieces of sentences that are computed: lists, places, names of models."""

from collections.abc import Iterable, Sequence

from fmnist_lib.reporting.paper import REPORTED


def name_of(model: str) -> str:
    """A model's name in prose; a model that the paper does not have keeps its own."""
    return REPORTED[model].name if model in REPORTED else model


def names_of(models: Iterable[str]) -> str:
    """The names of models, as a list in prose."""
    return join(name_of(model) for model in models)


def join(items: Iterable[object], word: str = "and") -> str:
    """`a, b and c`; `none` when there is nothing to list."""
    *most, last = [str(item) for item in items] or ["none"]
    return f"{', '.join(most)} {word} {last}" if most else last


def within(sentence: str) -> str:
    """A sentence as it stands within another: its first letter small, unless it begins a name."""
    if sentence.startswith(tuple(name_of(model) for model in REPORTED)):
        return sentence
    return sentence[:1].lower() + sentence[1:]


def ordinal(order: Sequence[str], model: str) -> str:
    """The place of a model in an order, such as `3rd`."""
    place = order.index(model) + 1
    suffix = "th" if 10 < place % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{suffix}"
