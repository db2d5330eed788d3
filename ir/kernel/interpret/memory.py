"""Buffers of a kernel under interpretation: their content, and what is known of each element.

A buffer has one *instance* for each lane of the levels that own it: one in all for global memory, one for each
point of the grid for shared memory, one for each lane for stack and registers.  Instances lie one behind the
other in a flat array.  An element is undefined, written, or the target of an asynchronous copy under way; in planned
memory another buffer may have overwritten it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from headrace.ir.kernel.interpret.lanes import Array, Lanes
from headrace.ir.kernel.interpret.shadow import Shadow
from headrace.ir.types import BufferType

UNDEFINED, WRITTEN, PENDING, OVERWRITTEN = 0, 1, 2, 3  # overwritten: by another buffer in the same memory


class Spot(NamedTuple):
    """Regularly spaced elements: an array of `shape` whose element 0 is `base`, with strides in elements."""

    shape: tuple[int, ...]
    base: int
    strides: tuple[int, ...]


class Buffer:
    """One allocation, all its instances."""

    __slots__ = (
        "bytes", "complete", "depth", "dims", "dtype", "instance_strides", "name", "offsets", "pending", "shadow",
        "state", "storage", "strides", "writable",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        dims: tuple[int, ...],
        strides: tuple[int, ...],
        storage: Array,
        state: Array,
        *,
        instances: tuple[int, ...],
        depth: int,
        writable: bool = True,
    ) -> None:
        self.name = name
        self.dims = dims
        self.strides = strides
        self.storage = storage
        self.bytes = storage.view(np.uint8)
        self.dtype: np.dtype[Any] = storage.dtype
        self.state = state
        self.complete = bool((state == WRITTEN).all())  # every element is written, none pending
        self.pending = 0  # copies under way into it
        self.depth = depth  # levels that own an instance each
        self.writable = writable
        self.shadow: Shadow | None = None
        span = len(storage) // prod(instances) if storage.size else 0
        strides_of = [0] * len(instances)
        step = span
        for position in reversed(range(len(instances))):
            if instances[position] > 1:
                strides_of[position] = step
                step *= instances[position]
        self.instance_strides = tuple(strides_of)
        self.offsets: Array | int = 0
        for position, stride in enumerate(strides_of):
            if stride:
                shape = [1] * len(instances)
                shape[position] = instances[position]
                self.offsets = self.offsets + (np.arange(instances[position]) * stride).reshape(shape)

    def at(self, spot: Spot) -> Array:
        """The elements at a spot: a view."""
        size = self.dtype.itemsize
        strides = [s * size for s in spot.strides]
        return np.ndarray(spot.shape, self.dtype, self.bytes, spot.base * size, strides)

    def state_at(self, spot: Spot) -> Array:
        """Their states: a view."""
        return np.ndarray(spot.shape, np.uint8, self.state, spot.base, spot.strides)

    def is_written(self, spot: Spot) -> bool:
        """Whether all elements of a spot are; looks at the whole buffer too, so that it need not look again."""
        if self.complete:
            return True
        if not (self.state_at(spot) == WRITTEN).all():
            return False
        self.complete = self.pending == 0 and bool((self.state == WRITTEN).all())
        return True

    def shared_by(self, lanes: Lanes) -> bool:
        """Whether lanes that run now share an instance, so that the order of accesses matters."""
        return self.writable and lanes.depth > self.depth

    def watched(self, levels: int) -> Shadow:
        """The shadow memory."""
        if self.shadow is None:
            self.shadow = Shadow(len(self.storage), levels)
        return self.shadow


def dense(dims: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = [1] * len(dims)
    for place in range(len(dims) - 2, -1, -1):
        strides[place] = strides[place + 1] * dims[place + 1]
    return tuple(strides)


def layout(kind: BufferType, symbols: dict[str, int]) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(dims, strides, elements spanned) of a buffer type for given symbols."""
    dims = tuple(int(d.evaluate(symbols)) for d in kind.dims)
    if kind.strides is None:
        return dims, dense(dims), prod(dims)
    strides = tuple(int(s.evaluate(symbols)) for s in kind.strides)
    span = 0 if 0 in dims else 1 + sum(s * (d - 1) for s, d in zip(strides, dims, strict=True))
    return dims, strides, span


def undefined(dtype: np.dtype[Any], elements: int) -> Array:
    """Memory that nobody wrote: all bits set, a NaN or -1."""
    if dtype == np.bool_:
        return np.ones(elements, np.bool_)
    return np.full(elements * dtype.itemsize, 0xFF, np.uint8).view(dtype)
