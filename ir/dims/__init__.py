"""Dims: the one language of integers in the compiler.

Tensor dims, buffer extents, loop bounds, index formulas and byte offsets are all `Dim`s: polynomials over symbols
with floordiv, mod, min and max, in a canonical form.  `Facts` holds what is known about the symbols and answers
yes, no or unknown.
"""

from headrace.ir.dims.algebra import Algebra, fold
from headrace.ir.dims.expr import Dim, DimLike, ceildiv, dim_max, dim_min
from headrace.ir.dims.facts import NOMINAL, Facts, constant_quotients
from headrace.ir.dims.parse import as_dim, parse_dim

__all__ = [
    "NOMINAL",
    "Algebra",
    "Dim",
    "DimLike",
    "Facts",
    "as_dim",
    "ceildiv",
    "constant_quotients",
    "dim_max",
    "dim_min",
    "fold",
    "parse_dim",
]
