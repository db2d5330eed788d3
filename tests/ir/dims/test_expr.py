"""Formulas: the canonical form means what the expression means, and its text gives it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ir.dims import Dim, as_dim, ceildiv, dim_max, dim_min, fold, parse_dim
from headrace.ir.errors import DimError

SYMBOLS = ("a", "b", "n")


@dataclass(frozen=True)
class Built:
    """A formula, and the naive evaluation of the expression it was built by."""

    dim: Dim
    naive: Callable[[dict[str, int]], int]


def leaf() -> st.SearchStrategy[Built]:
    numbers = st.integers(-7, 9).map(lambda v: Built(Dim.constant(v), lambda _: v))
    symbols = st.sampled_from(SYMBOLS).map(lambda s: Built(Dim.symbol(s), lambda env: env[s]))
    return st.one_of(numbers, symbols, symbols)


def grown(parts: st.SearchStrategy[Built]) -> st.SearchStrategy[Built]:
    def two(make: Callable[[Any, Any], Any], meaning: Callable[[int, int], int]) -> st.SearchStrategy[Built]:
        return st.tuples(parts, parts).map(
            lambda p: Built(make(p[0].dim, p[1].dim), lambda env: meaning(p[0].naive(env), p[1].naive(env)))
        )

    def divided(make: Callable[[Any, int], Any], meaning: Callable[[int, int], int]) -> st.SearchStrategy[Built]:
        return st.tuples(parts, st.integers(1, 12)).map(
            lambda p: Built(make(p[0].dim, p[1]), lambda env: meaning(p[0].naive(env), p[1]))
        )

    return st.one_of(
        two(lambda x, y: x + y, lambda x, y: x + y),
        two(lambda x, y: x - y, lambda x, y: x - y),
        two(lambda x, y: x * y, lambda x, y: x * y),
        two(dim_min, min),
        two(dim_max, max),
        divided(lambda x, c: x // c, lambda x, c: x // c),
        divided(lambda x, c: x % c, lambda x, c: x % c),
        divided(ceildiv, lambda x, c: -(-x // c)),
    )


BUILT = st.recursive(leaf(), grown, max_leaves=8)
VALUES = st.fixed_dictionaries({s: st.integers(0, 50) for s in SYMBOLS})


@given(BUILT, VALUES)
def test_canonical_form_means_the_same(built: Built, values: dict[str, int]) -> None:
    assert built.dim.evaluate(values) == built.naive(values)


@given(BUILT)
def test_text_gives_it_back(built: Built) -> None:
    assert parse_dim(str(built.dim)) == built.dim
    assert hash(parse_dim(str(built.dim))) == hash(built.dim)


@given(BUILT, BUILT, VALUES)
def test_substitution(built: Built, replacement: Built, values: dict[str, int]) -> None:
    replaced = built.dim.substitute({"a": replacement.dim})
    assert replaced.evaluate(values) == built.naive({**values, "a": replacement.naive(values)})


@given(BUILT, VALUES)
def test_linear_parts_add_up(built: Built, values: dict[str, int]) -> None:
    split = built.dim.linear("a")
    if split is not None:
        factor, rest = split
        assert "a" not in factor.symbols
        assert "a" not in rest.symbols
        assert factor * Dim.symbol("a") + rest == built.dim


class Numbers:
    """The algebra of plain integers."""

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values

    def constant(self, value: int) -> int:
        return value

    def symbol(self, name: str) -> int:
        return self.values[name]

    def add(self, parts: list[int]) -> int:
        return sum(parts)

    def mul(self, parts: list[int]) -> int:
        total = 1
        for part in parts:
            total *= part
        return total

    def floordiv(self, left: int, right: int) -> int:
        return left // right

    def mod(self, left: int, right: int) -> int:
        return left % right

    def minimum(self, parts: list[int]) -> int:
        return min(parts)

    def maximum(self, parts: list[int]) -> int:
        return max(parts)


@given(BUILT, VALUES)
def test_fold_visits_everything(built: Built, values: dict[str, int]) -> None:
    assert fold(built.dim, Numbers(values)) == built.naive(values)


RULES = {
    "(i*6 + j) floordiv 6": "i + j floordiv 6",
    "(i*6 + j) mod 6": "j mod 6",
    "(i*4 + 2) floordiv 6": "(i*2 + 1) floordiv 3",
    "(x floordiv 4) floordiv 2": "x floordiv 8",
    "(x mod 12) mod 6": "x mod 6",
    "(i*4 + 1) mod 6": "((i*2) mod 3)*2 + 1",
    "min(a + 1, a, b)": "min(a, b)",
    "max(a, max(b, a))": "max(a, b)",
    "a*b - b*a": "0",
    "x floordiv 1": "x",
    "x mod 1": "0",
    "(n*m) floordiv m": "n",
    "-7 floordiv 2": "-4",
    "-7 mod 3": "2",
}


@pytest.mark.parametrize(("text", "expected"), RULES.items())
def test_rules(text: str, expected: str) -> None:
    assert parse_dim(text) == parse_dim(expected)
    assert str(parse_dim(text)) == str(parse_dim(expected))


def test_arrays_broadcast() -> None:
    dim = parse_dim("min(i*3 + j, 7) floordiv 2")
    i, j = np.arange(4)[:, None], np.arange(3)[None, :]
    np.testing.assert_array_equal(dim.evaluate({"i": i, "j": j}), np.minimum(i * 3 + j, 7) // 2)


WRONG = {
    "": "formula '', column 1: found the end, expected a number",
    "a +": "formula 'a +', column 4: found the end",
    "a b": "formula 'a b', column 3: found 'b', expected the end or an operator",
    "a ? b": "formula 'a ? b', column 3: unexpected '?'",
    "min(a": "formula 'min(a', column 6: found the end, expected ')'",
    "a floordiv 0": "division by 0; expected a positive divisor",
    "a mod -2": "division by -2; expected a positive divisor",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(DimError) as caught:
        parse_dim(text)
    assert str(caught.value).startswith(message)


def test_missing_symbol_and_zero_divisor() -> None:
    with pytest.raises(DimError, match="no value for symbol 'b'"):
        parse_dim("a + b").evaluate({"a": 1})
    with pytest.raises(DimError, match="division by zero"):
        (Dim.symbol("a") // Dim.symbol("b")).evaluate({"a": 1, "b": 0})
    with pytest.raises(DimError, match="is no constant"):
        _ = as_dim("a").value
    with pytest.raises(DimError, match="symbol '1a'"):
        Dim.symbol("1a")


@pytest.mark.parametrize("name", ["lambda", "global", "floordivs", "modulus", "minimum", "_min", "_x", "v"])
def test_symbols_called_as_words_of_python_or_of_formulas(name: str) -> None:
    formula = parse_dim(f"min({name}*2 + 7, v_1) floordiv 3 + max({name}, 4) mod 5 + v")
    assert formula.evaluate({name: 2, "v": 2, "v_1": 100}) == 3 + 4 + 2
