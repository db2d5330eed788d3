"""Dims of arrays to values of dim symbols.  In: types and shapes that belong together.  Out: a number a symbol.

Raises ExecutionError where a shape contradicts its type: that is how the interpreters see an error of shape
inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import ExecutionError
from headrace.ir.types import BufferType, TensorType, Type

Shaped = tuple[str, Type, Sequence[int]]  # what it is called in messages, its type, the shape of its array


def bind(where: str, shaped: Sequence[Shaped], facts: Facts, given: Mapping[str, int]) -> dict[str, int]:
    """The symbols of the types: those given, those that a shape decides, those that the facts equate with these."""
    values = {s: int(n) for s, n in given.items()}
    pending = [(d, int(n)) for _, kind, shape in shaped for d, n in zip(dims_of(kind), shape, strict=False)]
    while True:
        found = [*_solved(pending, values), *_equated(facts, pending, values)]
        if not found:
            break
        for symbol, number in found:
            values.setdefault(symbol, number)  # the first shape decides; any other is checked below
    for name, kind, shape in shaped:
        check_shape(f"{where}: {name}", kind, shape, values)
    return values


def _solved(dims: Iterable[tuple[Dim, int]], values: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Symbols that are the only unknown of a dim, and enter it linearly."""
    for dim, number in dims:
        unknown = [s for s in dim.symbols if s not in values]
        split = dim.linear(unknown[0]) if len(unknown) == 1 else None
        if split is None:
            continue
        factor, rest = (int(part.evaluate(values)) for part in split)
        if factor and (number - rest) % factor == 0:
            yield unknown[0], (number - rest) // factor


def _equated(facts: Facts, dims: Iterable[tuple[Dim, int]], values: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    """Symbols that the facts express by known ones."""
    for name in dict.fromkeys([*facts.symbols, *(s for d, _ in dims for s in d.symbols)]):
        if name in values:
            continue
        formula = facts.simplify(Dim.symbol(name))
        if all(s in values for s in formula.symbols):
            yield name, int(formula.evaluate(values))


def dims_of(kind: Type) -> tuple[Dim, ...]:
    assert isinstance(kind, TensorType | BufferType), kind
    return kind.dims


def check_shape(where: str, kind: Type, shape: Sequence[int], values: Mapping[str, int]) -> None:
    """Raises ExecutionError unless the dims of the type, for these values, are the shape."""
    expected = tuple(int(d.evaluate(values)) for d in dims_of(kind))
    if expected != tuple(shape):
        known = ", ".join(f"{s} = {values[s]}" for s in sorted({s for d in dims_of(kind) for s in d.symbols}))
        raise ExecutionError(f"{where} has shape {list(shape)}, expected {kind}{f' with {known}' if known else ''}")
