"""The kernel that selects boxes: the best candidate again and again, kept unless a kept one overlaps it too much.

In: a `KernelWriter` inside a task for one class, buffers, and which class it is.  Out: loops and scratch.

    BestBoxes(w, buffers, batch, each, boxes, room).write()

The candidates lie in columns of `HEIGHT` boxes, and the best one of each column is noted: the best of all is found
among those, then its column is looked through for the next one.  So each candidate takes a look at few others, however
many there are.  A score of NaN is no candidate.  Kept boxes lie side by side, as many as a vector compares at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Value
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.writer import KernelWriter, at
from headrace.ir.types import F32, I64

NO_BOX = -1  # behind the last number in the result
HEIGHT = Dim.constant(64)
SIDE_BY_SIDE = Dim.constant(16)
CORNERS = Dim.constant(4)


@dataclass(frozen=True)
class BoxBuffers:
    """Where the operands of graph.non_max_suppression lie, and its result."""

    corners: Value
    scores: Value
    most: Value
    overlap: Value
    threshold: Value | None
    target: Value


@dataclass
class BestBoxes:
    """Of one class in one batch: the numbers of at most `room` of its boxes."""

    w: KernelWriter
    given: BoxBuffers
    batch: Dim
    each: Dim
    boxes: Dim
    room: Dim
    live: Value = field(init=False)  # [HEIGHT, columns]: scores of the candidates
    tops: tuple[Value, Value] = field(init=False)  # [columns]: the best of each, and which box; `boxes` for none
    best: Value = field(init=False)  # which box is looked at; `boxes` when nothing is left to do
    count: Value = field(init=False)  # how many are kept
    kept: Value = field(init=False)  # [4, room and more]: their corners; without extent where there is none yet
    hits: Value = field(init=False)  # [SIDE_BY_SIDE]: 1 where one of the kept boxes overlaps too much
    hit: Value = field(init=False)  # the largest of these

    def __post_init__(self) -> None:
        w = self.w
        self.columns = ceildiv(self.boxes, HEIGHT)
        self.live = w.scratch(F32, (HEIGHT, self.columns), "live")
        self.tops = w.scratch(F32, (self.columns,), "top"), w.scratch(I64, (self.columns,), "top_box")
        self.best, self.count = w.scratch(I64, (ONE,), "best"), w.scratch(I64, (ONE,), "count")
        self.kept_room = ceildiv(self.room, SIDE_BY_SIDE) * SIDE_BY_SIDE
        self.kept = w.scratch(F32, (CORNERS, self.kept_room), "kept")
        self.hits, self.hit = w.scratch(F32, (SIDE_BY_SIDE,), "hits"), w.scratch(F32, (ONE,), "hit")

    def write(self) -> None:
        w = self.w
        self._begin()
        with w.loop("s", self.columns), self._while_some(), w.loop("r", HEIGHT), self._while_some():
            g = w.axis("g", self.columns, "reduction")
            self._reduce_best([g], [at(t, g) for t in self.tops], lambda b, *top: top, [at(self.best, ZERO)])
            with self._while_some(), w.lookups([at(self.best, ZERO)], [self.boxes]) as (box,):
                column = box % self.columns
                w.map([], [], [at(self.live, box // self.columns, column)], lambda b: [b.constant(np.nan, F32)])
                self._note_tops([], column)
                self._keep(box)

    def _while_some(self) -> AbstractContextManager[None]:
        return self.w.where(at(self.best, ZERO), lambda b, best: b.compare("lt", best, b.index(self.boxes)))

    def _begin(self) -> None:
        """The candidates, and the best one of each column; nothing kept."""
        w, given = self.w, self.given
        k, g, t, i = w.axis("k", HEIGHT), w.axis("g", self.columns), w.axis("t", self.room), w.axis("i", CORNERS)
        score = Access(given.scores, AccessMap((self.batch, self.each, self._box(k, g)), np.nan))
        bound = [] if given.threshold is None else [at(given.threshold, ZERO)]
        w.map([k, g], [score, *bound], [at(self.live, k, g)], _candidate)
        g = w.axis("g", self.columns)
        self._note_tops([g], Dim.symbol(g.name))
        w.map([t], [], [at(given.target, self.batch, self.each, t)], lambda b: [b.constant(NO_BOX, I64)])
        t = w.axis("t", self.kept_room)
        w.map([i, t], [], [at(self.kept, i, t)], lambda b: [b.constant(0, F32)])
        w.map([], [], [at(self.count, ZERO)], lambda b: [b.constant(0, I64)])
        w.map([], [at(given.most, ZERO)], [at(self.best, ZERO)], lambda b, most: [self._unless_done(b, ZERO, most)])

    def _box(self, row: Axis, column: Axis | Dim) -> Dim:
        across = Dim.symbol(column.name) if isinstance(column, Axis) else column
        return Dim.symbol(row.name) * self.columns + across

    def _unless_done(self, b: ScalarBuilder, count: Dim, most: Value) -> Value:
        """Some box, and none where `most` boxes are kept or all that there is room for."""
        goes_on = b.bit_and(b.compare("lt", b.index(count), most), b.holds(self.room - 1 - count))
        return b.select(goes_on, b.constant(0, I64), b.index(self.boxes))

    def _note_tops(self, axes: Sequence[Axis], column: Dim) -> None:
        """The best of the columns."""
        k = self.w.axis("k", HEIGHT, "reduction")

        def found(b: ScalarBuilder, score: Value) -> Sequence[Value]:
            return score, b.index(self._box(k, column))

        self._reduce_best([*axes, k], [at(self.live, k, column)], found, [at(v, column) for v in self.tops])

    def _reduce_best(
        self,
        axes: Sequence[Axis],
        reads: Sequence[Access],
        found: Callable[..., Sequence[Value]],
        writes: Sequence[Access],
    ) -> None:
        """The highest score and its box, the lower box of equal ones; or just the box, for one write."""

        def better(b: ScalarBuilder, score: Value, box: Value, best: Value, best_box: Value) -> list[Value]:
            equal = b.bit_and(b.compare("eq", score, best), b.compare("lt", box, best_box))
            takes = b.bit_or(b.compare("gt", score, best), equal)
            return [b.select(takes, score, best), b.select(takes, box, best_box)]

        self.w.reduce(
            axes,
            reads,
            [],
            writes,
            [F32, I64],
            (
                lambda b: [b.constant(-np.inf, F32), b.index(self.boxes)],
                lambda b, *xs: better(b, *found(b, *xs[:-2]), *xs[-2:]),
                lambda b, *xs: better(b, *xs[2:], *xs[:2]),
                lambda b, *state: list(state[-len(writes) :]),
            ),
        )

    def _keep(self, box: Dim) -> None:
        """The box is one more, unless a kept one overlaps it too much."""
        w, given = self.w, self.given
        with w.lookups([at(self.count, ZERO)], [self.room]) as (count,):
            self._measure(box, ceildiv(count, SIDE_BY_SIDE))
            with w.where(at(self.hit, ZERO), lambda b, hit: b.compare("eq", hit, b.constant(0, F32))):
                w.map([], [], [at(given.target, self.batch, self.each, count)], lambda b: [b.index(box)])
                i = w.axis("i", CORNERS)
                w.map([i], [at(given.corners, self.batch, i, box)], [at(self.kept, i, count)], lambda b, x: [x])
                w.map([], [], [at(self.count, ZERO)], lambda b: [b.index(count + 1)])
                w.map(
                    [],
                    [at(given.most, ZERO)],
                    [at(self.best, ZERO)],
                    lambda b, most: [self._unless_done(b, count + 1, most)],
                )

    def _measure(self, box: Dim, rows: Dim) -> None:
        """In `hit`: 0 if none of the kept boxes, SIDE_BY_SIDE in each row, overlaps the box too much."""
        w, given = self.w, self.given
        lane, row = w.axis("l", SIDE_BY_SIDE), w.axis("k", rows, "reduction")
        place = Dim.symbol(row.name) * SIDE_BY_SIDE + Dim.symbol(lane.name)
        corners = [Dim.constant(i) for i in range(CORNERS.value)]
        reads = [*(at(given.corners, self.batch, i, box) for i in corners), *(at(self.kept, i, place) for i in corners)]

        def step(b: ScalarBuilder, *xs: Value) -> list[Value]:
            hit = b.select(overlaps(b, xs[:4], xs[4:8], xs[8]), b.constant(1, F32), b.constant(0, F32))
            return [b.maximum(xs[9], hit)]

        reads.append(at(given.overlap, ZERO))
        w.reduce([lane, row], reads, [], [at(self.hits, lane)], [F32], (_no_hit, step, _any_hit, _found))
        lane = w.axis("l", SIDE_BY_SIDE, "reduction")
        w.reduce([lane], [at(self.hits, lane)], [], [at(self.hit, ZERO)], [F32], (_no_hit, _any_hit, _any_hit, _found))


def overlaps(b: ScalarBuilder, one: Sequence[Value], other: Sequence[Value], most: Value) -> Value:
    """Whether two boxes overlap more than that."""
    lows = [b.maximum(one[i], other[i]) for i in range(2)]
    highs = [b.minimum(one[i], other[i]) for i in range(2, 4)]
    shared = [b.sub(high, low) for low, high in zip(lows, highs, strict=True)]
    areas = [b.mul(b.sub(box[2], box[0]), b.sub(box[3], box[1])) for box in (one, other)]
    common, zero = b.mul(*shared), b.constant(0, F32)
    share = b.div(common, b.sub(b.add(*areas), common))
    meet = [b.compare("lt", zero, size) for size in (*shared, common)]
    return b.bit_and(b.bit_and(b.bit_and(*meet[:2]), meet[2]), b.compare("gt", share, most))


def _candidate(b: ScalarBuilder, score: Value, *threshold: Value) -> list[Value]:
    return [b.select(b.compare("gt", score, t), score, b.constant(np.nan, F32)) for t in threshold] or [score]


def _no_hit(b: ScalarBuilder) -> list[Value]:
    return [b.constant(0, F32)]


def _any_hit(b: ScalarBuilder, one: Value, other: Value) -> list[Value]:
    return [b.maximum(one, other)]


def _found(b: ScalarBuilder, hit: Value) -> list[Value]:
    return [hit]
