"""The search.  In: a model, whether one fails, what its values are.  Out: a model that fails, with little left in it.

Delta debugging on the nodes first: any part of a graph is a graph, whose inputs are what the rest would have made.
Then nodes are bypassed, outputs dropped, dims made smaller and numbers made plain, again and again while that helps.
Everything is tried in the order of the model, so that the same model is cut down to the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from headrace.compiler.frontends.onnx import cutting
from headrace.compiler.frontends.onnx.cutting import Array, Cut, Seen

See = Callable[[Cut], Mapping[str, Seen]]
PIECES = 8  # that the numbers of an array are set to 0 in


class Reducer:
    """`fails`: whether a model fails as the first one does; `see`: what is known of a model's values."""

    def __init__(self, fails: Callable[[Cut], bool], see: See) -> None:
        self._fails = fails
        self._see = see
        self._known: dict[bytes, bool] = {}
        self._strict = True
        self.trials = 0

    def reduced(self, cut: Cut) -> Cut:
        """A part of a model that fails, which fails too."""
        cut = cutting.with_output_types(cut, self._see(cut))
        self._strict = cutting.is_valid(cut)
        cut = self._first([cutting.with_static_dims(cut)]) or cut
        cut = self._first([cutting.inlined(cut)]) or cut
        while True:
            before = cut.content()
            for step in (self._nodes, self._bypasses, self._branches, self._outputs, self._sizes, self._numbers):
                cut = step(cut)
            if cut.content() == before:
                return cutting.with_output_types(cut, self._see(cut))

    def fails(self, cut: Cut) -> bool:
        """Each model is tried once.  One that ONNX's checker refuses is no candidate, if it took the first one."""
        key = cut.content() + b"".join(a.tobytes() for a in cut.inputs.values())
        if key not in self._known:
            self.trials += 1
            self._known[key] = (not self._strict or cutting.is_valid(cut)) and self._fails(cut)
        return self._known[key]

    def _first(self, candidates: Iterable[Cut | None]) -> Cut | None:
        return next((c for c in candidates if c is not None and self.fails(c)), None)

    # ---- steps -----------------------------------------------------------------------------------------------

    def _nodes(self, cut: Cut) -> Cut:
        """Delta debugging; where the failure needs the model's outputs as they are, with those kept."""
        seen = self._see(cut)
        everything = range(len(cut.nodes))
        plain = self._first([cutting.keeping(cut, everything, seen)])

        def part(numbers: Sequence[int]) -> Cut | None:
            return cutting.keeping(cut, numbers, seen, outputs=plain is None)

        best = minimal(list(everything), lambda numbers: self._first([part(numbers)]) is not None)
        found = part(best)
        return found if found is not None and self.fails(found) else cut

    def _bypasses(self, cut: Cut) -> Cut:
        seen = self._see(cut)
        number = 0
        while number < len(cut.nodes):
            simpler = self._first(cutting.bypassing(cut, number, seen))
            if simpler is None:
                number += 1
            else:
                cut, seen = simpler, self._see(simpler)
        return cut

    def _branches(self, cut: Cut) -> Cut:
        for number in range(len(cut.nodes)):
            simpler = self._first(cutting.opened(cut, number))
            if simpler is not None:
                return simpler
        return cut

    def _outputs(self, cut: Cut) -> Cut:
        for number in reversed(range(len(cut.proto.graph.output))):
            cut = self._first([cutting.without_output(cut, number)]) or cut
        return cut

    def _sizes(self, cut: Cut) -> Cut:
        for size in cutting.sizes(cut):
            smaller = sorted({1, 2, 3, size // 4, size // 2, size - 1} & set(range(1, size)))
            candidates = (cutting.resized(cut, size, to) for to in smaller)
            cut = self._first(c for c in candidates if not self._has_nothing(c)) or cut
        return cut

    def _has_nothing(self, cut: Cut) -> bool:
        """Whether a value has no elements: a failure may be there still, but not one to learn from."""
        return any(0 in seen.dims for seen in self._see(cut).values())

    def _numbers(self, cut: Cut) -> Cut:
        names = [n for n, a in cut.inputs.items() if _has_numbers(a)]
        for name in [*names, *(n for n, a in cutting.constants(cut) if _has_numbers(a) and a.dtype.kind not in "iub")]:
            array = {**cut.inputs, **dict(cutting.constants(cut))}[name]
            plain = self._first(cutting.with_array(cut, name, a) for a in (np.ones_like(array), np.zeros_like(array)))
            cut = plain or self._zeros(cut, name, array)
        return cut

    def _zeros(self, cut: Cut, name: str, array: Array) -> Cut:
        """As many pieces of the array as may be, each once."""
        for piece in np.array_split(np.arange(array.size), min(PIECES, array.size)):
            fewer = array.copy().reshape(-1)
            fewer[piece] = 0
            simpler = cutting.with_array(cut, name, fewer.reshape(array.shape))
            if fewer.tobytes() != array.tobytes() and self.fails(simpler):
                cut, array = simpler, fewer.reshape(array.shape)
        return cut


def _has_numbers(array: Array) -> bool:
    """Whether anything is left to be made plain."""
    return bool(array.size) and array.tobytes() not in (np.ones_like(array).tobytes(), np.zeros_like(array).tobytes())


def minimal(items: list[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """A subset that fails and from which no single item can be left out: Zeller's ddmin, in the order of the items."""
    pieces = 2
    while len(items) > 1:
        bounds = [len(items) * i // pieces for i in range(pieces + 1)]
        parts = [items[a:b] for a, b in pairwise(bounds)]
        rests = [[i for part in parts[:n] + parts[n + 1 :] for i in part] for n in range(pieces)]
        if (part := next(filter(fails, parts), None)) is not None:
            items, pieces = part, 2
        elif pieces > 2 and (rest := next(filter(fails, rests), None)) is not None:
            items, pieces = rest, pieces - 1
        elif pieces == len(items):
            break
        else:
            pieces = min(2 * pieces, len(items))
    return items
