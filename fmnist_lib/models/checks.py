"""Early checks of a model's options, each refusing with one sentence a person can act on.

Options may come from JSON, so lists stand for tuples and a number's type is looked at, not assumed.
"""

from collections.abc import Iterable, Sequence


class OptionError(ValueError):
    """A model name or option that cannot be used; the message is one sentence for the user."""


def require(condition: bool, sentence: str) -> None:
    """Raise `OptionError` with this sentence unless the condition holds."""
    if not condition:
        raise OptionError(sentence)


def whole_number(name: str, value: int) -> None:
    """Refuse what is no integer of at least 1."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(fits, f"{name} must be a whole number of at least 1, not {value!r}")


def whole_numbers(
    name: str, values: Sequence[int], *, fewest: int = 1, most: int | None = None
) -> tuple[int, ...]:
    """Return the values as a tuple if each is an integer of at least 1 and their number fits."""
    is_list = isinstance(values, list | tuple)
    require(is_list, f"{name} must be a list of whole numbers, not {values!r}")
    for value in values:
        whole_number(f"each of {name}", value)
    limits = f"at least {fewest}" if most is None else f"{fewest} to {most}"
    fits = fewest <= len(values) and (most is None or len(values) <= most)
    require(fits, f"the length of {name} must be {limits}, not {len(values)}")
    return tuple(values)


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse what is not among the allowed words."""
    require(value in list(allowed), f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def switch(name: str, value: bool) -> None:
    """Refuse what is no boolean: 0, 1 and words, too."""
    require(isinstance(value, bool), f"{name} must be true or false, not {value!r}")


def dropout_rate(value: float) -> float:
    """Return the value if it is a number in [0, 1): the share of activations set to zero."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    require(is_number and 0 <= value < 1, f"dropout must be at least 0 and below 1, not {value!r}")
    return float(value)
