"""Buffers, loads, stores and asynchronous copies of the kernel dialect.

    %t = kernel.alloc {type = buffer<f32[6, 64], register>} : buffer<f32[6, 64], register>
    %a = kernel.load %x[i, k] : f32
    %v = kernel.load %w[k, j*16] {lanes = 16} : vector<16xf32>           // lane l reads [k, j*16 + l]
    %m = kernel.load %x[i, j] mask(%p) {lanes = 16, otherwise = 0.0} : vector<16xf32>
    kernel.store %v, %y[i, j] mask(%p)
    %k = kernel.copy_async %x[i, 0], %s[0, 0] {count = 32} : token
    kernel.wait tokens(%k)
    kernel.prefetch %w[p + 1, 0, k*3]

Vector accesses step along the last dim by 1 unless `steps` gives the step of each dim per lane.  A lane whose
mask is false touches no memory, and loads `otherwise`.  Every unmasked access must lie inside the buffer.
"""

from __future__ import annotations

from headrace.ir.access import Access
from headrace.ir.core import Operation, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.types import BOOL, BufferType, TokenType, Type, element_dtype, lanes_of, with_lanes


@op("kernel.alloc")
class Alloc(Operation):
    """A buffer that lives as long as its block runs; its content is undefined until written.

    Space `register`, `stack` or `shared`; extents are constants, but for `stack` also formulas over the kernel's
    scalars: the launch brings as much scratch memory as they say.
    """

    type: BufferType

    is_pure = False

    def infer(self) -> list[Type]:
        return [self.type]

    def verify_op(self) -> None:
        if self.type.space not in ("register", "stack", "shared"):
            raise self.fail(f"space is {self.type.space}, expected register, stack or shared")
        if self.type.space != "stack" and not all(d.is_constant for d in self.type.dims):
            raise self.fail(f"{self.type} has an extent that is no constant")


class Touch(Operation):
    """Base of load and store: what both check."""

    def check(self, access: Access, mask: Value | None, lanes: int, steps: tuple[int, ...]) -> None:
        kind = access.value.type
        if not isinstance(kind, BufferType):
            raise self.fail(f"operand is {kind}, expected a buffer")
        if len(access.map.indices) != kind.rank:
            raise self.fail(f"{len(access.map.indices)} indices for {kind}")
        if access.map.otherwise is not None:
            raise self.fail("'else' belongs to structured reads; expected a mask and 'otherwise'")
        if steps and len(steps) != kind.rank:
            raise self.fail(f"{len(steps)} steps for {kind}")
        if lanes < 1 or (lanes > 1 and kind.rank == 0):
            raise self.fail(f"lanes is {lanes} for {kind}")
        if mask is not None and mask.type != with_lanes(BOOL, lanes):
            raise self.fail(f"the mask is {mask.type}, expected {with_lanes(BOOL, lanes)}")

    @property
    def lane_steps(self) -> tuple[int, ...]:
        """How far each index moves from one lane to the next."""
        steps: tuple[int, ...] = self.attributes["steps"]
        rank = next(len(o.type.dims) for o in self.operands if isinstance(o.type, BufferType))
        return steps or (0,) * (rank - 1) + (1,) if rank else ()


@op("kernel.load")
class Load(Touch):
    """Reads one element, or one per lane."""

    source: Access
    mask: Value | None = None
    lanes: int = 1
    steps: tuple[int, ...] = ()
    otherwise: float | int | bool = 0

    is_pure = False

    def infer(self) -> list[Type]:
        return [with_lanes(element_dtype(self.source.value.type), self.lanes)]

    def verify_op(self) -> None:
        self.check(self.source, self.mask, self.lanes, self.steps)


@op("kernel.store")
class Store(Touch):
    """Writes one element, or one per lane."""

    value: Value
    target: Access
    mask: Value | None = None
    steps: tuple[int, ...] = ()

    is_pure = False

    @property
    def lanes(self) -> int:
        return lanes_of(self.value.type)

    def verify_op(self) -> None:
        self.check(self.target, self.mask, self.lanes, self.steps)
        if element_dtype(self.value.type) != element_dtype(self.target.value.type):
            raise self.fail(f"stores {self.value.type} into {self.target.value.type}")


@op("kernel.copy_async")
class CopyAsync(Operation):
    """Starts copying `count` elements, consecutive along the last dim on both sides.

    The source must not change and the target not be touched until the token was waited for, and other threads
    see the target only after a barrier behind that wait.
    """

    source: Access
    target: Access
    count: Dim

    is_pure = False

    def infer(self) -> list[Type]:
        return [TokenType()]

    def verify_op(self) -> None:
        if element_dtype(self.source.value.type) != element_dtype(self.target.value.type):
            raise self.fail(f"copies {self.source.value.type} to {self.target.value.type}")


@op("kernel.wait")
class Wait(Operation):
    """Returns when the copies behind the tokens are done."""

    tokens: tuple[Value, ...]

    is_pure = False

    def verify_op(self) -> None:
        for token in self.tokens:
            if not isinstance(token.type, TokenType):
                raise self.fail(f"waits for {token.type}, expected a token")


@op("kernel.prefetch")
class Prefetch(Operation):
    """Says that the element will be read soon: moves its cache line to the second level, and changes nothing.

    Indices may lie outside the buffer: what counts is the address that they stand for.
    """

    source: Access

    is_pure = False

    def verify_op(self) -> None:
        kind = self.source.value.type
        if not isinstance(kind, BufferType) or kind.space == "register":
            raise self.fail(f"operand is {kind}, expected a buffer in memory")
        if len(self.source.map.indices) != kind.rank:
            raise self.fail(f"{len(self.source.map.indices)} indices for {kind}")
