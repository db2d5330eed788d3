"""Fresh names for axes and symbols: unique within a function, close to what was wished for."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.ir.core import Operation
from headrace.ir.naming import FreshNames
from headrace.ir.symbols import axes_of, formulas
from headrace.ir.types import Type


class Names(FreshNames):
    """Hands out names that no formula under `root` mentions, nor any of `types`."""

    def __init__(self, root: Operation, types: Sequence[Type] = ()) -> None:
        in_types = {s for kind in types for formula in formulas(kind) for s in formula.symbols}
        super().__init__(symbols_under(root) | in_types)


def symbols_under(root: Operation) -> set[str]:
    """Every symbol and axis name that operations in and under `root` mention, their types included."""
    found: set[str] = set()
    for operation in root.walk():
        for axis in axes_of(operation):
            found.update((axis.name, *axis.extent.symbols))
        arguments = [a.type for region in operation.regions for a in region.block.arguments]
        for held in (*operation.attributes.values(), *arguments, *(r.type for r in operation.results)):
            for formula in formulas(held):
                found.update(formula.symbols)
    return found


def version_name(axis: str, number: int) -> str:
    """What an axis is called in the version for an extent."""
    return f"{axis}_x{number}"
