"""ONNX TfIdfVectorizer of integers: how often each n-gram of a pool is found in a row, with up to so many skips.

    count[g] = sum over skips s, places t of (x[t + k (s + 1)] = pool[g][k] for all k)

All n-grams of one length are compared at once.  A count belongs to the output that `ngram_indexes` says, maybe capped
at 1 and weighted (mode IDF), or weighted only (TFIDF).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.families import Array
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.formulas import Formulas
from headrace.ir.graph.ops.logic import And
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.types import F32

MOST_WEIGHTS = 1 << 26  # in the table of n-grams by places of the output


@onnx_import("TfIdfVectorizer", since=9)
def _tf_idf(node: OnnxNode) -> Sequence[Value]:
    x, mode = Term(node, node.operand(0)), str(node.attribute("mode", "TF"))
    if not node.attribute("pool_int64s", ()):
        raise node.unsupported("the pool holds strings, expected integers")
    if x.rank not in (1, 2) or mode not in ("TF", "IDF", "TFIDF"):
        raise node.fail(f"mode is {mode!r} for {x.type}, expected TF, IDF or TFIDF for rank 1 or 2")
    indexes: tuple[int, ...] = node.attribute("ngram_indexes", ())
    pools = _pools(node, len(indexes))
    shortest, longest = int(node.attribute("min_gram_length", 1)), int(node.attribute("max_gram_length", 1))
    if len(indexes) * (max(indexes, default=0) + 1) > MOST_WEIGHTS:
        raise node.unsupported(f"{len(indexes)} n-grams with indexes up to {max(indexes)}: its table is too large")
    rows = x if x.rank == 2 else x.reshape(ONE, x.dims[0])
    placed, counts, first = np.zeros((0, max(indexes) + 1), np.float32), [], 0
    weights = np.asarray(node.attribute("weights", ()) or (1.0,) * len(indexes), np.float32)
    for length, pool in enumerate(pools, 1):
        own = range(first, first + len(pool))
        first += len(pool)
        if not len(pool) or not shortest <= length <= longest:
            continue
        skips = range(1 if length == 1 else int(node.attribute("max_skip_count", 0)) + 1)
        found = [_counted(node, rows, pool, skip + 1) for skip in skips]
        counts.append(sum(found[1:], start=found[0]).value)
        to = np.zeros((len(pool), placed.shape[1]), np.float32)
        to[np.arange(len(pool)), [indexes[g] for g in own]] = 1.0 if mode == "TF" else weights[own.start : own.stop]
        placed = np.concatenate([placed, to])
    if not counts:
        raise node.fail(f"no n-gram of the pool has {shortest} to {longest} elements")
    count = x.of(Concat(tuple(counts), 1)) if len(counts) > 1 else Term(node, counts[0])
    y = (count.at_most(1.0) if mode == "IDF" else count) @ count.constant(placed)
    return [(y if x.rank == 2 else y.reshape(y.dims[1])).value]


def _pools(node: OnnxNode, grams: int) -> list[Array]:
    """The n-grams of 1, 2, ... elements, each a row."""
    starts: tuple[int, ...] = node.attribute("ngram_counts", ())
    pool = np.asarray(node.attribute("pool_int64s", ()), np.int64)
    ends, found = (*starts[1:], len(pool)), []
    for length, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        if not 0 <= start <= end <= len(pool) or (end - start) % length:
            raise node.fail(f"ngram_counts are {list(starts)} for a pool of {len(pool)}: {length}-grams do not fit")
        found.append(pool[start:end].reshape(-1, length))
    if sum(len(p) for p in found) != grams or not grams:
        raise node.fail(f"{grams} ngram_indexes for {sum(len(p) for p in found)} n-grams, expected one for each")
    return found


def _counted(node: OnnxNode, rows: Term, pool: Array, step: int) -> Term:
    """How often each n-gram is there, its elements `step` apart: [rows, n-grams]."""
    batch, size = rows.dims
    reach = (pool.shape[1] - 1) * step
    padded = rows.of(Pad(rows.value, (ZERO, ZERO), (ZERO, Dim.constant(reach)))) if reach else rows
    end = rows.of(Formulas((size - reach,), ()))
    all_equal = rows.indices(size).compare("lt", end).reshape(1, size, 1)
    for k in range(pool.shape[1]):
        window = Term(node, sliced(node, padded.value, 1, Dim.constant(k * step), size))
        equal = window.reshape(batch, size, 1).compare("eq", rows.constant(pool[:, k]))
        all_equal = rows.of(And(all_equal.value, equal.value))
    return all_equal.cast(F32).reduce("sum", [1], False)
