"""`fold`: a formula in another algebra: code, bytecode, text, intervals.

In: a formula, and what numbers, symbols and operators mean.  Out: the value that they make of it.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from headrace.ir.dims.expr import Atom, Dim, Monomial

T = TypeVar("T")


class Algebra(Protocol[T]):
    """What `fold` computes with."""

    def constant(self, value: int) -> T: ...
    def symbol(self, name: str) -> T: ...
    def add(self, parts: list[T]) -> T: ...
    def mul(self, parts: list[T]) -> T: ...
    def floordiv(self, left: T, right: T) -> T: ...
    def mod(self, left: T, right: T) -> T: ...
    def minimum(self, parts: list[T]) -> T: ...
    def maximum(self, parts: list[T]) -> T: ...


def fold(dim: Dim, algebra: Algebra[T]) -> T:
    """The value of a formula in another algebra: code, bytecode, intervals."""
    terms = [_fold_term(m, c, algebra) for m, c in dim.terms]
    if not terms:
        return algebra.constant(0)
    return terms[0] if len(terms) == 1 else algebra.add(terms)


def _fold_term(monomial: Monomial, factor: int, algebra: Algebra[T]) -> T:
    parts: list[T] = []
    for atom, power in monomial:
        parts += [_fold_atom(atom, algebra)] * power
    if factor != 1 or not parts:
        parts.append(algebra.constant(factor))
    return parts[0] if len(parts) == 1 else algebra.mul(parts)


def _fold_atom(atom: Atom, algebra: Algebra[T]) -> T:
    if isinstance(atom, str):
        return algebra.symbol(atom)
    parts = [fold(a, algebra) for a in atom.arguments]
    match atom.kind:
        case "floordiv":
            return algebra.floordiv(parts[0], parts[1])
        case "mod":
            return algebra.mod(parts[0], parts[1])
        case "min":
            return algebra.minimum(parts)
        case _:
            return algebra.maximum(parts)
