"""Fresh axis names: unique within a kernel, close to what was wished for."""

from __future__ import annotations

from headrace.ir.access import AccessMap, Axis
from headrace.ir.core import Operation
from headrace.ir.dims import Dim
from headrace.ir.types import BufferType, TensorType


class Names:
    """Hands out names that no formula under `root` mentions."""

    def __init__(self, root: Operation) -> None:
        self.taken = symbols_under(root)

    def fresh(self, wish: str) -> str:
        """`wish`, or the first of wish_1, wish_2, ... that is free."""
        name, number = wish, 0
        while name in self.taken:
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        return name


def symbols_under(root: Operation) -> set[str]:
    """Every symbol and axis name that operations in and under `root` mention, their types included."""
    found: set[str] = set()
    for operation in root.walk():
        for attribute in operation.attributes.values():
            collect_symbols(attribute, found)
        for region in operation.regions:
            for argument in region.block.arguments:
                collect_symbols(argument.type, found)
        for result in operation.results:
            collect_symbols(result.type, found)
    return found


def collect_symbols(attribute: object, found: set[str]) -> None:
    """Adds the symbols of one attribute value or type."""
    match attribute:
        case Dim():
            found.update(attribute.symbols)
        case Axis():
            found.add(attribute.name)
            found.update(attribute.extent.symbols)
        case AccessMap():
            collect_symbols(attribute.indices, found)
        case BufferType():
            collect_symbols(attribute.dims, found)
            collect_symbols(attribute.strides, found)
        case TensorType():
            collect_symbols(attribute.dims, found)
        case tuple():
            for part in attribute:
                collect_symbols(part, found)
