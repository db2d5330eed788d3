"""Facts: what they decide is so for every value that they allow, and what they do not know stays unknown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.ir.dims import NOMINAL, Dim, Facts, as_dim, ceildiv, parse_dim
from headrace.ir.errors import DimError

FORMULAS = st.sampled_from(
    [
        "a", "b", "a + b", "a - b", "a*b", "a*3 - 2", "5 - a", "a floordiv 3", "(a + 2) floordiv 4*4", "a mod 5",
        "min(a, b)", "max(a, 4)", "min(a, b) - max(a, b)", "a*2 - b*3 + 1", "a*a - a", "(a*4 + b) floordiv 4",
    ]
)  # fmt: skip


@given(FORMULAS, FORMULAS, st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_answers_hold_for_all_values(left: str, right: str, low: int, wide: int, high: int) -> None:
    facts = Facts()
    facts.restrict("a", low, low + wide)
    facts.restrict("b", None, high)
    x, y = parse_dim(left), parse_dim(right)
    values = [{"a": a, "b": b} for a, b in itertools.product(range(low, low + wide + 1), range(high + 1))]
    pairs = [(x.evaluate(v), y.evaluate(v)) for v in values]
    for answer, holds in (
        (facts.less_equal(x, y), [p <= q for p, q in pairs]),
        (facts.less(x, y), [p < q for p, q in pairs]),
        (facts.equal(x, y), [p == q for p, q in pairs]),
    ):
        assert answer is None or holds == [answer] * len(holds)
    least, most = facts.interval(x)
    assert least is None or all(least <= p for p, _ in pairs)
    assert most is None or all(p <= most for p, _ in pairs)
    simple = facts.simplify(x)
    assert [simple.evaluate(v) for v in values] == [p for p, _ in pairs]


@given(FORMULAS, st.integers(1, 6), st.integers(0, 12))
def test_divides(text: str, number: int, high: int) -> None:
    facts = Facts()
    facts.divisible_by("a", 3)
    answer = facts.divides(number, parse_dim(text))
    values = [{"a": 3 * a, "b": b} for a in range(high) for b in range(high)]
    found = [parse_dim(text).evaluate(v) % number == 0 for v in values]
    assert answer is None or found == [answer] * len(found)


def test_tiles_are_inside() -> None:
    """The questions that tiling asks: a whole tile of a partition, and of one whose last tile is not full."""
    m = Dim.symbol("m")
    whole = Facts().with_symbol("i", 0, m // 6).with_symbol("u", 0, 6)
    assert whole.less(as_dim("i*6 + u"), m) is True
    partial = Facts().with_symbol("i", 0, ceildiv(m, 6)).with_symbol("u", 0, 6)
    assert partial.less(as_dim("i*6 + u"), m) is None
    assert partial.less_equal(0, m - 1 - as_dim("i*6")) is True
    panels = Facts().with_symbol("j", 0, 12).with_symbol("q", 0, 4).with_symbol("v", 0, 16)
    assert panels.simplify(as_dim("(j*64 + q*16 + v) floordiv 64")) == as_dim("j")
    assert panels.simplify(as_dim("(j*64 + q*16 + v) mod 64")) == as_dim("q*16 + v")


QUOTIENTS = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(1, 40), st.integers(0, 15), st.integers(2, 16)), min_size=5, max_size=9
)


@given(QUOTIENTS, st.integers(-4, 4), st.integers(0, 5), st.sampled_from([1, 3]))
def test_sums_of_many_quotients(parts: list[tuple[int, int, int, int]], slope: int, low: int, divisor: int) -> None:
    facts = Facts()
    facts.restrict("n", low)
    facts.divisible_by("n", divisor)
    n = Dim.symbol("n")
    total = n * slope
    for factor, times, more, by in parts:
        total = total + (n * times + more) // by * factor
    if facts.less_equal(0, total) is True:
        assert all(total.evaluate({"n": v}) >= 0 for v in range(low, 300) if v % divisor == 0)


def test_buffers_of_many_aligned_parts() -> None:
    """What the memory planner asks of a batch of odd images: no search could replace one quotient after the other."""
    n = Dim.symbol("n")
    sizes = [ceildiv(n * k, by) * 64 for k in (149, 171, 203, 299, 427, 685, 717) for by in (2, 4, 8, 16)]
    total = sum(sizes[1:], start=Dim.constant(0))
    assert Facts().less_equal(sizes[0], total) is True
    assert Facts().less_equal(total, sizes[0]) is None


def test_unknown_stays_unknown() -> None:
    facts = Facts()
    assert facts.equal(as_dim("a"), as_dim("b")) is None
    assert facts.less(as_dim("a"), as_dim("b")) is None
    assert facts.divides(2, as_dim("a")) is None
    assert facts.interval(as_dim("a - b")) == (None, None)


def test_equalities_are_used() -> None:
    facts = Facts()
    facts.equate(as_dim("a"), as_dim("b*2"))
    assert facts.equal(as_dim("a - b"), as_dim("b")) is True
    assert facts.divides(2, as_dim("a")) is True
    assert facts.smallest(["a", "b"], {"b": 3}) == {"a": 6, "b": 3}


def test_contradictions() -> None:
    facts = Facts()
    facts.restrict("a", 1, 4)
    with pytest.raises(DimError, match="a would have to be at least 7 and at most 4"):
        facts.restrict("a", 7, None)
    with pytest.raises(DimError, match="cannot be equal"):
        facts.equate(as_dim("a"), 9)


def test_text() -> None:
    facts = Facts()
    facts.restrict("a", 1, 64)
    facts.restrict("b", None, 7)
    facts.divisible_by("a", 8)
    facts.equate(as_dim("c"), as_dim("a*2 + 1"))
    assert facts.lines() == ("a in [1, 64]", "b in [0, 7]", "a mod 8 == 0", "c == a*2 + 1")
    assert Facts.parse(facts.lines()).lines() == facts.lines()
    assert [str(f) for f in facts.formulas(["d"])] == [
        "a - 1", "-a + 64", "b", "-b + 7", "d", "-(a mod 8)", "-a*2 + c - 1", "a*2 - c + 1",
    ]  # fmt: skip
    with pytest.raises(DimError, match="fact 'a < 3': expected"):
        Facts.parse(["a < 3"])


def test_smallest_respects_everything() -> None:
    facts = Facts.parse(["a in [5, 40]", "a mod 8 == 0"])
    assert facts.smallest(["a", "n"], {"n": 3}) == {"a": 8, "n": 3}
    with pytest.raises(DimError, match="no multiple of 8 for a in"):
        Facts.parse(["a in [9, 15]", "a mod 8 == 0"]).smallest(["a"])


def test_nominal_values_are_legal_ones() -> None:
    facts = Facts.parse(["n in [20, 40]", "h mod 6 == 0", "t == n + 1"])
    n, h, t, free = (Dim.symbol(s) for s in ("n", "h", "t", "free"))
    assert [facts.nominal(d) for d in (n, h, t, free * 3, Dim.constant(7))] == [20, 18, 21, 48, 7]
    assert facts.nominal(h // (free - 16)) == NOMINAL
