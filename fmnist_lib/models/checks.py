"""Early checks of a model's options, each refusing with one sentence a person can act on.

Options may come from JSON, so lists stand for tuples and a number's type is looked at, not assumed.
"""

from collections.abc import Sequence
from typing import get_args


class OptionError(ValueError):
    """A model name or option that cannot be used; the message is one sentence for the user."""


def require(condition: bool, sentence: str) -> None:
    """Raise `OptionError` with this sentence unless the condition holds."""
    if not condition:
        raise OptionError(sentence)


def check_option(name: str, value: object, kind: object) -> None:
    """Raise `OptionError` unless a value is of the kind that its option is annotated with.

    A whole number starts at 1, and any other number is the share of activations set to zero.
    """
    if kind is bool:
        require(isinstance(value, bool), f"{name} must be true or false, not {value!r}")
    elif kind is int:
        fits = type(value) is int and value >= 1  # to isinstance, True is 1
        require(fits, f"{name} must be a whole number of at least 1, not {value!r}")
    elif kind is float:
        fits = type(value) in (int, float) and 0 <= value < 1
        require(fits, f"{name} must be at least 0 and below 1, not {value!r}")
    elif kind == Sequence[int]:
        fits = isinstance(value, list | tuple)
        require(fits, f"{name} must be a list of whole numbers, not {value!r}")
        for number in value:
            check_option(f"each of {name}", number, int)
    else:
        words = get_args(kind)
        require(value in words, f"{name} must be one of {', '.join(words)}, not {value!r}")


def check_length(name: str, values: Sequence[int], fewest: int, most: int) -> None:
    """Raise `OptionError` unless so many values are given."""
    fits = fewest <= len(values) <= most
    require(fits, f"the length of {name} must be {fewest} to {most}, not {len(values)}")
