"""Constants, conversions and lane movement of the kernel dialect.

%z = kernel.constant {value = 0.0, type = f32} : f32
%n = kernel.index {value = i*6 + 1} : i64                                 // a formula as data
%l = kernel.index {value = j, lanes = 16} : vector<16xi64>                // j, j + 1, ... j + 15
%m = kernel.mask {lower = 0, upper = -j + n, lanes = 16} : vector<16xbool>  // lower <= lane < upper
%p = kernel.holds {where = [i - 1, -i + m]} : bool                        // each formula is >= 0
%v = kernel.broadcast %z {lanes = 16} : vector<16xf32>
%s = kernel.reduce_lanes %v {kind = add} : f32                            // in any order
%h = kernel.take_lanes %v {start = 8, lanes = 8} : vector<8xf32>
%f = kernel.cast %n {dtype = f32} : f32
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from headrace.ir.core import Operation, Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim
from headrace.ir.types import BOOL, I32, I64, DType, ScalarType, Type, VectorType, lanes_of, with_lanes

Array = np.ndarray[Any, Any]
LaneFold = Literal["add", "mul", "min", "max"]


@op("kernel.constant")
class Constant(Operation):
    """The same number in each lane."""

    value: float | int | bool
    type: Type

    def infer(self) -> Sequence[Type]:
        return [self.type]

    def verify_op(self) -> None:
        if not isinstance(self.type, ScalarType | VectorType):
            raise self.fail(f"type is {self.type}, expected a scalar or vector")


@op("kernel.index")
class Index(Operation):
    """The value of a formula; lane l of a vector is `value + l * step`."""

    value: Dim
    dtype: DType = I64
    lanes: int = 1
    step: int = 1

    def infer(self) -> Sequence[Type]:
        if not self.dtype.is_integer:
            raise self.fail(f"dtype is {self.dtype}, expected an integer type")
        return [with_lanes(self.dtype, self.lanes)]


@op("kernel.mask")
class Mask(Operation):
    """Lane l is true if lower <= l < upper."""

    lower: Dim
    upper: Dim
    lanes: int

    def infer(self) -> Sequence[Type]:
        return [with_lanes(BOOL, self.lanes)]


@op("kernel.holds")
class Holds(Operation):
    """Whether every formula is >= 0."""

    where: tuple[Dim, ...]

    def infer(self) -> Sequence[Type]:
        return [ScalarType(BOOL)]


@op("kernel.broadcast")
class Broadcast(Operation):
    """A scalar in each lane."""

    x: Value
    lanes: int

    def infer(self) -> Sequence[Type]:
        if not isinstance(self.x.type, ScalarType):
            raise self.fail(f"operand is {self.x.type}, expected a scalar")
        return [with_lanes(self.x.type.dtype, self.lanes)]


@op("kernel.reduce_lanes")
class ReduceLanes(Operation):
    """All lanes folded into one, in any order."""

    x: Value
    kind: LaneFold

    def infer(self) -> Sequence[Type]:
        if not isinstance(self.x.type, VectorType):
            raise self.fail(f"operand is {self.x.type}, expected a vector")
        return [ScalarType(self.x.type.dtype)]


@op("kernel.take_lanes")
class TakeLanes(Operation):
    """`lanes` neighbouring lanes from `start` on; a scalar if it is one."""

    x: Value
    start: int
    lanes: int

    def infer(self) -> Sequence[Type]:
        if not isinstance(self.x.type, VectorType):
            raise self.fail(f"operand is {self.x.type}, expected a vector")
        if self.start < 0 or self.lanes < 1 or self.start + self.lanes > self.x.type.lanes:
            raise self.fail(f"takes {self.lanes} lanes from {self.start} on of {self.x.type}")
        return [with_lanes(self.x.type.dtype, self.lanes)]


@op("kernel.cast")
class Cast(Operation):
    """The number as another type: to float rounded to even; float to integer cut towards zero, saturating, NaN
    gives 0; integer to integer wraps; to bool is != 0.

    A narrow type is reached from f32 or from i32: `f8e4m3fn` has no infinity, so that what is too large becomes NaN;
    `f4e2m1fn` has neither, but takes its largest number, and -0 for NaN; `f8e8m0fnu` has powers of two, halves
    rounded up; narrow integers wrap.
    """

    x: Value
    dtype: DType

    def infer(self) -> Sequence[Type]:
        if not isinstance(self.x.type, ScalarType | VectorType):
            raise self.fail(f"operand is {self.x.type}, expected a scalar or vector")
        return [with_lanes(self.dtype, lanes_of(self.x.type))]

    def reference(self, x: Array) -> Array:
        """Element by element."""
        return cast_array(x, self.dtype)


@op("kernel.bitcast")
class Bitcast(Operation):
    """The same bits read as another type that takes as many bytes."""

    x: Value
    dtype: DType

    def infer(self) -> Sequence[Type]:
        kind = self.x.type
        if not isinstance(kind, ScalarType | VectorType) or kind.dtype.bytes != self.dtype.bytes:
            raise self.fail(f"operand is {kind}, expected a scalar or vector of {self.dtype.bits} bits an element")
        return [with_lanes(self.dtype, lanes_of(kind))]


def cast_array(x: Array, dtype: DType) -> Array:
    """`kernel.cast` on an array: the IR's one rule for conversions."""
    if dtype.kind == "bool":
        return np.asarray(x != 0)
    if dtype.is_narrow_float:
        real = x.astype(np.float32)
        if dtype.name == "f4e2m1fn":
            real = np.where(np.isnan(real), np.float32(-0.0), real)  # of either sign
        return np.asarray(real.astype(dtype.numpy))
    if dtype.kind == "narrow":
        return np.asarray(cast_array(x, I32).astype(dtype.numpy))
    if dtype.is_integer and x.dtype.kind not in "iub":
        wide = x.astype(np.float64)
        info = np.iinfo(dtype.numpy)
        inside = np.where(np.isnan(wide), 0.0, np.trunc(wide))
        low, high = inside <= float(info.min), inside >= float(info.max)
        kept = np.where(low | high, 0.0, inside).astype(dtype.numpy)
        return np.where(low, dtype.numpy.type(info.min), np.where(high, dtype.numpy.type(info.max), kept))
    return x.astype(dtype.numpy)
