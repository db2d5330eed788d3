"""kernel.mma: a product of two tiles of matrices, added to a third; what one step of a matrix unit does.

    kernel.mma (i: parallel 16, j: parallel 64, k: reduction 16) %x[i0*16 + i, k], %w[k, j], %acc[i, j]
    kernel.mma (i: parallel 16, j: parallel 8, k: reduction 16) %x[k, i], %w[j*2, k] else 0.0, %acc[j, i]
    kernel.mma (i: parallel 16, j: parallel 64, k: reduction 16) %x[i, k], %w[k, j], %acc[i, j]
        {where = [n - 1 - k0*16 - k]}

    into[i, j] += sum over k of lhs[i, k] * rhs[k, j]

The axes are the tile's rows, its columns and its depth, in this order; their extents are constants.  Each operand moves
in steps along its own two axes and not along the third, so transposed, strided and repeated tiles are said by the index
maps.  `lhs` and `rhs` may have an `else`, as reads of a map may, and lie in other buffers than `into`.  Formulas may
mention the loops around; `where`, the depth besides: a term exists only if each of its formulas is >= 0, and nothing is
read for one that does not.

    operands                               accumulator    a product is
    f32 * f32                              f32            rounded to f32, or fused with the addition
    f16 * f16, bf16 * bf16                 f32            exact, as far as f32 reaches
    i8 * i8, u8 * u8, i8 * u8, u8 * i8     i32            exact; sums wrap

The order of the sum is free, what `into` held before being one of its terms, and no partial sum is kept in less than
the accumulator's type.  The interpreter adds one term after the other.

Threads that drive a matrix unit together, a warp say, count as one thread of this dialect, of which the emitter makes
as many as it needs: its register buffers lie in the registers of all of them, in the order that the unit wants.

The operation stands in both tiers: no schedule cuts its axes, and `kernel.realize` leaves it to the emitter.  Where a
machine has no such unit, `kernel.expand-mma` makes a map of it.
"""

from __future__ import annotations

from headrace.ir.access import Access, Axis
from headrace.ir.core import Operation
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.types import BF16, F16, F32, I8, I32, U8, BufferType, DType, element_dtype

KINDS = ("parallel", "parallel", "reduction")
Sides = tuple[Axis, Axis]


@op("kernel.mma")
class Mma(Operation):
    """`into` plus the product of `lhs` and `rhs`."""

    axes: tuple[Axis, ...]
    lhs: Access
    rhs: Access
    into: Access
    where: tuple[Dim, ...] = ()

    is_pure = False

    @property
    def tiles(self) -> tuple[tuple[Access, Sides], ...]:
        """`lhs`, `rhs` and `into`, each with the two axes along which it moves: of its rows and of its columns."""
        rows, columns, depth = self.axes
        return (self.lhs, (rows, depth)), (self.rhs, (depth, columns)), (self.into, (rows, columns))

    def verify_op(self) -> None:
        if tuple(a.kind for a in self.axes) != KINDS:
            found = ", ".join(f"{a.name}: {a.kind}" for a in self.axes)
            raise self.fail(f"axes are {found}; expected rows and columns, which are parallel, and a reduction")
        for axis in self.axes:
            if not axis.extent.is_constant or axis.extent.value < 1:
                raise self.fail(f"axis {axis.name} has the extent {axis.extent}, expected a constant of 1 or more")
        for name, (access, sides) in zip(("lhs", "rhs", "into"), self.tiles, strict=True):
            self._check_tile(name, access, {a.name for a in sides})
        if self.into.value in (self.lhs.value, self.rhs.value):
            raise self.fail("writes into what it multiplies, expected another buffer")
        if self.into.map.otherwise is not None:
            raise self.fail("'else' belongs to what is read only, but into is written")
        results = {a.name for a in self.axes[:2]} & {s for c in self.where for s in c.symbols}
        if results:
            raise self.fail(f"where mentions {min(results)}, but only terms of sums may be missing, not results")
        self._check_types()

    def _check_tile(self, name: str, access: Access, own: set[str]) -> None:
        kind = access.value.type
        if not isinstance(kind, BufferType):
            raise self.fail(f"{name} is {kind}, expected a buffer")
        if kind.rank != len(access.map.indices):
            raise self.fail(f"{name} has {len(access.map.indices)} indices for {kind}")
        tile = {a.name for a in self.axes}
        for index in access.map.indices:
            other = tile & set(index.symbols) - own
            if other:
                raise self.fail(f"{name} moves along {min(other)}, expected {' and '.join(sorted(own))} alone")
            for axis in sorted(own):
                split = index.linear(axis)
                if split is None or tile & set(split[0].symbols):
                    raise self.fail(f"{name} does not move in steps along {axis}: its index is {index}")

    def _check_types(self) -> None:
        lhs, rhs, into = (element_dtype(a.value.type) for a, _ in self.tiles)
        expected = accumulator_of(lhs, rhs)
        if expected is None:
            raise self.fail(f"multiplies {lhs} with {rhs}, expected two of f32, f16 or bf16, or i8 and u8")
        if into != expected:
            raise self.fail(f"sums up products of {lhs} and {rhs} in {into}, expected {expected}")


def accumulator_of(lhs: DType, rhs: DType) -> DType | None:
    """What products of these are summed up in; None where nothing is said of them."""
    if lhs == rhs and lhs in (F32, F16, BF16):
        return F32
    return I32 if {lhs, rhs} <= {I8, U8} else None
