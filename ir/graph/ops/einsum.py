"""graph.diagonal: elements whose indices along some dims are equal; ONNX Einsum, by this, sums, and matrix products.

    %y = graph.diagonal %x {axes = [0, 2]} : f32[n, 3]             // y[i, j] = x[i, j, i]

An equation is worked off from the left: an operand's repeated letters become one by a diagonal, letters that nothing
else mentions are summed, and two operands become one by a matrix product, whose batch are the letters that stay, and
whose rows and columns are those that one of both has.  The letters of an ellipsis are digits, counted from the right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.graph.compose import Term
from headrace.ir.graph.families import Array, DimCheck, Index, Movement, Sampler, must_be_equal, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.sampling import pick
from headrace.ir.types import F32, TensorType, Type


@op("graph.diagonal")
class Diagonal(Movement):
    """The elements of x with one index along all `axes`; it stands where the first of them does."""

    x: Value
    axes: tuple[int, ...]

    def infer(self) -> Sequence[Type]:
        x = tensor(self.x)
        if len(self.axes) < 2 or list(self.axes) != sorted(set(self.axes) & set(range(x.rank))):
            raise self.fail(f"axes are {list(self.axes)} for {x}, expected two or more, ascending")
        for check in self.checks():
            if check.formula.is_constant and check.formula.value < 0:
                raise self.fail(check.message)
        return [x.with_dims(tuple(d for a, d in enumerate(x.dims) if a not in self.axes[1:]))]

    def checks(self) -> Sequence[DimCheck]:
        first, *others = (tensor(self.x).dims[a] for a in self.axes)
        return [c for d in others for c in must_be_equal(first, d, f"a diagonal of the dims {first} and {d}")]

    def source(self, index: Index) -> Index:
        left = list(index)
        same = left[self.axes[0]]
        for axis in self.axes[1:]:
            left.insert(axis, same)
        return tuple(left)

    def reference(self, *operands: Array) -> Array:
        x = operands[0]
        letters = [self.axes[0] if a in self.axes else a for a in range(x.ndim)]
        return np.array(np.einsum(x, letters, [a for a in range(x.ndim) if a not in self.axes[1:]]))

    @classmethod
    def sample(cls, sampler: Sampler) -> Diagonal:
        dims = list(sampler.dims(pick(sampler, 2, 4)))
        axes = sorted(int(a) for a in sampler.rng.permutation(len(dims))[: pick(sampler, 2, len(dims))])
        for axis in axes:
            dims[axis] = dims[axes[0]]
        return cls(sampler.tensor(TensorType(F32, tuple(dims))), tuple(axes))


@dataclass
class _Labelled:
    """A value and a letter for each of its dims, all different."""

    x: Term
    letters: list[str]

    def summed(self, kept: set[str]) -> _Labelled:
        """Without the letters that nobody asks for."""
        axes = [i for i, letter in enumerate(self.letters) if letter not in kept]
        return _Labelled(self.x.reduce("sum", axes, False), [c for c in self.letters if c in kept])

    def dims_of(self, letters: Sequence[str]) -> list[Dim]:
        return [self.x.dims[self.letters.index(c)] for c in letters]

    def ordered(self, letters: Sequence[str]) -> _Labelled:
        """Its dims in the order of these letters; those that it lacks become dims of 1."""
        own = [c for c in letters if c in self.letters]
        x = self.x.transpose(*(self.letters.index(c) for c in own))
        known = dict(zip(own, x.dims, strict=True))
        return _Labelled(x.reshape(*(known.get(c, ONE) for c in letters)), list(letters))


@onnx_import("Einsum", since=12)
def _einsum(node: OnnxNode) -> Sequence[Value]:
    left, right = _parsed(node, str(node.attribute("equation", "")))
    operands = [_diagonal(Term(node, node.operand(i)), letters) for i, letters in enumerate(left)]
    found = operands[0]
    for number, other in enumerate(operands[1:], 1):
        later = {c for o in operands[number + 1 :] for c in o.letters} | set(right)
        found = _product(found.summed(later | set(other.letters)), other.summed(later | set(found.letters)), later)
    return [found.summed(set(right)).ordered(right).x.value]


def _product(a: _Labelled, b: _Labelled, later: set[str]) -> _Labelled:
    """Two operands as one: [batch, rows, shared] @ [batch, shared, columns]."""
    both = [c for c in a.letters if c in b.letters]
    batch = [c for c in both if c in later or ONE in a.dims_of([c]) + b.dims_of([c])]
    shared = [c for c in both if c not in batch]
    rows, columns = ([c for c in o.letters if c not in both] for o in (a, b))
    first, second = a.ordered([*batch, *rows, *shared]), b.ordered([*batch, *shared, *columns])
    inner, m, n = (prod(o.dims_of(c), start=ONE) for o, c in ((a, shared), (a, rows), (b, columns)))
    x = first.x.reshape(*first.x.dims[: len(batch)], m, inner) @ second.x.reshape(
        *second.x.dims[: len(batch)], inner, n
    )
    found = x.reshape(*x.dims[: len(batch)], *a.dims_of(rows), *b.dims_of(columns))
    return _Labelled(found, [*batch, *rows, *columns])


def _diagonal(x: Term, letters: list[str]) -> _Labelled:
    """An operand with each of its letters once."""
    for letter in dict.fromkeys(letters):
        axes = [i for i, c in enumerate(letters) if c == letter]
        if len(axes) > 1:
            x = x.of(Diagonal(x.value, tuple(axes)))
            letters = [c for i, c in enumerate(letters) if i not in axes[1:]]
    return _Labelled(x, letters)


def _parsed(node: OnnxNode, equation: str) -> tuple[list[list[str]], list[str]]:
    """The letters of each operand's dims and of the result's; digits stand for those of an ellipsis."""
    text = re.sub(r"\s", "", equation)
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", text) or len(terms) != node.input_count:
        raise node.fail(f"equation is {equation!r}, expected letters for {node.input_count} inputs")
    left = [_letters(node, term, node.tensor(i).rank) for i, term in enumerate(terms)]
    hidden = sorted({c for letters in left for c in letters if c.isdigit()}, reverse=True)
    plain = [c for letters in left for c in letters if c.isalpha()]
    if not arrow:
        return left, [*hidden, *sorted(c for c in set(plain) if plain.count(c) == 1)]
    head, dots, tail = output.partition("...")
    right = [*head, *(hidden if dots else ""), *tail]
    unknown = [c for c in right if c not in (*plain, *hidden)]
    if unknown or len(set(right)) < len(right):
        raise node.fail(f"equation is {equation!r}: its result has letters that are twice there or in no operand")
    return left, right


def _letters(node: OnnxNode, term: str, rank: int) -> list[str]:
    head, dots, tail = term.partition("...")
    count = rank - len(head) - len(tail)
    if "." in head + tail or count < 0 or (count and not dots):
        raise node.fail(f"{term!r} does not describe an input of rank {rank}")
    return [*head, *(str(i) for i in reversed(range(count))), *tail]
