"""The lanes of a kernel under interpretation: which points of the parallel axes run in lock step.

In: axes as they are opened and closed.  Out: for formulas, the value of each axis; for memory, who runs.

Every parallel axis of the function has a *position*, a dim of all arrays that the interpreter computes with.
An axis that is open has its extent there, one that is not has 1; so arrays of any depth broadcast against each
other.  Axes opened together (a kernel.parallel, the independent axes of a map) are one *level*.  Sequential axes
are plain integers.

Two accesses of different lanes are ordered if, at the outermost level where the lanes differ, that level was
left or met a barrier in between: then its *epoch* is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from headrace.ir.access import Axis
from headrace.ir.errors import ExecutionError

Array = np.ndarray[Any, Any]
Number = int | Array


@dataclass(frozen=True, slots=True)
class Level:
    """Axes that were opened together."""

    positions: tuple[int, ...]
    kind: str
    existing: Array | None  # which lanes there are, where extents differ from lane to lane


class Chosen(NamedTuple):
    """Some points instead of all: flat numbers over the named axes, the last axis fastest."""

    axes: tuple[str, ...]
    points: Array


class Saved(NamedTuple):
    """What `close` brings back."""

    shape: tuple[int, ...]
    active: Array | None
    levels: tuple[Level, ...]


class Lanes:
    """Who runs now."""

    __slots__ = ("_epochs", "_history", "_ids", "_moments", "active", "env", "levels", "rank", "shape", "width")

    def __init__(self, rank: int, depth: int, symbols: Mapping[str, int]) -> None:
        self.rank = rank
        self.shape: tuple[int, ...] = (1,) * rank
        self.active: Array | None = None  # None: all
        self.levels: tuple[Level, ...] = ()
        self.env: dict[str, Any] = dict(symbols)
        self.width = 62 // max(depth, 1)  # bits of a lane's number that a level gets
        self._ids: Array | None = None
        self._epochs = [0] * max(depth, 1)
        self._history = np.zeros((16, max(depth, 1)), np.int64)
        self._moments = 1

    # ---- levels ------------------------------------------------------------------------------------------

    def along(self, position: int, values: Array) -> Array:
        """A vector laid along one position."""
        shape = [1] * self.rank
        shape[position] = len(values)
        return values.reshape(shape)

    def open(self, axes: Sequence[Axis], positions: Sequence[int], kind: str, chosen: Chosen | None) -> Saved | None:
        """Opens a level; None, and nothing opened, if it has no lanes."""
        extents = [a.extent.evaluate(self.env) for a in axes]
        sizes = [int(np.max(e, initial=0)) for e in extents]
        if any(n <= 0 for n in sizes) or (chosen is not None and not len(chosen.points)):
            return None
        saved = Saved(self.shape, self.active, self.levels)
        shape = list(self.shape)
        existing: Array | None = None
        picked = {} if chosen is None else self._picked(chosen, axes, sizes)
        first = None if chosen is None else next(p for a, p in zip(axes, positions, strict=True) if a.name in picked)
        for axis, position, extent, size in zip(axes, positions, extents, sizes, strict=True):
            if axis.name in picked and first is not None and chosen is not None:
                value = self.along(first, picked[axis.name])
                shape[position] = len(chosen.points) if position == first else 1
            else:
                value = self.along(position, np.arange(size))
                shape[position] = size
            self.env[axis.name] = value
            if not isinstance(extent, int):
                inside = value < extent
                existing = inside if existing is None else existing & inside
        self.shape = tuple(shape)
        self.active = both(self.active, existing)
        self._ids = None
        self.levels = (*self.levels, Level(tuple(positions), kind, existing))
        if self.active is not None and not self.active.any():
            self.close(saved)
            return None
        self.next_epoch(len(self.levels) - 1)
        return saved

    def _picked(self, chosen: Chosen, axes: Sequence[Axis], sizes: Sequence[int]) -> dict[str, Array]:
        named = [(a.name, n) for a, n in zip(axes, sizes, strict=True) if a.name in chosen.axes]
        parts = np.unravel_index(chosen.points, [n for _, n in named])
        return {name: part.astype(np.int64) for (name, _), part in zip(named, parts, strict=True)}

    def close(self, saved: Saved) -> None:
        """Leaves the level: all its lanes have arrived."""
        self.next_epoch(len(self.levels) - 1)
        self.shape, self.active, self.levels = saved
        self._ids = None

    # ---- masks -------------------------------------------------------------------------------------------

    def narrow(self, condition: Array) -> bool:
        """Goes on with those lanes alone for which `condition` holds; whether there are any."""
        self.active = both(self.active, condition)
        return bool(self.active is None or self.active.any())

    def running(self, lanes: bool) -> Array | None:
        """The mask of active lanes, with a dim for the lanes of a vector if wanted."""
        return self.active[..., None] if lanes and self.active is not None else self.active

    # ---- order -------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """How many levels are open."""
        return len(self.levels)

    def next_epoch(self, level: int) -> None:
        """What the lanes of a level did so far is ordered before what they do from here on."""
        self._epochs[level] += 1
        if self._moments == len(self._history):
            self._history = np.concatenate([self._history, np.zeros_like(self._history)])
        self._history[self._moments] = self._epochs
        self._moments += 1

    @property
    def depth_of_kernel(self) -> int:
        """How many levels stand inside each other anywhere in the kernel, at least 1."""
        return len(self._epochs)

    @property
    def moment(self) -> int:
        """Stands for the epochs of all levels now."""
        return self._moments - 1

    @property
    def ids(self) -> Array:
        """A number for each lane: `width` bits for each level, the outermost highest."""
        if self._ids is None:
            found = np.zeros((1,) * self.rank, np.int64)
            for level in self.levels:
                flat = np.zeros((1,) * self.rank, np.int64)
                for position in level.positions:
                    flat = flat * self.shape[position] + self.along(position, np.arange(self.shape[position]))
                if flat.size >> self.width:
                    most = 1 << self.width
                    raise ExecutionError(f"{flat.size} lanes in one level; the interpreter can tell {most} apart")
                found = (found << self.width) + flat
            self._ids = found << (self.width * (len(self._epochs) - len(self.levels)))
        return self._ids

    def differ_at(self, left: Array, right: Array) -> Array:
        """The outermost level at which lanes differ; the number of levels where they are the same."""
        count = len(self._epochs)
        found = np.full(np.broadcast_shapes(left.shape, right.shape), count, np.int8)
        for level in reversed(range(count)):
            shift = self.width * (count - 1 - level)
            found[(left >> shift) != (right >> shift)] = level
        return found

    def same_epoch(self, moments: Array, levels: Array) -> Array:
        """Whether the epoch of a level is still the one of an earlier moment; False where there is no level."""
        count = len(self._epochs)
        known = np.minimum(levels, count - 1)
        return np.asarray((self._history[moments, known] == np.asarray(self._epochs)[known]) & (levels < count))

    # ---- for messages ------------------------------------------------------------------------------------

    def describe(self, point: Sequence[int]) -> str:
        """`i = 3, k = 0`: the axes at one lane, sequential ones too."""
        parts = []
        for name, value in self.env.items():
            if not isinstance(value, int):
                value = value[tuple(min(p, n - 1) for p, n in zip(point, value.shape, strict=True))]
            parts.append(f"{name} = {value}")
        return ", ".join(parts)


def both(left: Array | None, right: Array | None) -> Array | None:
    """The conjunction of two masks; None holds everywhere."""
    if left is None or right is None:
        return right if left is None else left
    return np.logical_and(left, right)
