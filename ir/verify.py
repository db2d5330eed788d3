"""The verifier: whether a module keeps the rules that every pass may rely on.

In: an operation with everything inside it, mostly a module.  Out: nothing, or a VerifyError that names the
function, the operation and its ONNX node.  Checked are

    structure   owners and parents agree, terminators stand at the end only, uses are registered on both sides
    values      every operand is defined above its user and visible from there (isolated regions see nothing)
    fields      attributes have their declared types, result types are those that `infer` gives
    the rest    `verify_op` of each operation
    names       functions are named once, `@name` means one of them
    symbols     formulas mention only what is known where they stand (headrace.ir.symbols)
    calls       functions are given what they take (headrace.ir.graph.calls)
    aliases     a launch gives one buffer twice only where its kernel allows that (headrace.ir.program.aliases)
"""

from __future__ import annotations

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Operation, Value
from headrace.ir.declare import declaration_of, segments_of
from headrace.ir.errors import VerifyError, nearest
from headrace.ir.graph.calls import check_calls
from headrace.ir.module import Function, Module
from headrace.ir.program.aliases import check_aliases
from headrace.ir.symbols import check_symbols
from headrace.ir.text.values import describe, matches, write_symbol


def verify(operation: Operation) -> None:
    """Checks an operation and all inside it.  Raises VerifyError for the first rule broken."""
    if isinstance(operation, Module):
        _check_functions(operation)
        for function in operation.block.operations:
            _verify_tree(function, set())
        check_calls(operation)
        check_aliases(operation)
        _check_local(operation)
    else:
        _verify_tree(operation, set(operation.operands))


def _verify_tree(operation: Operation, visible: set[Value]) -> None:
    try:
        _check(operation, visible)
        if isinstance(operation, Function):
            check_symbols(operation)
    except VerifyError as error:
        if isinstance(operation, Function):
            raise _inside(operation, error) from None
        raise


def _check(operation: Operation, visible: set[Value]) -> None:
    """Operation, operands, then regions, then what the declaration says of all of them together."""
    _check_operands(operation, visible)
    inside: set[Value] = set() if operation.is_isolated else visible
    for region in operation.regions:
        if region.parent is not operation or region.block.parent is not region:
            raise operation.fail("a region is owned by another operation")
        _check_block(operation, region.block, inside)
    _check_local(operation)


def _check_operands(operation: Operation, visible: set[Value]) -> None:
    for number, value in enumerate(operation.operands):
        if value not in visible:
            raise operation.fail(f"operand {number}{_name(value)} is {_why_invisible(operation, value)}")
        if (operation, number) not in value.uses:
            raise operation.fail(f"operand {number}{_name(value)} does not know this use")


def _why_invisible(operation: Operation, value: Value) -> str:
    block = value.owner if isinstance(value.owner, Block) else value.owner.parent
    if block is None:
        return "the result of an operation that was removed"
    above = [a.parent for a in operation.ancestors()]
    if block is operation.parent or block in above:
        isolated = next((a for a in operation.ancestors() if a.is_isolated), None)
        inside = operation.parent is block if isolated is None else _holds(isolated, block)
        return "defined below its use" if inside else "defined outside of the function or cluster"
    return "defined in a region that is closed here"


def _holds(operation: Operation, block: Block) -> bool:
    """Whether `block` is a region of `operation` or lies inside one."""
    owner = block.parent.parent if block.parent is not None else None
    return owner is not None and (owner is operation or operation in owner.ancestors())


def _check_block(owner: Operation, block: Block, visible: set[Value]) -> None:
    """The operations in order; what they define is taken out of `visible` again at the end."""
    defined: list[Value] = []
    for number, argument in enumerate(block.arguments):
        if argument.block is not block or argument.index != number:
            raise owner.fail(f"argument {number}{_name(argument)} belongs to another block")
        _check_uses(owner, argument)
        defined.append(argument)
    visible.update(defined)
    for position, operation in enumerate(block.operations):
        if operation.parent is not block:
            raise operation.fail("stands in a block that is not its parent")
        if operation.is_terminator and position != len(block.operations) - 1:
            raise operation.fail("ends a block, but operations follow")
        _verify_tree(operation, visible)
        visible.update(operation.results)
        defined.extend(operation.results)
    visible.difference_update(defined)


def _check_uses(operation: Operation, value: Value) -> None:
    for user, number in value.uses:
        if number >= len(user.operands) or user.operands[number] is not value:
            raise operation.fail(f"{user.name} is noted as a user of {_called(value)}, but does not use it")
        if user.parent is None:
            raise operation.fail(f"{user.name} uses {_called(value)}, but was removed")


def _check_local(operation: Operation) -> None:
    """What needs no neighbours: fields, result types, `verify_op`."""
    declaration = declaration_of(operation)
    for field in declaration.attribute_fields:
        value = operation.attributes.get(field.name)
        if not matches(value, field.hint):
            raise operation.fail(f"{field.name} is {value!r}, expected {describe(field.hint)}")
    expected = sum(segments_of(operation))
    if expected != len(operation.operands):
        raise operation.fail(f"has {len(operation.operands)} operands, but its groups say {expected}")
    for number, result in enumerate(operation.results):
        if result.operation is not operation or result.index != number:
            raise operation.fail(f"result {number}{_name(result)} belongs to another operation")
        _check_uses(operation, result)
    try:
        inferred = list(operation.infer())
        if [r.type for r in operation.results] == inferred:
            operation.verify_op()
    except VerifyError as error:
        # The core's own errors (a missing terminator) do not know whose block it is.
        raise error if str(error).startswith(operation.name) else operation.fail(str(error)) from None
    if [r.type for r in operation.results] != inferred:
        found = ", ".join(str(r.type) for r in operation.results) or "nothing"
        raise operation.fail(f"gives {found}, expected {', '.join(map(str, inferred)) or 'nothing'}")


def _check_functions(module: Module) -> None:
    names: dict[str, Function] = {}
    for operation in module.block.operations:
        if not isinstance(operation, Function):
            raise operation.fail("stands in the module, expected a function")
        if operation.function_name in names:
            raise operation.fail(f"{write_symbol(operation.function_name)} is the name of two functions")
        names[operation.function_name] = operation
    for function in names.values():
        _check_references(function, names)


def _check_references(function: Function, names: dict[str, Function]) -> None:
    for operation in function.walk():
        for key, value in operation.attributes.items():
            if isinstance(value, SymbolRef) and operation is not function and value.name not in names:
                message = f"{key} is {value}, which is no function{nearest(value.name, names)}"
                raise _inside(function, operation.fail(message))


def _inside(function: Function, error: VerifyError) -> VerifyError:
    return VerifyError(f"{write_symbol(function.function_name)}: {error}")


def _called(value: Value) -> str:
    return "a value" if value.hint is None else f"%{value.hint}"


def _name(value: Value) -> str:
    return "" if value.hint is None else f" (%{value.hint})"
