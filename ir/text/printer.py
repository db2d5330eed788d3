"""Operations to text.  In: an operation and all inside it.  Out: `.hir` lines that parse back to the same.

A value is called by its hint where it has one, else by a number; both are unique within an isolated operation
(a function, a cluster).  Attributes that equal their default are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from headrace.ir.access import Access, Axis
from headrace.ir.constants import ConstantStore
from headrace.ir.core import Operation, Region, Value, attributes_equal
from headrace.ir.declare import MISSING, Declaration, Field, declaration_of
from headrace.ir.module import Function, Module
from headrace.ir.naming import FreshNames
from headrace.ir.text.values import write_access, write_string, write_symbol, write_value

INDENT = "  "

# Names of an only list of operands that tell nothing: it is printed without.
UNTOLD = ("values", "xs")


def print_op(operation: Operation) -> str:
    """The text of an operation, ending in a line break.  Operands from outside of it get names as well."""
    above = (
        operation
        if isinstance(operation, Module)
        else next((a for a in operation.ancestors() if isinstance(a, Module)), None)
    )
    printer = _Printer(None if above is None else above.constants)
    return "\n".join(printer.lines(operation, _Names(), "")) + "\n"


def label_of(declaration: Declaration, field: Field) -> str | None:
    """The word before a region: none where it is the only one, or `then`; `else` for `otherwise`."""
    if len(declaration.region_fields) == 1 or field.name == "then":
        return None
    return "else" if field.name == "otherwise" else field.name


def is_one_list(declaration: Declaration) -> bool:
    """Whether the operands are one list of any length, which may stand without its name."""
    return [f.kind for f in declaration.operand_fields] == ["variadic"]


def axes_field(declaration: Declaration) -> Field | None:
    """The field that stands in parentheses behind the operation's name."""
    return next((f for f in declaration.attribute_fields if f.hint == tuple[Axis, ...]), None)


class _Names:
    """The names of one isolated operation's values."""

    def __init__(self) -> None:
        self._of: dict[Value, str] = {}
        self._named = FreshNames()
        self._numbered = 0

    def __call__(self, value: Value) -> str:
        """The name of a value; it gets one when it is first asked for, which is where it is defined."""
        name = self._of.get(value)
        if name is None:
            name = self._of[value] = f"%{self._fresh(value.hint)}"
        return name

    def _fresh(self, hint: str | None) -> str:
        wish = re.sub(r"\W", "_", hint or "", flags=re.ASCII)
        if not wish or wish.isdigit():
            self._numbered += 1
            return str(self._numbered - 1)
        if wish[0].isdigit():
            wish = f"_{wish}"
        return self._named.fresh(wish)


class _Printer:
    def __init__(self, constants: ConstantStore | None) -> None:
        self.constants = constants

    def lines(self, operation: Operation, names: _Names, indent: str) -> Iterator[str]:
        declaration = declaration_of(operation)
        inside = _Names() if operation.is_isolated else names
        head = indent + " ".join(self._head(operation, declaration, names, inside))
        shown = [f for f in declaration.region_fields if not _is_left_out(operation, f)]
        if len(shown) > 1 and label_of(declaration, shown[0]) is not None:
            yield head
            for field in shown:
                start = f"{indent}{INDENT}{label_of(declaration, field)} {{"
                yield from self._region(getattr(operation, field.name), start, inside, indent + INDENT)
                yield f"{indent}{INDENT}}}"
            ending = "".join(self._ending(operation))
            if ending:
                yield f"{indent}{INDENT}{ending.lstrip()}"
            return
        for field in shown:
            label = label_of(declaration, field)
            start = f"{head} {{" if label is None else f"{head} {label} {{"
            yield from self._region(getattr(operation, field.name), start, inside, indent)
            head = f"{indent}}}"
        yield head + "".join(self._ending(operation))

    def _region(self, region: Region, start: str, names: _Names, indent: str) -> Iterator[str]:
        """A region without its closing brace; a function's arguments stand in its head."""
        yield start
        block = region.block
        if block.arguments and not isinstance(region.parent, Function):
            yield f"{indent}^({self._parameters(block.arguments, names)}):"
        for operation in block.operations:
            yield from self.lines(operation, names, indent + INDENT)

    def _head(self, operation: Operation, declaration: Declaration, names: _Names, inside: _Names) -> Iterator[str]:
        """Everything before the regions, word by word."""
        operands = list(self._operands(operation, declaration, names))  # named before the results are
        results = ", ".join(names(r) for r in operation.results)
        if results:
            yield f"{results} ="
        yield "module" if isinstance(operation, Module) else operation.name
        if isinstance(operation, Function):
            yield f"{write_symbol(operation.function_name)}({self._parameters(operation.parameters, inside)})"
        axes = axes_field(declaration)
        if axes is not None and not _is_default(operation, axes):
            yield f"({', '.join(str(a) for a in operation.attributes[axes.name])})"
        yield from operands
        yield from self._attributes(operation, declaration)

    def _parameters(self, values: Sequence[Value], names: _Names) -> str:
        return ", ".join(f"{names(v)}: {v.type}" for v in values)

    def _operands(self, operation: Operation, declaration: Declaration, names: _Names) -> Iterator[str]:
        fields = declaration.operand_fields
        fixed = [self._operand(getattr(operation, f.name), names) for f in fields if not f.is_group]
        if fixed:
            yield ", ".join(fixed)
        for field in fields:
            if not field.is_group:
                continue
            group = getattr(operation, field.name)
            members = (() if group is None else (group,)) if field.kind == "optional" else group
            if members:
                listed = ", ".join(self._operand(m, names) for m in members)
                bare = is_one_list(declaration) and field.name in UNTOLD
                yield listed if bare else f"{field.name}({listed})"

    def _operand(self, operand: Value | Access, names: _Names) -> str:
        return write_access(names(operand.value), operand.map) if isinstance(operand, Access) else names(operand)

    def _attributes(self, operation: Operation, declaration: Declaration) -> Iterator[str]:
        apart = axes_field(declaration)
        shown = [
            f"{field.name} = {write_value(operation.attributes[field.name], field.hint, self.constants)}"
            for field in declaration.attribute_fields
            if field is not apart
            and not (isinstance(operation, Function) and field.name == "symbol")
            and not _is_default(operation, field)
        ]
        if shown:
            yield f"{{{', '.join(shown)}}}"

    def _ending(self, operation: Operation) -> Iterator[str]:
        if operation.results:
            yield f" : {', '.join(str(r.type) for r in operation.results)}"
        if operation.location.nodes:
            yield f" loc({', '.join(write_string(n) for n in operation.location.nodes)})"


def _is_default(operation: Operation, field: Field) -> bool:
    if field.default is MISSING:
        return False
    return attributes_equal({"": operation.attributes[field.name]}, {"": field.default})


def _is_left_out(operation: Operation, field: Field) -> bool:
    """An `else` without operations is not printed."""
    block = getattr(operation, field.name).block
    return field.name == "otherwise" and not block.arguments and not block.operations
