"""The module: the functions of one compilation, their constants, and how they came to be.

    module {source = "3f5a...", options = ["target=x86-64-v3"]} {
      graph.func @main(%x: f32[batch, 3]) { ... }
    }

A function is an operation of some dialect (`graph.func`, `kernel.func`, `program.func`) that subclasses
`Function`.  Its block arguments are its parameters; its terminator's operands are its results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, TypeVar

from headrace.ir.access import SymbolRef
from headrace.ir.constants import ConstantStore
from headrace.ir.core import Block, BlockArgument, Operation, Region
from headrace.ir.declare import op
from headrace.ir.dims import Facts
from headrace.ir.errors import IRError, nearest
from headrace.ir.types import BufferType, Type


class Function(Operation):
    """Base of the dialects' functions.

    Each declares the fields `symbol: SymbolRef`, `body: Region` and `facts: tuple[str, ...]` (what is known of
    its dim symbols, one line each as `Facts.parse` reads them), then what is its own.
    """

    is_isolated: ClassVar[bool] = True
    is_pure: ClassVar[bool] = False

    @property
    def function_name(self) -> str:
        symbol = self.attributes["symbol"]
        assert isinstance(symbol, SymbolRef)
        return symbol.name

    @property
    def block(self) -> Block:
        return self.regions[0].block

    @property
    def parameters(self) -> tuple[BlockArgument, ...]:
        return self.block.arguments

    @property
    def result_types(self) -> tuple[Type, ...]:
        return tuple(o.type for o in self.block.terminator.operands)

    @property
    def known(self) -> Facts:
        """The facts about the dim symbols."""
        return Facts.parse(self.attributes["facts"])


class BufferFunction(Function):
    """Base of those whose parameters are buffers in space `global`, the last `outputs` of them written."""

    outputs: int

    @property
    def inputs(self) -> tuple[BlockArgument, ...]:
        """The parameters that are only read."""
        return self.parameters[: len(self.parameters) - self.outputs]

    @property
    def written(self) -> tuple[BlockArgument, ...]:
        """The parameters that are written."""
        return self.parameters[len(self.parameters) - self.outputs :]

    def check_buffer(self, parameter: BlockArgument) -> BufferType:
        """The parameter's type.  Raises VerifyError where it is no such buffer."""
        if not isinstance(parameter.type, BufferType) or parameter.type.space != "global":
            raise self.fail(f"parameter {parameter.index} is {parameter.type}, expected a buffer in space global")
        return parameter.type


F = TypeVar("F", bound=Function)


@op("builtin.module")
class Module(Operation):
    """Functions in order.  `source`: hex SHA-256 of the model; `options`: those that decide the bytes."""

    body: Region
    source: str = ""
    options: tuple[str, ...] = ()

    is_isolated: ClassVar[bool] = True
    is_pure: ClassVar[bool] = False
    __slots__ = ("_store",)

    @property
    def constants(self) -> ConstantStore:
        """The arrays that `ConstantRef`s in this module mean."""
        if not hasattr(self, "_store"):
            self._store = ConstantStore()
        return self._store

    @constants.setter
    def constants(self, store: ConstantStore) -> None:
        self._store = store

    @property
    def block(self) -> Block:
        return self.body.block

    def functions(self, kind: type[F]) -> Iterator[F]:
        """The functions of one kind, in order; the module may change behind the cursor."""
        for operation in list(self.block.operations):
            if isinstance(operation, kind):
                yield operation

    def function(self, name: str) -> Function:
        """The function `@name`.  Raises IRError with the nearest name if there is none."""
        found = {f.function_name: f for f in self.functions(Function)}
        if name not in found:
            raise IRError(f"no function @{name} in the module{nearest(name, found)}")
        return found[name]


def module_of(operation: Operation) -> Module:
    """The module that holds `operation`."""
    for above in operation.ancestors():
        if isinstance(above, Module):
            return above
    raise IRError(f"{operation.name} is in no module")
