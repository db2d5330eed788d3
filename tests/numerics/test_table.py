"""docs/numerics.md's table of errors: no operation is off by more than it says, and none is missing."""

from __future__ import annotations

import pytest
from numerics_page import PAGE, SHORT, TYPES, elementwise_errors, other_errors, targets, written

from headrace.ir.types import DType

KNOWN = {"graph.pow", "graph.pow_int", "graph.layer_norm"}  # docs/numerics.md says why
SLACK = 0.005  # the reference functions of another C library


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_elementwise(dtype: DType) -> None:
    bounds = written(PAGE.read_text())
    found = dict(elementwise_errors(dtype, targets()[-1], SHORT))
    assert len(found) > 30
    missing = [n for n in found if (n, str(dtype)) not in bounds]
    assert not missing, "run python tests/support/numerics_page.py"
    assert {n: e for n, e in found.items() if e > bounds[n, str(dtype)] + SLACK} == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_sums_and_what_is_made_of_them(dtype: DType) -> None:
    """One instance of each; the table is made from more."""
    bounds = written(PAGE.read_text())
    found = dict(other_errors(dtype, targets()[-1], seeds=1))
    assert len(found) > 8
    assert {n: e for n, e in found.items() if e > bounds[n, str(dtype)] + SLACK} == {}


def test_no_other_is_far_off() -> None:
    """Asinh and Acosh were log(2x) from 1e4 on also in f64, where that is off by a million ulp."""
    far = {name for (name, _), error in written(PAGE.read_text()).items() if error > 4}
    assert far <= KNOWN
