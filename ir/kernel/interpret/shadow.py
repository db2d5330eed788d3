"""Shadow memory: who last wrote and read each element of a buffer that lanes share.  Finds races.

In: accesses, as flat element numbers with the lane and the moment.  Out: the first pair of accesses of which one
is a write and which nothing orders.

One writer an element is enough, since an unordered second one is a race at once.  Of readers the last is kept,
and the outermost level at which readers of one epoch differ: a write races with some of them if that level is
still in that epoch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.ir.kernel.interpret.lanes import Array, Lanes

NOBODY = -1


class Race(NamedTuple):
    """Which access of those given (by number in the flat list), and what it met."""

    access: int
    other: str  # "another lane wrote it", ...


class Shadow:
    """One buffer's."""

    __slots__ = ("alone", "many", "read_at", "reader", "writer", "written_at")

    def __init__(self, elements: int, levels: int) -> None:
        self.alone = levels  # the value of `many` where readers do not differ
        self.writer = np.full(elements, NOBODY, np.int64)
        self.written_at = np.zeros(elements, np.int64)
        self.reader = np.full(elements, NOBODY, np.int64)
        self.read_at = np.zeros(elements, np.int64)
        self.many = np.full(elements, levels, np.int8)

    def write(self, lanes: Lanes, elements: Array, who: Array) -> Race | None:
        """All lanes `who` write `elements` at once."""
        race = self._against_writer(lanes, elements, who, "wrote")
        if race is not None:
            return race
        reader, at = self.reader[elements], self.read_at[elements]
        one = lanes.same_epoch(at, lanes.differ_at(reader, who))
        clash = (reader != NOBODY) & (one | lanes.same_epoch(at, self.many[elements]))
        if clash.any():
            return Race(int(np.argmax(clash)), "another lane read")
        self.writer[elements] = who
        twice = self.writer[elements] != who
        if twice.any():
            return Race(int(np.argmax(twice)), "another lane writes")
        self.written_at[elements] = lanes.moment
        self.reader[elements] = NOBODY
        self.many[elements] = self.alone
        return None

    def read(self, lanes: Lanes, elements: Array, who: Array) -> Race | None:
        """All lanes `who` read `elements` at once."""
        race = self._against_writer(lanes, elements, who, "wrote")
        if race is not None:
            return race
        before, at = self.reader[elements], self.read_at[elements]
        apart = lanes.differ_at(before, who)
        apart[(before == NOBODY) | ~lanes.same_epoch(at, apart)] = self.alone
        known = self.many[elements]
        known[~lanes.same_epoch(at, known)] = self.alone
        self.many[elements] = self.alone
        np.minimum.at(self.many, elements, np.minimum(apart, known))
        self.reader[elements] = who
        self.read_at[elements] = lanes.moment
        np.minimum.at(self.many, elements, lanes.differ_at(self.reader[elements], who))
        return None

    def _against_writer(self, lanes: Lanes, elements: Array, who: Array, verb: str) -> Race | None:
        writer = self.writer[elements]
        clash = lanes.same_epoch(self.written_at[elements], lanes.differ_at(writer, who)) & (writer != NOBODY)
        return Race(int(np.argmax(clash)), f"another lane {verb}") if clash.any() else None
