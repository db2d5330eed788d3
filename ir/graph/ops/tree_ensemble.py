"""ONNX ai.onnx.ml.TreeEnsemble: decision trees, all of them walked down at once.

Inner nodes and leaves are rows of one table, of which a leaf points to itself.  Each row of x has a place in each tree,
first the root; a step looks the place's feature up, compares it, and goes on to one of the two rows that the table has.
After as many steps as the deepest tree has levels all places are leaves, whose weights are added up by target.
A test for membership in a set becomes a chain of tests for equality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.core import Value
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.activations import Sigmoid
from headrace.ir.graph.ops.classify import IsNaN
from headrace.ir.graph.ops.formulas import Range
from headrace.ir.graph.ops.gather import Gather, GatherElements
from headrace.ir.graph.ops.logic import And, Or
from headrace.ir.graph.ops.softmax import Softmax
from headrace.ir.kernel.ops.scalar import Predicate
from headrace.ir.types import I64

MODES: tuple[Predicate, ...] = ("le", "lt", "ge", "gt", "eq", "ne")
EQUAL, MEMBER = 4, 6
MOST_LEVELS = 64


@dataclass
class _Row:
    """An inner node; its branches are rows, or leaves as -1 - their number."""

    feature: int
    mode: int
    split: float
    yes: int
    no: int
    nan_is_yes: bool


@onnx_import("TreeEnsemble", since=5, domain="ai.onnx.ml")
def _tree_ensemble(node: OnnxNode) -> Sequence[Value]:
    x = Term(node, node.operand(0))
    weights, targets = np.asarray(_given(node, "leaf_weights")), np.asarray(_given(node, "leaf_targetids"), np.int64)
    roots, count = list(_given(node, "tree_roots")), int(node.attribute("n_targets", 1))
    rows = _rows(node)
    if x.rank != 2 or len(weights) != len(targets) or not ((targets >= 0) & (targets < count)).all():
        raise node.fail(f"{len(weights)} weights for {len(targets)} leaves of {count} targets and {x.type}")
    levels = _levels(node, rows, roots, len(weights))
    inner = len(rows)

    def column(values: Any) -> Term:
        return Term(node, node.add_constant(np.asarray(values)))

    def place(branch: int) -> int:
        return branch if branch >= 0 else inner - 1 - branch

    leaves = list(range(inner, inner + len(weights)))
    none = [0] * len(weights)
    features = column([r.feature for r in rows] + none)
    splits = column(np.array([r.split for r in rows] + none, x.dtype.numpy))
    modes = column([r.mode for r in rows] + none)
    yes, no = column([place(r.yes) for r in rows] + leaves), column([place(r.no) for r in rows] + leaves)
    lost = column([r.nan_is_yes for r in rows] + [False] * len(weights))

    at = column(np.array([roots], np.int64)).expand(x.dims[0], len(roots))
    for _ in range(levels):
        value = x.of(GatherElements(x.value, _looked_up(features, at).value, 1))
        holds = _compared(value, _looked_up(splits, at), _looked_up(modes, at), sorted({r.mode for r in rows}))
        if any(r.nan_is_yes for r in rows):
            nan = x.of(IsNaN(value.value))
            holds = x.of(Or(holds.value, node.add(And(nan.value, _looked_up(lost, at).value))))
        at = holds.where(_looked_up(yes, at), _looked_up(no, at))
    leaf = at - inner
    weight = _looked_up(x.constant(weights), leaf).reshape(x.dims[0], len(roots), 1)
    all_targets = Term(node, node.add(Range(ZERO, ONE, Dim.constant(count), I64)))
    hit = _looked_up(column(targets), leaf).reshape(x.dims[0], len(roots), 1).compare("eq", all_targets)
    return [_transformed(node, _aggregated(node, hit, weight, len(roots))).value]


def _given(node: OnnxNode, name: str) -> Any:
    found: Any = node.attribute(name, None)
    if found is None:
        raise node.fail(f"attribute {name!r} is missing")
    return found


def _rows(node: OnnxNode) -> list[_Row]:
    names = ("featureids", "modes", "splits", "truenodeids", "trueleafs", "falsenodeids", "falseleafs")
    columns = [list(_given(node, f"nodes_{n}")) for n in names]
    columns.append(list(node.attribute("nodes_missing_value_tracks_true", (0,) * len(columns[0]))))
    if len({len(c) for c in columns}) > 1:
        raise node.fail(f"attributes nodes_* have {[len(c) for c in columns]} elements, expected as many each")
    rows = [
        _Row(int(f), int(m), float(s), -1 - int(y) if y_leaf else int(y), -1 - int(n) if n_leaf else int(n), bool(t))
        for f, m, s, y, y_leaf, n, n_leaf, t in zip(*columns, strict=True)
    ]
    if not all(0 <= r.mode <= MEMBER for r in rows):
        raise node.fail(f"nodes_modes are {sorted({r.mode for r in rows})}, expected 0 to {MEMBER}")
    _write_out_sets(node, rows)
    return rows


def _write_out_sets(node: OnnxNode, rows: list[_Row]) -> None:
    """A node that tests for membership becomes one that tests for the first member, and new ones for the others."""
    members = np.asarray(node.attribute("membership_values", ()), np.float64)
    ends = np.flatnonzero(np.isnan(members))
    sets = [s[~np.isnan(s)].tolist() for s in np.split(members, ends)]
    for row in [r for r in rows if r.mode == MEMBER]:
        if not sets or not sets[0]:
            raise node.fail("membership_values have no set, or an empty one, for a node that tests for one")
        first, *others = sets.pop(0)
        row.mode, row.split, last = EQUAL, first, row
        for member in others:
            rows.append(_Row(row.feature, EQUAL, member, row.yes, last.no, row.nan_is_yes))
            last.no, last = len(rows) - 1, rows[-1]


def _levels(node: OnnxNode, rows: list[_Row], roots: list[int], leaves: int) -> int:
    """How many steps it takes from a root to the farthest leaf."""
    level, count = {int(r) for r in roots}, 0
    while level:
        count += 1
        if not all(-leaves <= n < len(rows) for n in level):
            raise node.fail(f"a branch leads to none of the {len(rows)} nodes and {leaves} leaves")
        if count > MOST_LEVELS + 1:
            raise node.unsupported(f"a tree has more than {MOST_LEVELS} levels, or leads back to a node of its own")
        level = {b for n in level if n >= 0 for b in (rows[n].yes, rows[n].no)}
    return count - 1


def _looked_up(column: Term, at: Term) -> Term:
    return at.of(Gather(column.value, at.value, 0))


def _compared(value: Term, split: Term, mode: Term, modes: Sequence[int]) -> Term:
    found = value.compare(MODES[modes[0]], split)
    for other in modes[1:]:
        found = mode.compare("eq", other).where(value.compare(MODES[other], split), found)
    return found


def _aggregated(node: OnnxNode, hit: Term, weight: Term, trees: int) -> Term:
    """[rows, trees, targets] to [rows, targets]; 0 for a target that no tree has reached."""
    how = int(node.attribute("aggregate_function", 1))
    if how in (0, 1):
        total = hit.where(weight, weight.like(0.0)).reduce("sum", [1], False)
        return total / float(trees) if how == 0 else total
    if how not in (2, 3):
        raise node.fail(f"aggregate_function is {how}, expected 0 to 3")
    neutral = weight.like(np.inf if how == 2 else -np.inf)
    reached = hit.cast(I64).reduce("max", [1], False).compare("eq", 1)
    return reached.where(hit.where(weight, neutral).reduce("min" if how == 2 else "max", [1], False), weight.like(0.0))


def _transformed(node: OnnxNode, y: Term) -> Term:
    how = int(node.attribute("post_transform", 0))
    if how not in (0, 1, 2):
        raise node.unsupported(f"post_transform is {how}, expected 0 (none), 1 (softmax) or 2 (logistic)")
    return y if how == 0 else y.of(Softmax(y.value, (1,))) if how == 1 else y.of(Sigmoid(y.value))
