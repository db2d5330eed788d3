"""The core of the IR: operations, values, blocks, regions.  MLIR's nouns, in slim Python objects.

An `Operation` takes operands, has attributes and regions, and defines results.  A `Region` holds one
`Block` (structured control flow only), a block holds operations in order and may have arguments.  Every
`Value` is an operation's result or a block's argument and knows its uses.

Operations are subclasses made by the `@op` decorator of `headrace.ir.declare`; nothing here knows a
particular one.  Constructing an operation registers it as a user of its operands; an operation that is
given up must be erased.  All changes to an operation already in a block go through `headrace.ir.rewrite`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from headrace.ir.errors import VerifyError
from headrace.ir.types import Type


@dataclass(frozen=True, slots=True)
class Location:
    """Where an operation comes from: the names of the ONNX nodes it computes, in model order."""

    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(repr(n) for n in self.nodes) or "unknown"

    @staticmethod
    def fused(parts: Iterable[Location]) -> Location:
        """One location for what several operations became; keeps the first mention of each node."""
        return Location(tuple(dict.fromkeys(node for part in parts for node in part.nodes)))


UNKNOWN = Location()
NEAR = 64  # places on either side of where an operation stood, in which it is looked for first


class Value:
    """Something an operation can use.  `hint` is the wish for a name in text; it means nothing."""

    __slots__ = ("hint", "type", "uses")

    type: Type
    hint: str | None
    uses: dict[tuple[Operation, int], None]  # (user, operand number), in order of registration

    def __init__(self, type: Type, hint: str | None = None) -> None:
        self.type = type
        self.hint = hint
        self.uses = {}

    @property
    def users(self) -> list[Operation]:
        """The operations that use it, each once, in order of registration."""
        return list(dict.fromkeys(user for user, _ in self.uses))

    @property
    def owner(self) -> Operation | Block:
        raise NotImplementedError


class OpResult(Value):
    """Result number `index` of `operation`."""

    __slots__ = ("index", "operation")

    def __init__(self, operation: Operation, index: int, type: Type, hint: str | None = None) -> None:
        super().__init__(type, hint)
        self.operation = operation
        self.index = index

    @property
    def owner(self) -> Operation:
        return self.operation


class BlockArgument(Value):
    """Argument number `index` of `block`."""

    __slots__ = ("block", "index")

    def __init__(self, block: Block, index: int, type: Type, hint: str | None = None) -> None:
        super().__init__(type, hint)
        self.block = block
        self.index = index

    @property
    def owner(self) -> Block:
        return self.block


class _SlotsEverywhere(type):
    """Gives every operation class `__slots__ = ()`, so that a declaration needs no boilerplate."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any) -> type:
        namespace.setdefault("__slots__", ())
        return super().__new__(cls, name, bases, namespace, **keywords)


class Operation(metaclass=_SlotsEverywhere):
    """One step of a program.

    A declared subclass has typed fields that read `operands`, `attributes` and `regions`, and may override
    `infer` (types of the results), `verify_op` (what types alone do not say) and the traits below.
    """

    __slots__ = ("_stood", "attributes", "location", "operands", "parent", "regions", "results")

    name: ClassVar[str] = ""  # "dialect.op", set by @op
    is_terminator: ClassVar[bool] = False  # ends its block
    is_isolated: ClassVar[bool] = False  # its regions see no value from outside (functions, modules)
    is_pure: ClassVar[bool] = True  # no effect but its results: may be removed if unused, merged if equal

    operands: tuple[Value, ...]
    attributes: dict[str, Any]
    regions: tuple[Region, ...]
    results: tuple[OpResult, ...]
    location: Location
    parent: Block | None
    _stood: int  # where it stood in its block when it was last looked for

    def infer(self) -> Sequence[Type]:
        """Types of the results, from operands, attributes and regions.  Raises VerifyError if impossible."""
        return ()

    def verify_op(self) -> None:
        """Raises VerifyError where operands, attributes or regions do not fit together."""

    @property
    def result(self) -> OpResult:
        """The only result."""
        assert len(self.results) == 1, f"{self.name} has {len(self.results)} results"
        return self.results[0]

    @property
    def parent_op(self) -> Operation | None:
        """The operation whose region holds this one."""
        return self.parent.parent.parent if self.parent is not None and self.parent.parent is not None else None

    def ancestors(self) -> Iterator[Operation]:
        """The enclosing operations, innermost first."""
        above = self.parent_op
        while above is not None:
            yield above
            above = above.parent_op

    def walk(self) -> Iterator[Operation]:
        """This operation and all inside it, each before its regions; the tree may change behind the cursor."""
        yield self
        for region in self.regions:
            for inner in list(region.block.operations):
                yield from inner.walk()

    def fail(self, message: str) -> VerifyError:
        """The error to raise about this operation: place, then `message`."""
        where = f"{self.name}" + (f" (node {self.location})" if self.location.nodes else "")
        return VerifyError(f"{where}: {message}")

    def set_operands(self, operands: Sequence[Value]) -> None:
        """Replaces all operands and keeps the uses right.  For the rewriter and for constructors."""
        for number, value in enumerate(self.operands):
            del value.uses[self, number]
        self.operands = tuple(operands)
        for number, value in enumerate(self.operands):
            value.uses[self, number] = None

    def drop(self) -> None:
        """Lets go of operands and regions of an operation that nobody uses and that is in no block."""
        assert self.parent is None and not any(r.uses for r in self.results), f"{self.name} is still used"
        for inner in self.walk():
            inner.set_operands(())  # all of them first: an inner region uses values of the regions around it
        for region in self.regions:
            for inner in list(region.block.operations):
                inner.parent = None
                inner.drop()
            region.block.operations.clear()

    def clone(self, values: dict[Value, Value] | None = None) -> Operation:
        """A detached deep copy; operands are looked up in `values`, and results are added to it."""
        values = {} if values is None else values
        copy: Operation = object.__new__(type(self))
        copy.operands = ()
        copy.attributes = dict(self.attributes)
        copy.location = self.location
        copy.parent = None
        copy.results = tuple(OpResult(copy, r.index, r.type, r.hint) for r in self.results)
        copy.regions = ()
        copy.set_operands([values.get(o, o) for o in self.operands])
        copy.regions = tuple(region.clone(values) for region in self.regions)
        for region in copy.regions:
            region.parent = copy
        for old, new in zip(self.results, copy.results, strict=True):
            values[old] = new
        return copy

    def __repr__(self) -> str:
        return f"<{self.name} at {self.location}>"


class Block:
    """Operations in order, with arguments.  The last one may be a terminator."""

    __slots__ = ("_moved", "arguments", "operations", "parent")

    arguments: tuple[BlockArgument, ...]
    operations: list[Operation]
    parent: Region | None

    def __init__(self, argument_types: Iterable[Type] = (), hints: Iterable[str | None] | None = None) -> None:
        types = list(argument_types)
        names = list(hints) if hints is not None else [None] * len(types)
        self.arguments = tuple(BlockArgument(self, i, t, h) for i, (t, h) in enumerate(zip(types, names, strict=True)))
        self.operations = []
        self.parent = None
        self._moved = 0

    @property
    def terminator(self) -> Operation:
        """The last operation.  Raises VerifyError if it is no terminator."""
        if not self.operations or not self.operations[-1].is_terminator:
            raise VerifyError("a block has no terminator where one is needed")
        return self.operations[-1]

    @property
    def body(self) -> list[Operation]:
        """The operations before the terminator, if there is one."""
        ends = bool(self.operations) and self.operations[-1].is_terminator
        return self.operations[:-1] if ends else list(self.operations)

    def add_argument(self, type: Type, hint: str | None = None) -> BlockArgument:
        argument = BlockArgument(self, len(self.arguments), type, hint)
        self.arguments = (*self.arguments, argument)
        return argument

    def insert(self, position: int, operation: Operation) -> None:
        """Puts a detached operation at `position`.  For builder and rewriter."""
        assert operation.parent is None, f"{operation.name} is in a block already"
        operation.parent = self
        operation._stood = position
        self.operations.insert(position, operation)

    def remove(self, operation: Operation) -> None:
        """Takes an operation out and leaves it detached.  For the rewriter."""
        del self.operations[self.position(operation)]
        operation.parent = None

    def position(self, operation: Operation) -> int:
        """Where in the block an operation stands.

        It is looked for where it was last, and as far from there as another had moved, which is right for a pass
        that inserts or removes on its way down: long blocks cost no more than short ones.
        """
        assert operation.parent is self, f"{operation.name} is in another block"
        for moved in (0, self._moved):
            near = max(0, operation._stood + moved - NEAR)
            try:
                place = self.operations.index(operation, near, near + 2 * NEAR)
            except ValueError:
                continue
            self._moved = max(self._moved, place - operation._stood, key=abs)
            operation._stood = place
            return place
        for place, other in enumerate(self.operations):
            other._stood = place
        self._moved = 0
        return operation._stood


class Region:
    """One block, owned by an operation."""

    __slots__ = ("block", "parent")

    block: Block
    parent: Operation | None

    def __init__(self, block: Block | None = None) -> None:
        self.block = block if block is not None else Block()
        self.block.parent = self
        self.parent = None

    def clone(self, values: dict[Value, Value]) -> Region:
        block = Block([a.type for a in self.block.arguments], [a.hint for a in self.block.arguments])
        values.update(zip(self.block.arguments, block.arguments, strict=True))
        for operation in self.block.operations:
            block.insert(len(block.operations), operation.clone(values))
        return Region(block)


Op = TypeVar("Op", bound=Operation)


def producer(value: Value, kind: type[Op]) -> Op | None:
    """The operation that makes `value`, if it is a `kind`."""
    if isinstance(value, OpResult) and isinstance(value.operation, kind):
        return value.operation
    return None


def walk(root: Operation, kind: type[Op]) -> Iterator[Op]:
    """All operations of one class in and under `root`."""
    for operation in root.walk():
        if isinstance(operation, kind):
            yield operation


def contains(root: Operation, kind: type[Operation]) -> bool:
    """Whether `root` is an operation of one class, or has one inside."""
    return any(isinstance(operation, kind) for operation in root.walk())


def attributes_key(attributes: Mapping[str, Any]) -> Hashable:
    """What is equal for equal attributes; tells 0.0 from -0.0, 1 from 1.0 and True, and lets NaN equal itself."""
    return frozenset((name, _key(value)) for name, value in attributes.items())


def attributes_equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equality by `attributes_key`."""
    return attributes_key(a) == attributes_key(b)


def _key(value: Any) -> Hashable:
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, tuple):
        return tuple(_key(v) for v in value)
    return (type(value).__name__, value)
