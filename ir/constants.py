"""The constants store: big arrays outside the IR, known by digest.

A `ConstantRef` in an operation's attribute is the SHA-256 of an array's type and bytes; the array itself
lives in the module's `ConstantStore`, as a view of the model file where possible.  Equal arrays are one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.ir.errors import IRError
from headrace.ir.types import DType, TensorType, dtype_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ConstantRef:
    """Digest and type of one array in the store."""

    digest: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def type(self) -> TensorType:
        return TensorType.of(self.dtype, *self.shape)

    def __str__(self) -> str:
        return f"#{self.digest[:16]}"


class ConstantStore:
    """Arrays by digest; adding one never copies it, and it must not change afterwards."""

    __slots__ = ("_arrays", "_refs")

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._refs: dict[str, ConstantRef] = {}

    def add(self, array: Array) -> ConstantRef:
        """Takes an array in; returns the reference to it.  Raises KeyError for a dtype the IR does not have."""
        dtype = dtype_of(array)
        kept = np.ascontiguousarray(array).reshape(array.shape)
        digest = digest_of(kept, dtype)
        if digest not in self._arrays:
            kept.flags.writeable = False
            self._arrays[digest] = kept
            self._refs[digest] = ConstantRef(digest, dtype, kept.shape)
        return self._refs[digest]

    def array(self, ref: ConstantRef) -> Array:
        """The array behind a reference, read-only.  Raises IRError if the store does not have it."""
        try:
            return self._arrays[ref.digest]
        except KeyError:
            message = f"constant {ref} of type {ref.type} is not in the store; is the .constants file missing?"
            raise IRError(message) from None

    def find(self, prefix: str) -> ConstantRef:
        """The reference whose digest starts with `prefix`.  Raises IRError unless exactly one does."""
        found = [ref for digest, ref in self._refs.items() if digest.startswith(prefix)]
        if len(found) != 1:
            raise IRError(f"constant #{prefix}: {len(found)} constants of that digest in the store, expected one")
        return found[0]

    def __contains__(self, ref: ConstantRef) -> bool:
        return ref.digest in self._arrays

    def __iter__(self) -> Iterator[ConstantRef]:
        return iter(self._refs.values())


def digest_of(array: Array, dtype: DType) -> str:
    """SHA-256 over dtype, shape and row-major little-endian bytes, in hex."""
    digest = hashlib.sha256(f"{dtype}{list(array.shape)}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
