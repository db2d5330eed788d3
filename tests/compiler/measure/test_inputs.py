"""Inputs to measure with: what is given, what is made, what is refused."""

import numpy as np
import pytest

from headrace.compiler.measure.inputs import inputs_for
from headrace.ir.errors import OptionError
from headrace.runtime.python import Port

PORTS = (
    Port("ids", np.dtype(np.int64), ("batch", "seq")),
    Port("mask", np.dtype(np.float32), ("batch", 1, "seq + 1")),
    Port("on", np.dtype(np.bool_), ()),
)


def test_one_shape_decides_the_symbols_of_all() -> None:
    made = inputs_for(PORTS, {"ids": [2, 5]}, {})
    assert {name: (array.dtype, array.shape) for name, array in made.items()} == {
        "ids": (np.dtype(np.int64), (2, 5)),
        "mask": (np.dtype(np.float32), (2, 1, 6)),
        "on": (np.dtype(np.bool_), ()),
    }
    assert set(np.unique(made["ids"])) <= {0, 1}
    again = inputs_for(PORTS, {"ids": [2, 5]}, {})
    assert all(np.array_equal(made[name], again[name]) for name in made)


def test_arrays_are_taken_as_they_are_and_decide_symbols_too() -> None:
    ids = np.full((3, 4), 7)
    made = inputs_for(PORTS, {}, {"ids": ids})
    assert made["ids"] is ids
    assert made["mask"].shape == (3, 1, 5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "input 'ids' is of shape batch,seq; give it as --shape ids=NUMBER,..."),
        ({"id": [1, 2]}, "no input 'id'; did you mean 'ids'?; expected one of ids, mask, on"),
        ({"ids": [1, "n"]}, "--shape ids: 'n' is no number"),
        ({"ids": [1]}, "input 'ids': 1 dims, expected 2"),
        ({"ids": [1, 2], "mask": [2, 1, 3]}, "input 'mask': batch is 2, elsewhere 1"),
        ({"mask": [2, 3, 3]}, "input 'mask': a dim is 3, expected 1"),
    ],
)
def test_what_does_not_fit_is_named(shapes: dict[str, list[int | str]], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        inputs_for(PORTS, shapes, {})
    assert str(caught.value) == message
