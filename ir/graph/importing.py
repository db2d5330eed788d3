"""How an ONNX node becomes graph operations.  In: a neutral view of the node.  Out: values for its outputs.

An operation that corresponds one to one to an ONNX operator says so as data in its declaration
(`@op("graph.relu", onnx="Relu")`): operands in the same order, attributes of the same names and defaults.
Where names, defaults or versions differ, a function stands beside the operation:

    @onnx_import("Transpose")
    def _transpose(node: OnnxNode) -> Sequence[Value]:
        x = node.operand(0)
        ...
        return [node.add(Transpose(x, perm))]

`importer("Softmax", "", 11)` finds the newest function whose `since` is not above the opset.  The frontend
implements `OnnxNode`; the package `onnx` is not needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.declare import MISSING, Declaration, Field, declarations
from headrace.ir.dims import Dim
from headrace.ir.types import TensorType

Array = np.ndarray[Any, Any]
T = TypeVar("T")
ImportFunction = Callable[["OnnxNode"], Sequence[Value]]


class OnnxNode(Protocol):
    """What an import function may know of a node and do for it."""

    @property
    def name(self) -> str:
        """The node's name, or operator and number where it has none."""
        ...

    @property
    def op_type(self) -> str:
        """The operator's name."""
        ...

    @property
    def opset(self) -> int:
        """Version of the operator set of the node's domain."""
        ...

    @property
    def input_count(self) -> int:
        """Inputs up to the last given one."""
        ...

    @property
    def output_count(self) -> int:
        """Outputs up to the last named one."""
        ...

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes that the node sets."""
        ...

    def wants(self, output: int) -> bool:
        """Whether an output has a name, and so may be used."""
        ...

    def declared_rank(self, output: int) -> int | None:
        """How many dims the model says that an output has: a hint, which the run is to check; None for no word."""
        ...

    def input(self, number: int) -> Value | None:
        """An input, or None where it is left out."""
        ...

    def operand(self, number: int) -> Value:
        """An input that must be there."""
        ...

    def tensor(self, number: int) -> TensorType:
        """The type of an input that must be there."""
        ...

    def attribute(self, name: str, default: T) -> T:
        """An attribute: int, float, str, an array, or a tuple of these; `default` where it is not set."""
        ...

    def shape_value(self, number: int) -> tuple[Dim, ...] | None:
        """The integers of a small input as formulas, row-major; None where they are data or it is left out."""
        ...

    def constant(self, number: int) -> Array | None:
        """An input that is known at compile time; None where it is not or is left out."""
        ...

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front, from one that may be negative.  Raises `fail` outside of the rank."""
        ...

    def axes(self, number: int) -> tuple[int, ...] | None:
        """Axes as the attribute `axes` or as an input that is known; None where neither is given."""
        ...

    def known_numbers(self, number: int) -> tuple[int, ...] | None:
        """The integers of an input, none where it is left out; None where they are data or formulas."""
        ...

    def is_nonnegative(self, value: Dim) -> bool:
        """Whether a formula is proven to be >= 0."""
        ...

    def simplify(self, value: Dim) -> Dim:
        """An equal formula, shorter by what is known of its symbols."""
        ...

    def symbol(self, wish: str) -> str:
        """A new symbol for a dim that is data."""
        ...

    def add(self, operation: Operation) -> Value:
        """Appends an operation with one result; returns that."""
        ...

    def add_all(self, operation: Operation) -> Sequence[Value]:
        """Appends an operation with any number of results; returns these."""
        ...

    def add_constant(self, array: Array) -> Value:
        """Appends a constant."""
        ...

    def fail(self, message: str) -> Exception:
        """The error to raise where the node breaks the rules of ONNX."""
        ...

    def unsupported(self, message: str) -> Exception:
        """The error to raise where the node is right, but nothing here can express it."""
        ...


@dataclass(frozen=True, slots=True)
class Importer:
    """One way to import one operator from a version of its domain on."""

    op_type: str
    domain: str
    since: int
    run: ImportFunction


_IMPORTERS: dict[tuple[str, str, int], Importer] = {}


def onnx_import(*op_types: str, since: int = 1, domain: str = "") -> Callable[[ImportFunction], ImportFunction]:
    """Registers a function for operators of a domain, from a version on until the next registered one."""

    def register(function: ImportFunction) -> ImportFunction:
        for op_type in op_types:
            _IMPORTERS[op_type, domain, since] = Importer(op_type, domain, since, function)
        return function

    return register


def importers() -> list[Importer]:
    """All ways to import operators, by name, domain and version."""
    found = {}
    for declaration in declarations("graph"):
        for form in declaration.onnx:
            found[form.name, form.domain, form.since] = Importer(
                form.name, form.domain, form.since, _from_declaration(declaration)
            )
    found |= _IMPORTERS
    return [found[key] for key in sorted(found)]


def importer(op_type: str, domain: str, opset: int) -> Importer | None:
    """The newest way to import an operator that is not newer than `opset`."""
    fitting = [i for i in importers() if (i.op_type, i.domain) == (op_type, domain) and i.since <= opset]
    return fitting[-1] if fitting else None


def _from_declaration(declaration: Declaration) -> ImportFunction:
    def run(node: OnnxNode) -> Sequence[Value]:
        unknown = [n for n in node.attribute_names if n not in {f.name for f in declaration.attribute_fields}]
        if unknown:
            raise node.unsupported(f"attribute {unknown[0]!r} is not known")
        given: dict[str, Any] = {}
        for number, field in enumerate(declaration.operand_fields):
            given[field.name] = _operand(node, number, field)
        for field in declaration.attribute_fields:
            given[field.name] = _attribute(node, field)
        return [node.add(declaration.cls(**given))]

    return run


def _operand(node: OnnxNode, number: int, field: Field) -> Value | tuple[Value, ...] | None:
    if field.kind == "variadic":
        return tuple(node.operand(i) for i in range(number, node.input_count))
    return node.operand(number) if field.kind == "operand" else node.input(number)


def _attribute(node: OnnxNode, field: Field) -> Any:
    if field.default is MISSING and field.name not in node.attribute_names:
        raise node.fail(f"attribute {field.name!r} is missing")
    found: Any = node.attribute(field.name, field.default)
    return bool(found) if field.hint is bool else found
