"""Which elements of its operands an operation reads for one element of its result, and what it computes with them.

In: a pulling or reducing operation and an index.  Out: its reads, as formulas, and the scalar operations of its
body.  The operation's own declaration is asked, with a builder that listens; nothing of the IR changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Block, Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Index, Movement, Pull, PullBuilder, Reducing, tensor
from headrace.ir.rewrite import Builder
from headrace.ir.types import ScalarType


@dataclass(frozen=True, slots=True)
class OperandRead:
    """The element of `operand` at `index`; `otherwise` outside of it, where that may happen."""

    operand: Value
    index: Index
    otherwise: float | int | bool | None


class _Listener(PullBuilder):
    """Notes every read; its value is an argument of a block that nobody keeps."""

    def __init__(self) -> None:
        self.block = Block()
        self.reads: list[OperandRead] = []
        super().__init__(Builder(self.block))

    def read(self, operand: Value, index: Index, otherwise: float | int | bool | None = None) -> Value:
        self.reads.append(OperandRead(operand, index, otherwise))
        return self.block.add_argument(ScalarType(tensor(operand).dtype))

    def lookup(self, operand: Value, index: Index, extent: Dim) -> Dim:
        self.reads.append(OperandRead(operand, index, None))
        return Dim.symbol(f"_found{len(self.reads)}")


def pulled_reads(operation: Pull, index: Index) -> list[OperandRead]:
    """What the element of the result at `index` takes."""
    listener = _Listener()
    operation.pull(listener, index)
    return listener.reads


def reduced_reads(operation: Reducing, index: Index, reduced: Index) -> tuple[list[OperandRead], list[OperandRead]]:
    """What one step at reduction point `reduced` takes, and what the finish takes."""
    step, finish = _Listener(), _Listener()
    state = list(operation.init(step))
    operation.step(step, index, reduced, state)
    operation.finish(finish, index, [finish.block.add_argument(v.type) for v in state])
    return step.reads, finish.reads


def scalar_operations(operation: Pull) -> list[Operation]:
    """The scalar operations of one element of the result, in order, detached from the IR."""
    listener = _Listener()
    operation.pull(listener, probe_index(tensor(operation.result).rank))
    return list(listener.block.operations)


def probe_index(rank: int) -> Index:
    """An index of symbols that no model can name."""
    return tuple(Dim.symbol(f"_at{i}") for i in range(rank))


def permutes(operation: Movement) -> bool:
    """Whether a movement only reorders dims, so that outside of its result is outside of its operand."""
    probe = probe_index(tensor(operation.result).rank)
    source = operation.source(probe)
    if sorted(str(s) for s in source) != sorted(str(p) for p in probe):
        return False
    inner, outer = tensor(operation.operands[0]).dims, tensor(operation.result).dims
    return all(inner[i] == outer[probe.index(s)] for i, s in enumerate(source))
