"""Types of values: what a tensor, a buffer, a scalar or a vector of the IR is.

f32[batch, 3, h, w]            TensorType: a value of the graph dialect
buffer<f32[batch, 768]>        BufferType: memory that a kernel reads and writes, row-major
buffer<f32[6, 64], register>   ... in a memory space; `strides [s, 1]` after the dims where not row-major
f32                            ScalarType
vector<16xf32>                 VectorType
token                          TokenType: an asynchronous copy under way
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import ml_dtypes
import numpy as np

from headrace.ir.dims import Dim, DimLike, as_dim, dim_max
from headrace.ir.errors import VerifyError

Kind = Literal["float", "int", "uint", "bool", "narrow", "string"]


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: its name in the IR, its width in bits, and how numpy holds it.

    A narrow one, a float of 8 or 4 bits or an integer of 4 or 2, is only kept and moved: arithmetic casts it first.
    """

    name: str
    bits: int
    kind: Kind
    numpy: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Bytes of one stored element: one for a narrow type, whose bits are the lowest ones, under zeros."""
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits, which arithmetic computes with as f32."""
        return self.kind == "float" and self.bits == 16

    @property
    def is_narrow_float(self) -> bool:
        return self.kind == "narrow" and self.name.startswith("f")

    def __str__(self) -> str:
        return self.name


def _table() -> dict[str, DType]:
    rows: list[tuple[str, int, Kind, Any]] = [
        ("f64", 64, "float", np.float64),
        ("f32", 32, "float", np.float32),
        ("f16", 16, "float", np.float16),
        ("bf16", 16, "float", ml_dtypes.bfloat16),
        ("i64", 64, "int", np.int64),
        ("i32", 32, "int", np.int32),
        ("i16", 16, "int", np.int16),
        ("i8", 8, "int", np.int8),
        ("u64", 64, "uint", np.uint64),
        ("u32", 32, "uint", np.uint32),
        ("u16", 16, "uint", np.uint16),
        ("u8", 8, "uint", np.uint8),
        ("bool", 8, "bool", np.bool_),
        ("f8e4m3fn", 8, "narrow", ml_dtypes.float8_e4m3fn),
        ("f8e4m3fnuz", 8, "narrow", ml_dtypes.float8_e4m3fnuz),
        ("f8e5m2", 8, "narrow", ml_dtypes.float8_e5m2),
        ("f8e5m2fnuz", 8, "narrow", ml_dtypes.float8_e5m2fnuz),
        ("f8e8m0fnu", 8, "narrow", ml_dtypes.float8_e8m0fnu),
        ("f4e2m1fn", 4, "narrow", ml_dtypes.float4_e2m1fn),
        ("i4", 4, "narrow", ml_dtypes.int4),
        ("u4", 4, "narrow", ml_dtypes.uint4),
        ("i2", 2, "narrow", ml_dtypes.int2),
        ("u2", 2, "narrow", ml_dtypes.uint2),
    ]
    return {name: DType(name, bits, kind, np.dtype(kept)) for name, bits, kind, kept in rows}


DTYPES = _table()
COMPUTED = {name: dtype for name, dtype in DTYPES.items() if dtype.kind != "narrow"}  # those of arithmetic
F64, F32, F16, BF16 = (DTYPES[name] for name in ("f64", "f32", "f16", "bf16"))
I64, I32, I16, I8 = (DTYPES[name] for name in ("i64", "i32", "i16", "i8"))
U64, U32, U16, U8 = (DTYPES[name] for name in ("u64", "u32", "u16", "u8"))
BOOL = DTYPES["bool"]


def dtype_of(array: np.ndarray[Any, Any] | np.dtype[Any]) -> DType:
    """The IR's element type for a numpy array or dtype.  Raises KeyError where there is none."""
    wanted = array if isinstance(array, np.dtype) else array.dtype
    for dtype in DTYPES.values():
        if dtype.numpy == wanted:
            return dtype
    raise KeyError(f"no element type for numpy's {wanted}")


class Type:
    """Base of all types; equal types are equal values and print alike."""

    __slots__ = ()


def _listed(dims: tuple[Dim, ...]) -> str:
    return ", ".join(str(d) for d in dims)


@dataclass(frozen=True, slots=True)
class TensorType(Type):
    """A dense array value: element type and dims, nothing else (layout is explicit in operations)."""

    dtype: DType
    dims: tuple[Dim, ...]

    @staticmethod
    def of(dtype: DType, *dims: DimLike | str) -> TensorType:
        """`TensorType.of(F32, "batch", 3)`."""
        return TensorType(dtype, tuple(as_dim(d) for d in dims))

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def elements(self) -> Dim:
        """How many elements, as a formula."""
        return prod(self.dims, start=Dim.constant(1))

    @property
    def bytes(self) -> Dim:
        return self.elements * self.dtype.bytes

    @property
    def is_static(self) -> bool:
        return all(d.is_constant for d in self.dims)

    def with_dims(self, dims: tuple[Dim, ...]) -> TensorType:
        return TensorType(self.dtype, dims)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.dims)

    def __str__(self) -> str:
        return f"{self.dtype}[{_listed(self.dims)}]"


# Where a buffer lives.  `global`: passed to the kernel; `arena`: planned by the program; `stack`: the thread's
# scratch; `register`: constant extents, unrolled away by the emitter; `shared`: one per workgroup.
Space = Literal["global", "arena", "stack", "register", "shared"]
SPACES: tuple[Space, ...] = ("global", "arena", "stack", "register", "shared")


@dataclass(frozen=True, slots=True)
class BufferType(Type):
    """Memory with a shape.  `strides` are in elements; None means row-major and dense."""

    dtype: DType
    dims: tuple[Dim, ...]
    space: Space = "global"
    strides: tuple[Dim, ...] | None = None

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def element_strides(self) -> tuple[Dim, ...]:
        """Strides in elements, computed where they are the dense ones."""
        if self.strides is not None:
            return self.strides
        strides = [Dim.constant(1)]
        for dim in reversed(self.dims[1:]):
            strides.insert(0, strides[0] * dim)
        return tuple(strides) if self.dims else ()

    def element_at(self, indices: Sequence[Dim]) -> Dim:
        """The number of an element in memory, counted from the first one."""
        return sum((i * s for i, s in zip(indices, self.element_strides, strict=True)), start=Dim.constant(0))

    @property
    def elements(self) -> Dim:
        """Elements spanned from the first to the last, gaps included; 0 if any dim is 0 (dense) — see `bytes`."""
        if self.strides is None:
            return prod(self.dims, start=Dim.constant(1))
        spanned = sum((s * (d - 1) for s, d in zip(self.strides, self.dims, strict=True)), start=Dim.constant(1))
        return dim_max(spanned, 0)

    @property
    def bytes(self) -> Dim:
        """Bytes spanned; for strided buffers an upper bound that is exact when no dim is 0."""
        return self.elements * self.dtype.bytes

    def __str__(self) -> str:
        strides = "" if self.strides is None else f" strides [{_listed(self.strides)}]"
        space = "" if self.space == "global" else f", {self.space}"
        return f"buffer<{self.dtype}[{_listed(self.dims)}]{strides}{space}>"


@dataclass(frozen=True, slots=True)
class ScalarType(Type):
    """One element in a kernel."""

    dtype: DType

    def __str__(self) -> str:
        return str(self.dtype)


@dataclass(frozen=True, slots=True)
class VectorType(Type):
    """`lanes` elements that one instruction treats alike."""

    dtype: DType
    lanes: int

    def __str__(self) -> str:
        return f"vector<{self.lanes}x{self.dtype}>"


@dataclass(frozen=True, slots=True)
class TokenType(Type):
    """Stands for an asynchronous copy until it is waited for."""

    def __str__(self) -> str:
        return "token"


Element = ScalarType | VectorType


def element_dtype(kind: Type) -> DType:
    """The dtype of a tensor, buffer, scalar or vector type.  Raises VerifyError for any other."""
    if not isinstance(kind, TensorType | BufferType | ScalarType | VectorType):
        raise VerifyError(f"found a value of type {kind}, expected one that has elements")
    return kind.dtype


def with_lanes(dtype: DType, lanes: int) -> Element:
    """Scalar for one lane, vector for more."""
    return ScalarType(dtype) if lanes == 1 else VectorType(dtype, lanes)


def lanes_of(kind: Type) -> int:
    """1 for a scalar, the lane count for a vector."""
    return kind.lanes if isinstance(kind, VectorType) else 1
