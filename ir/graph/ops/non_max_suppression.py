"""graph.non_max_suppression: the best boxes of each class, without those that overlap a better one too much.

    %s = graph.non_max_suppression %corners, %scores, %most, %overlap, %threshold {room = 100} : i64[b, classes, 100]

The corners are [b, 4, boxes]: two low coordinates, then the two high ones.  A row of the result holds the numbers of
its class's boxes in descending order of their scores, as many as `most` says at the most, then -1.  Of equal scores the
lower box comes first; a NaN is no candidate, nor is a score that is not above the threshold.  Boxes overlap too much
where

    intersection / (area + area - intersection) > overlap

ONNX NonMaxSuppression lists [batch, class, box] for each of the numbers: their count is a size that is data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, dim_max, dim_min
from headrace.ir.graph.best_boxes import NO_BOX, BestBoxes, BoxBuffers
from headrace.ir.graph.compose import Term
from headrace.ir.graph.counting import formulas, places_of
from headrace.ir.graph.families import Array, DimCheck, OwnKernel, Sampler, must_be_equal, tensor
from headrace.ir.graph.importing import OnnxNode, onnx_import
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.graph.ops.slice import sliced
from headrace.ir.graph.sampling import chance, pick
from headrace.ir.kernel.writer import KernelWriter
from headrace.ir.types import F32, I64, TensorType, Type


@op("graph.non_max_suppression")
class NonMaxSuppression(OwnKernel):
    """Boxes of each batch and class, the best first; -1 behind the last of them."""

    corners: Value
    scores: Value
    most: Value
    overlap: Value
    threshold: Value | None
    room: Dim

    def infer(self) -> Sequence[Type]:
        corners, scores = tensor(self.corners), tensor(self.scores)
        if corners.dtype != F32 or scores.dtype != F32 or corners.rank != 3 or scores.rank != 3 or corners.dims[1] != 4:
            raise self.fail(f"boxes and scores are {corners} and {scores}, expected f32[b, 4, n] and f32[b, c, n]")
        numbers = [(self.most, I64), (self.overlap, F32), (self.threshold, F32)]
        for value, dtype in numbers:
            if value is not None and tensor(value) != TensorType(dtype, (ONE,)):
                raise self.fail(f"found {value.type} for a bound, expected {dtype}[1]")
        self.refuse_broken()
        return [TensorType(I64, (*scores.dims[:2], self.room))]

    def checks(self) -> Sequence[DimCheck]:
        corners, scores = tensor(self.corners), tensor(self.scores)
        message = f"boxes of {corners} and scores of {scores} do not agree in batches and boxes"
        pairs = [(corners.dims[i], scores.dims[i]) for i in (0, 2)]
        return [c for a, b in pairs for c in must_be_equal(a, b, message)]

    def write(self, w: KernelWriter, buffers: Mapping[Value, Value]) -> None:
        """A task for each class."""
        batches, classes, boxes = tensor(self.scores).dims
        given = BoxBuffers(
            buffers[self.corners],
            buffers[self.scores],
            buffers[self.most],
            buffers[self.overlap],
            None if self.threshold is None else buffers[self.threshold],
            buffers[self.result],
        )
        with w.tasks(b=batches, c=classes) as (batch, each):
            BestBoxes(w, given, batch, each, boxes, self.room).write()

    def reference(self, *operands: Array) -> tuple[Array, ...]:
        corners, scores, most, overlap = operands[:4]
        threshold = operands[4][0] if len(operands) > 4 else None
        found = np.full((*scores.shape[:2], self.room.value), NO_BOX)
        for index in np.ndindex(scores.shape[:2]):
            boxes, row = corners[index[0]], scores[index]
            left = [j for j in np.argsort(-row, kind="stable") if not np.isnan(row[j])]
            if threshold is not None:
                left = [j for j in left if row[j] > threshold]
            for t in range(min(self.room.value, int(most[0]))):
                if not left:
                    break
                best, *left = left
                found[(*index, t)] = best
                left = [j for j in left if not _overlap_of(boxes[:, best], boxes[:, j], overlap[0])]
        return (found,)

    @classmethod
    def sample(cls, sampler: Sampler) -> NonMaxSuppression:
        batches, classes = sampler.dims(2)
        boxes = Dim.constant(pick(sampler, 1, 9))
        corners = sampler.tensor(TensorType(F32, (batches, Dim.constant(4), boxes)), -1.0, 3.0)
        scores = sampler.tensor(TensorType(F32, (batches, classes, boxes)))
        most = sampler.tensor(TensorType(I64, (ONE,)), 0.0, 2.0)
        bounds = [sampler.tensor(TensorType(F32, (ONE,)), 0.0, 0.5) for _ in range(2)]
        room = Dim.constant(pick(sampler, 0, boxes.value))
        return cls(corners, scores, most, bounds[0], bounds[1] if chance(sampler, 0.5) else None, room)


def _overlap_of(one: Array, other: Array, most: float) -> bool:
    """As `overlaps` has it, in numpy."""
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = shared[0] * shared[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return bool((shared > 0).all() and common > 0 and common / (areas[0] + areas[1] - common) > most)


@onnx_import("NonMaxSuppression", since=10)
def _non_max_suppression(node: OnnxNode) -> Sequence[Value]:
    boxes, scores = Term(node, node.operand(0)), Term(node, node.operand(1))
    if boxes.rank != 3 or scores.rank != 3 or (boxes.dims[2].is_constant and boxes.dims[2] != 4):
        raise node.fail(f"boxes and scores are {boxes.type} and {scores.type}, expected [b, n, 4] and [b, c, n]")
    most = _number(node, 2, Term(node, node.add_constant(np.zeros(1, np.int64))))
    overlap = _number(node, 3, Term(node, node.add_constant(np.zeros(1, np.float32))))
    threshold = _number(node, 4, overlap).value if node.input(4) is not None else None
    corners = _corners(node, boxes.reshape(*boxes.dims[:2], 4).transpose(0, 2, 1))
    known = node.shape_value(2) if node.input(2) is not None else (ZERO,)
    count = scores.dims[2]
    room = dim_min(count, dim_max(known[0], 0)) if known is not None else count
    selected = NonMaxSuppression(corners.value, scores.value, most.value, overlap.value, threshold, room)
    numbers = most.of(selected)
    numbers = numbers.reshape(numbers.type.elements)
    places = places_of(node, numbers.compare("ge", 0), f"{node.name}_count")
    box = numbers.of(Gather(numbers.value, places.value, 0))
    rows = places / formulas(node, [room])
    classes = formulas(node, [scores.dims[1]])
    columns = [part.reshape(*places.dims, 1).value for part in (rows / classes, rows % classes, box)]
    return [node.add(Concat(tuple(columns), 1))]


def _number(node: OnnxNode, number: int, default: Term) -> Term:
    """An input of one element, or the default where it is left out."""
    return default if node.input(number) is None else Term(node, node.operand(number)).reshape(1)


def _corners(node: OnnxNode, boxes: Term) -> Term:
    """Low and high coordinates of [b, 4, n]: from the center and the sizes, or from any two opposite corners."""
    first, second = (Term(node, sliced(node, boxes.value, 1, Dim.constant(i), Dim.constant(2))) for i in (0, 2))
    if node.attribute("center_point_box", 0):
        half = second / 2
        low, high = first - half, first + half
    else:
        low, high = first.at_most(second), first.at_least(second)
    return boxes.of(Concat((low.value, high.value), 1))
