"""Builder and rewriter: the only ways to change the IR.

`Builder` inserts new operations at a point and gives them a location.  `Rewriter` adds replacement,
removal and motion, keeps uses right, and remembers whether anything changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from headrace.ir.core import UNKNOWN, Block, Location, Operation, Value

Op = TypeVar("Op", bound=Operation)


class Builder:
    """Inserts operations before `anchor` in `block`, or at its end where `anchor` is None."""

    def __init__(self, block: Block, anchor: Operation | None = None, location: Location = UNKNOWN) -> None:
        self.block = block
        self.anchor = anchor
        self.location = location

    def add(self, operation: Op, hint: str | None = None) -> Op:
        """Inserts a new operation; `hint` names its first result in text.  Returns the operation."""
        position = len(self.block.operations) if self.anchor is None else self.block.position(self.anchor)
        self.block.insert(position, operation)
        if operation.location is UNKNOWN:
            operation.location = self.location
        if hint is not None and operation.results:
            operation.results[0].hint = hint
        return operation

    @contextmanager
    def at(self, block: Block, anchor: Operation | None = None) -> Iterator[None]:
        """Moves the insertion point for the time of a `with` block."""
        before = self.block, self.anchor
        self.block, self.anchor = block, anchor
        try:
            yield
        finally:
            self.block, self.anchor = before


class Rewriter:
    """Changes a tree of operations; `changed` tells whether it did."""

    def __init__(self) -> None:
        self.changed = False

    def before(self, operation: Operation) -> Builder:
        """A builder right before `operation`, with its location; what it inserts counts as a change."""
        assert operation.parent is not None
        self.changed = True
        return Builder(operation.parent, operation, operation.location)

    def after(self, operation: Operation) -> Builder:
        """A builder right after `operation`, with its location."""
        block = operation.parent
        assert block is not None
        self.changed = True
        position = block.position(operation) + 1
        follower = block.operations[position] if position < len(block.operations) else None
        return Builder(block, follower, operation.location)

    def end_of(self, block: Block, location: Location = UNKNOWN) -> Builder:
        """A builder at the end of `block`."""
        self.changed = True
        return Builder(block, None, location)

    def replace_uses(self, old: Value, new: Value) -> None:
        """Every user of `old` uses `new` instead."""
        for user, number in list(old.uses):
            self.set_operand(user, number, new)

    def replace(self, operation: Operation, values: Sequence[Value]) -> None:
        """Users of the results use `values` instead; the operation goes away."""
        for old, new in zip(operation.results, values, strict=True):
            if new.hint is None:
                new.hint = old.hint
            self.replace_uses(old, new)
        self.erase(operation)

    def replace_with(self, operation: Operation, new: Op) -> Op:
        """Puts a new operation in the place of an old one, result for result; keeps the location."""
        self.before(operation).add(new)
        self.replace(operation, new.results)
        return new

    def erase(self, operation: Operation) -> None:
        """Removes an operation that has no users."""
        assert operation.parent is not None
        self.changed = True
        operation.parent.remove(operation)
        operation.drop()

    def set_operand(self, operation: Operation, number: int, value: Value) -> None:
        self.changed = True
        operands = list(operation.operands)
        operands[number] = value
        operation.set_operands(operands)

    def set_attribute(self, operation: Operation, name: str, value: object) -> None:
        """Sets a declared attribute.  The caller sees to it that the result types still hold."""
        assert name in operation.attributes, f"{operation.name} has no attribute {name!r}"
        self.changed = True
        operation.attributes[name] = value

    def move_before(self, operation: Operation, anchor: Operation) -> None:
        """Moves an operation, with its regions, to right before `anchor`."""
        assert operation.parent is not None and anchor.parent is not None
        self.changed = True
        operation.parent.remove(operation)
        anchor.parent.insert(anchor.parent.position(anchor), operation)
