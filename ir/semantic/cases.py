"""What to run a function on: values of its dim symbols, and random inputs.

In: a function.  Out: few small cases that reach its tails, inputs seeded by its name, and what a run would cost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from headrace.ir.access import REDUCTIONS, SEQUENTIAL, Axis
from headrace.ir.core import Operation, OpResult, Value, producer, walk
from headrace.ir.dims import Dim, Facts, constant_quotients
from headrace.ir.errors import DimError
from headrace.ir.graph.families import Reducing, tensor
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.kernel.ops.control import For, Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import Let
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Load
from headrace.ir.kernel.ops.structured import Map, Structured
from headrace.ir.module import Function, Module
from headrace.ir.program.ops.program import Launch, ProgramFunc
from headrace.ir.types import BufferType, TensorType, Type, lanes_of

Array = np.ndarray[Any, Any]
Case = tuple[tuple[str, int], ...]  # symbol and value, by name

WIDEST_TILE = 64  # constant extents above this are dims of the model, not of a tile

Order = Literal["", "rising", "falling"]
ORDERS: tuple[Order, ...] = ("rising", "falling")
FAR = 50.0  # exp of two or three times that is no number of f32


@dataclass(frozen=True, slots=True)
class Draw:
    """From where inputs are drawn."""

    positive: bool  # floats > 0, for logarithms and roots
    small: bool  # integers 0 and 1 only, which are legal as indices of most graphs; those of kernels are always legal
    order: Order = ""  # of floats: then the ends of an axis decide a maximum; falling ones are far from 0, too


# Tried in turn until a result says something.
DRAWS = (Draw(False, False), Draw(False, True), Draw(True, True))


# ---- sizes -----------------------------------------------------------------------------------------------------


def kernel_cases(before: KernelFunc, after: KernelFunc) -> list[Case]:
    """All symbols 1; one less than the narrowest tile; one more than the widest, no two symbols alike; then a whole
    tile and a remainder with all its pieces along each divided extent, one at a time."""
    extents = sorted(set(_tile_extents(before)) | set(_tile_extents(after)))
    sizes = [[1], [extents[0] - 1 if extents and extents[0] > 2 else 2], [extents[-1] + 1 if extents else 3]]
    symbols = sorted(after.scalars)
    wanted = [dict.fromkeys(symbols, s[0]) for s in sizes[:2]]
    wanted.append({s: sizes[2][0] + 2 * i for i, s in enumerate(symbols)})
    for symbol, by in dict.fromkeys(_divided(after)):
        if symbol in symbols:
            wanted.append({s: 2 * by - 1 if s == symbol else 1 for s in symbols})
    legal = [_meeting(before, dict(case)) for case in _legal(before.known, wanted)]
    return [case for case in dict.fromkeys(legal) if case is not None and _has_sizes(before, dict(case))]


def _meeting(function: KernelFunc, values: dict[str, int]) -> Case | None:
    """The case, if need be with 0 for one symbol, in which what the kernel requires holds."""
    for changed in (values, *({**values, s: 0} for f in function.requires for s in f.symbols)):
        if all(f.evaluate(changed) >= 0 for f in function.requires):
            return tuple(sorted(changed.items()))
    return None


def unbound(function: Function) -> Mapping[str, int]:
    """Symbols of a function that others call that no input's type mentions, with a value."""
    if not isinstance(function, GraphFunc) or not function.private:
        return {}
    bound = {s for p in _inputs(function) for d in _dims(p.type) for s in d.symbols}
    return {s: 1 for s in function.known.symbols if s not in bound}


def entry_cases(function: Function) -> list[Case]:
    """All symbols of the inputs 2; then small odd numbers, no two alike."""
    symbols = sorted({s for p in _inputs(function) for d in _dims(p.type) for s in d.symbols})
    cases = _legal(function.known, [dict.fromkeys(symbols, 2), {s: 3 + 2 * i for i, s in enumerate(symbols)}])
    return [case for case in cases if _has_sizes(function, dict(case))]


def _has_sizes(function: Function, values: Mapping[str, int]) -> bool:
    """Whether no buffer that the caller gives would have a size below 0: fewer elements than a window's, say."""
    dims = [d for p in function.parameters for d in _dims(p.type) if all(s in values for s in d.symbols)]
    return all(d.evaluate(values) >= 0 for d in dims)


def _legal(facts: Facts, wanted: Iterable[Mapping[str, int]]) -> list[Case]:
    """The nearest values that the facts allow, each case once."""
    found: dict[Case, None] = {}
    for values in wanted:
        try:
            found[tuple(sorted(facts.smallest(values, values).items()))] = None
        except DimError:
            continue
    return list(found)


def _tile_extents(function: KernelFunc) -> Iterator[int]:
    for operation in function.walk():
        for axis in _axes(operation):
            if axis.extent.is_constant and 1 < axis.extent.value <= WIDEST_TILE:
                yield axis.extent.value


def _divided(function: KernelFunc) -> Iterator[tuple[str, int]]:
    """The numbers that extents are divided by, each with a symbol that decides the extent."""
    for operation in function.walk():
        for axis in _axes(operation):
            for quotient in constant_quotients(axis.extent):
                by = quotient.arguments[1].value
                if 2 < by <= WIDEST_TILE and quotient.arguments[0].symbols:
                    yield quotient.arguments[0].symbols[0], by


def _axes(operation: Operation) -> tuple[Axis, ...]:
    return operation.axes if isinstance(operation, For | Parallel | Structured | Mma) else ()


# ---- inputs ----------------------------------------------------------------------------------------------------


def inputs_for(function: Function, case: Case, draw: Draw) -> list[Array]:
    """An array for each input."""
    values = dict(case)
    rng = np.random.default_rng(zlib.crc32(f"{function.function_name} {case}".encode()))
    inputs = [_random(rng, p.type, values, draw) for p in _inputs(function)]
    if isinstance(function, KernelFunc):
        for buffer, extent in _looked_up(function):
            if buffer in function.inputs:
                _fold_into(inputs[function.inputs.index(buffer)], max(int(extent.evaluate(values)), 1))
    return inputs


def _looked_up(function: KernelFunc) -> Iterator[tuple[Value, Dim]]:
    """The buffers that hold indices, and the extents that these must lie in."""
    for map in walk(function, Map):
        yield from ((access.value, axis.extent) for access, axis in zip(map.lookups, map.found, strict=True))
    for let in walk(function, Let):
        pending = [let.index]
        while pending:
            source = pending.pop()
            load = producer(source, Load)
            if load is not None:
                yield load.source.value, let.axis.extent
            elif isinstance(source, OpResult):
                pending += source.operation.operands


def _fold_into(indices: Array, extent: int) -> None:
    """Makes numbers legal as indices, those below 0 from the end."""
    indices[...] = np.where(indices < 0, -1 - (-1 - indices) % extent, indices % extent)


def _random(rng: np.random.Generator, kind: Type, values: Mapping[str, int], draw: Draw) -> Array:
    assert isinstance(kind, TensorType | BufferType)
    shape = [int(d.evaluate(values)) for d in kind.dims]
    if kind.dtype.is_float:
        numbers = rng.standard_normal(shape)
        if draw.order:
            numbers = np.sort(numbers, axis=None).reshape(shape)
        if draw.order == "falling":
            numbers = FAR * numbers.reshape(-1)[::-1].reshape(shape)
        return (np.abs(numbers) + 0.01 if draw.positive else numbers).astype(kind.dtype.numpy)
    if draw.small or kind.dtype.kind == "bool":
        return rng.integers(0, 2, shape).astype(kind.dtype.numpy)
    return rng.integers(-100 if kind.dtype.kind == "int" else 0, 101, shape).astype(kind.dtype.numpy)


def _inputs(function: Function) -> Sequence[Any]:
    return function.inputs if isinstance(function, KernelFunc | ProgramFunc) else function.parameters


def _dims(kind: Type) -> tuple[Any, ...]:
    assert isinstance(kind, TensorType | BufferType)
    return kind.dims


# ---- cost ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """`work`: elements that operations compute; `steps`: how many array operations the interpreter runs."""

    work: int
    steps: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.work + other.work, self.steps + other.steps)


NOTHING = Cost(0, 0)


def kernel_cost(function: KernelFunc, symbols: Mapping[str, int]) -> Cost:
    """About what a whole run costs."""
    return _cost(function, dict(symbols))


def _cost(operation: Operation, env: dict[str, int]) -> Cost:
    lanes = sequence = 1
    if isinstance(operation, Let):  # a number that data decide: the largest one
        env[operation.axis.name] = max(int(operation.axis.extent.evaluate(env)) - 1, 0)
    for axis in _axes(operation):
        extent = max(int(axis.extent.evaluate(env)), 0)
        env[axis.name] = 0
        if axis.kind in (*REDUCTIONS, *SEQUENTIAL) or isinstance(operation, For):
            sequence *= extent
        else:
            lanes *= extent
    inner = sum((_cost(o, env) for r in operation.regions for o in r.block.operations), start=NOTHING)
    own = max((lanes_of(r.type) for r in operation.results), default=1)
    return Cost((inner.work + own) * lanes * sequence, (inner.steps + 1) * sequence)


def entry_work(module: Module, function: Function, case: Case) -> int:
    """About how many multiplications and the like a run of a graph or program takes."""
    if isinstance(function, GraphFunc):
        return sum(_graph_work(o, dict(case)) for o in function.walk())
    launched = [o for o in function.walk() if isinstance(o, Launch)]
    total = 0
    for launch in launched:
        kernel = module.function(launch.kernel.name)
        if isinstance(kernel, KernelFunc):
            total += kernel_cost(kernel, _scalars(kernel, launch, dict(case))).work
    return total


def _scalars(kernel: KernelFunc, launch: Launch, env: Mapping[str, int]) -> dict[str, int]:
    """The scalars' values; 1 for what depends on data."""
    pairs = zip(kernel.scalars, launch.scalars, strict=True)
    return {s: int(d.evaluate(env)) if all(n in env for n in d.symbols) else 1 for s, d in pairs}


def _graph_work(operation: Operation, env: Mapping[str, int]) -> int:
    if not operation.results or not isinstance(operation.results[0].type, TensorType):
        return 0
    dims = [*tensor(operation.results[0]).dims]
    if isinstance(operation, Reducing):
        dims += [extent for _, extent in operation.reduction_axes()]
    return prod(int(d.evaluate(env)) if all(s in env for s in d.symbols) else 1 for d in dims)
