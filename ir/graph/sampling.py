"""Operands for the random instances of operations.  In: a `Sampler`.  Out: operations' operands.

Used by the `sample` methods of the declarations, hence by the property tests of every operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from headrace.ir.core import Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Sampler
from headrace.ir.types import F32, DType, TensorType

G = TypeVar("G", bound=Operation)


def build(cls: type[G], *values: Any, **named: Any) -> G:
    """An instance of a class that is known by its base alone."""
    make: Callable[..., G] = cls
    return make(*values, **named)


def chance(sampler: Sampler, probability: float) -> bool:
    return bool(sampler.rng.random() < probability)


def pick(sampler: Sampler, low: int, high: int) -> int:
    """A number from low to high, both included."""
    return int(sampler.rng.integers(low, high + 1))


def some(sampler: Sampler, dtype: DType = F32, low: float = -2.0, high: float = 2.0) -> Value:
    """An operand of rank 0 to 4."""
    return sampler.tensor(TensorType(dtype, sampler.dims(pick(sampler, 0, 4))), low, high)


def along_axis(sampler: Sampler) -> tuple[TensorType, int, int]:
    """A type of rank 1 to 3, one of its axes, and its extent, which is a number."""
    rank = pick(sampler, 1, 3)
    axis, size = pick(sampler, 0, rank - 1), pick(sampler, 1, 4)
    dims = sampler.dims(rank)
    return TensorType(F32, (*dims[:axis], Dim.constant(size), *dims[axis + 1 :])), axis, size


def broadcast_shapes(sampler: Sampler, count: int) -> list[tuple[Dim, ...]]:
    """Shapes that broadcast against each other: leading dims left out, some dims 1."""
    whole = sampler.dims(pick(sampler, 0, 4))
    shapes = [whole]
    for _ in range(count - 1):
        kept = whole[pick(sampler, 0, len(whole)) :]
        shapes.append(tuple(Dim.constant(1) if chance(sampler, 0.3) else d for d in kept))
    order = sampler.rng.permutation(count)
    return [shapes[i] for i in order]


def broadcast_operands(sampler: Sampler, count: int, dtype: DType = F32, low: float = -2.0) -> Sequence[Value]:
    """Operands that broadcast against each other."""
    return [sampler.tensor(TensorType(dtype, dims), low) for dims in broadcast_shapes(sampler, count)]
