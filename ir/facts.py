"""What a target tells the passes: facts, never its name.

Passes read a `TargetFacts` from their context; `targets/` provides the values.  Protocols that let a target
take part in a pass (its schedules, its wishes for layouts) stand here too, so that no pass imports a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from headrace.ir.types import DType

if TYPE_CHECKING:
    from headrace.ir.core import Operation
    from headrace.ir.kernel.ops.func import KernelFunc


@dataclass(frozen=True, slots=True)
class MatrixTile:
    """What a matrix unit multiplies at once: `kernel.mma` of m rows, n columns and k terms, by element types."""

    m: int
    n: int
    k: int
    lhs: DType
    rhs: DType
    accumulator: DType
    smaller: bool = False  # tiles of fewer rows, columns or terms too, and sums some of whose terms do not exist

    def __str__(self) -> str:
        size = f"{self.m} by {self.n} by {self.k}"
        return f"{size}{' or less' if self.smaller else ''} of {self.lhs} * {self.rhs} in {self.accumulator}"


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """Numbers that decide code shapes.  Bytes and counts of one core unless said otherwise."""

    preset: str  # what users type: x86-64-v3
    vector_bytes: int  # widest vector that pays
    vector_registers: int
    has_fma: bool  # a fused multiply-add for f32 in hardware
    l1_bytes: int
    l2_bytes: int
    triple: str = ""  # four parts, as LLVM wants it; these three are empty where LLVM makes no code
    cpu: str = ""  # LLVM's -mcpu
    features: tuple[str, ...] = ()  # LLVM's feature names, sorted, with + or -
    converts_f16: bool = False  # f16 to f32 and back in hardware
    channels_last: bool = True  # convolutions and poolings want the channels of a pixel side by side
    group_threads: int = 0  # threads that a workgroup should have; 0 where there are none
    shared_bytes: int = 0  # shared memory of a workgroup
    busy_groups: int = 0  # workgroups that a device should have at least
    matrix_tiles: tuple[MatrixTile, ...] = ()  # of its matrix unit; none where there is no such unit
    copy_worth: float = 0.0  # arithmetic operations that make up for a byte copied to such a device or back

    def lanes(self, element_bytes: int) -> int:
        """Elements in one vector."""
        return self.vector_bytes // element_bytes


class Schedule(Protocol):
    """The steps a target takes from a structured kernel to loops."""

    def __call__(self, function: KernelFunc, facts: TargetFacts) -> list[str]:
        """The pipeline text of each step for this function, in order: `kernel.tile{axis=i by=6}` ..."""
        ...


@dataclass(frozen=True, slots=True)
class Device:
    """A machine beside the one that runs the host's program: which operations it takes."""

    facts: TargetFacts
    refuses: Callable[[Operation], str | None]  # why it does not take an operation; None where it does

    @property
    def name(self) -> str:
        return self.facts.preset


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an operation runs and why, and what spoke against each device that was preferred: (device, reason)."""

    operation: str
    nodes: tuple[str, ...]
    device: str
    why: str
    against: tuple[tuple[str, str], ...]
