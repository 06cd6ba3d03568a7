"""Numbers that know what they rest on, through arithmetic and frames; the catalogue."""

import operator
from math import isnan

import numpy as np
import pytest

from fmnist_lib.results.columns import COLUMNS, column, heading
from fmnist_lib.results.value import Value, reported, setting

A = Value(6.0, ("a", "both"), std=1, low=5, high=7, parts={"seed 0": 5.5, "seed 1": 6.5})
B = Value(-4.0, "both", "b")


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
@pytest.mark.parametrize("other", [B, 2, 0.5, True, np.float64(3)])
def test_arithmetic_is_floats_and_joins_the_sources(name, other):
    operation = getattr(operator, name)
    found = operation(A, other)
    assert found == operation(6.0, float(other))
    assert found.sources == ("a", "both", *(["b"] if other is B else []))
    assert isnan(found.std)
    assert not found.parts
    if type(other) in (int, float):
        found = operation(other, A)
        assert (found, found.sources) == (operation(other, 6.0), ("a", "both"))


def test_what_python_does_with_numbers_keeps_the_sources():
    assert sum([A, B]).sources == ("a", "both", "b")
    assert [abs(B), -B, round(B), round(A / 7, 2)] == [4, 4, -4, 0.86]
    assert {each.sources for each in (abs(B), -B, round(B), round(B, 2))} == {("both", "b")}
    assert max(A, B) is A
    assert f"{A:.1f}" == "6.0"
    assert A.__add__("text") is NotImplemented


def test_numbers_rest_on_all_that_they_are_of():
    assert Value(2, A, [B, ["x"]], "y", 7).sources == ("a", "both", "b", "x", "y")
    assert (reported(3, 1).sources, reported(3, 1).std) == (("paper",), 1)
    assert setting(0.3).sources == ("settings",)


def test_a_scaled_number_keeps_its_spread():
    found = A.scaled(Value(10, "model:x"))
    assert (found, found.std, found.interval) == (60, 10, (50, 70))
    assert found.parts == {"seed 0": 55, "seed 1": 65}
    assert found.sources == ("a", "both", "model:x")


def test_the_catalogue_describes_each_column_and_its_relatives():
    for described in COLUMNS.values():
        assert described.heading
        assert described.meaning
        assert format(1.5, described.format) or not described.format
    assert heading("test_accuracy") == "Test accuracy (%)"
    assert column("test_accuracy_long_std").unit == "%"
    assert "`train_seconds`" in column("train_seconds_paper").meaning
    with pytest.raises(KeyError):
        column("no_such_std")
