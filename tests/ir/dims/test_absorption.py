"""max(min(a, b), b) = b: what one extreme absorbs of the other."""

from __future__ import annotations

import itertools

import pytest

from headrace.ir.dims import as_dim


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("max(min(n, 8), n)", "n"),
        ("min(max(n, m), m, 4)", "min(m, 4)"),
        ("max(min(n, m), min(n, 3), m)", "max(min(n, 3), m)"),
        ("max(min(n, m) + 1, m)", "max(min(n, m) + 1, m)"),
    ],
)
def test_absorbed(text: str, simple: str) -> None:
    assert as_dim(text) == as_dim(simple)
    assert str(as_dim(text)) == str(as_dim(str(as_dim(text))))
    for n, m in itertools.product(range(6), repeat=2):
        expected = eval(text, {"n": n, "m": m, "min": min, "max": max})
        assert as_dim(text).evaluate({"n": n, "m": m}) == expected
