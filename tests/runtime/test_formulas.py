"""Formulas of sizes: the runtime computes what the compiler means, and says so where they lead nowhere."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codegen.artefact.model import Artefact, Port, Program, Segment, Signature, Variant
from headrace.codegen.artefact.writer import write
from headrace.ir.dims import Dim, as_dim, dim_max, dim_min
from headrace.ir.errors import DimError
from headrace.ir.types import DTYPES
from headrace.runtime import python as hr


def _formulas(leaves: Any) -> Any:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
            st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
            st.tuples(inner, inner).map(lambda p: dim_min(*p)),
            st.tuples(inner, inner).map(lambda p: dim_max(*p)),
            st.tuples(inner, st.integers(1, 9)).map(lambda p: p[0] // p[1]),
            st.tuples(inner, inner).map(lambda p: p[0] % dim_max(1, p[1])),
        ),
        max_leaves=12,
    )


FORMULAS = _formulas(st.one_of(st.sampled_from([Dim.symbol("n"), Dim.symbol("m")]), st.integers(-9, 9).map(as_dim)))


@given(formula=FORMULAS, n=st.integers(0, 40), m=st.integers(0, 40))
def test_formulas_mean_the_same_in_c_and_in_python(
    formula: Any, n: Any, m: Any, blob: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The arena's size is the formula, made positive: what memory_needed says is what Dim.evaluate says."""
    path = tmp_path_factory.getbasetemp() / "formula.hrm"
    arena = dim_max(formula, -1 * formula)
    signature = Signature((Port("x", DTYPES["u8"], (as_dim("n"), as_dim("m"))),), ())
    program = Program((Segment(arena=arena),))
    write(Artefact(signature, (Variant("x86-64", "x86-64", (), program, (), blob.image),)), path)
    session = hr.load(path, threads=1)
    try:
        expected = arena.evaluate({"n": n, "m": m})
    except DimError:
        return
    if abs(expected) < 2**40:
        assert session.memory_needed({"x": (n, m)}) == expected


@pytest.mark.parametrize(
    ("formula", "shape", "message"),
    [
        ("n*n*n", 2**31, r"the shapes lead to 4611686018427387904 \* 2147483648, which does not fit 64 bits"),
        ("8 floordiv (n - 3)", 3, r"the shapes lead to 8 / 0, which is no number"),
        ("8 mod (n - 3)", 1, r"the shapes lead to 8 mod -2, which is no number"),
        ("n - 5", 2, r"the arena would be -3 bytes"),
    ],
)
def test_formulas_that_lead_nowhere(formula: Any, shape: Any, message: Any, maker: Any) -> None:
    signature = Signature((Port("x", DTYPES["u8"], (as_dim("n"),)),), ())
    session = hr.load(maker.write(maker.artefact(signature, (Segment(arena=as_dim(formula)),), ())))
    with pytest.raises(hr.HeadraceRuntimeError, match=rf"m\.hrm: {message}$"):
        session.memory_needed({"x": (shape,)})
