"""What a pass is: a declared object with a name, typed options, and what it does to numbers.

A pass lives in a file of its own below `passes/`; `passes/graph/fold_constants.py` is
`graph.fold-constants`.  Its class is the only public `Pass` subclass of the file, a frozen dataclass whose
fields are its options (`graph.fuse{max-ops=32}` sets `max_ops`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from headrace.ir.facts import Device, Placement, Schedule, TargetFacts
from headrace.ir.module import Module
from headrace.ir.rewrite import Rewriter

# exact: same bits; reorders: sums in another order, fused multiply-adds; approximates: within a stated bound.
Effect = Literal["exact", "reorders", "approximates"]


@dataclass(slots=True)
class PassContext:
    """What a pass may ask: the target's facts and its schedule, the numerics mode."""

    facts: TargetFacts | None = None
    schedule: Schedule | None = None
    strict: bool = False  # no reordering, no contraction
    devices: tuple[Device, ...] = ()  # beside the one that `facts` tell of, the most preferred first
    placements: list[Placement] = field(default_factory=list)  # what graph.partition decided
    notes: list[str] = field(default_factory=list)  # lines for the compile report, in order


class Pass(ABC):
    """Base of all passes."""

    name: ClassVar[str] = ""  # set from the file's place when the pass is loaded
    summary: ClassVar[str]  # one line for `headrace opt --list-passes`
    effect: ClassVar[Effect] = "exact"
    bound_ulp: ClassVar[float] = 0.0  # of a pass that approximates: how far off one function value may be

    @abstractmethod
    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        """Transforms valid IR into valid IR; whether it did anything is in `rewriter.changed`."""


class Expanding(Pass):
    """A pass that says which passes to run in its place, once it has seen the module.

    The pass manager runs these one by one, so that each is timed, printed and verified on its own.
    """

    @abstractmethod
    def expand(self, module: Module, context: PassContext) -> Sequence[str]:
        """The pipeline text of each pass to run, in order."""

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        """Nothing: the pass manager runs the expansion."""
