"""Ranks of results that depend on how many integers an input holds, where that is no number.

In: a node.  Out: the rank as the model declares it, in its outputs or in the shapes of intermediate values: a hint,
from which follows how many integers there must be; that there are is for the program to check.
"""

from __future__ import annotations

from headrace.ir.dims import Dim
from headrace.ir.graph.importing import OnnxNode


def result_rank(node: OnnxNode, rank: int, more: Dim, number: int = 1) -> int:
    """Rank of a result with `more` dims than `rank`, as input `number` has it.

    Raises what `node.unsupported` gives where nothing says it.
    """
    found = rank + more.value if more.is_constant else node.declared_rank(0)
    if found is None:
        kind = node.tensor(number)
        raise node.unsupported(f"input {number} is {kind}: the rank of the result is data, and nothing declares it")
    if found < 0:
        raise node.fail(f"takes {-more} dims of {node.tensor(0)}")
    return found
