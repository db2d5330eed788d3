"""Tensors of a model as arrays.  In: a TensorProto, the model's folder.  Out: a read-only numpy array.

Raw data stays where it is, as a view, unless elements are narrower than a byte; external data is a map of its file,
which must lie in the model's own folder: no absolute path, no `..`, no symbolic link that leads out.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from headrace.ir.errors import ModelError, UnsupportedModelError
from headrace.ir.types import DTYPES, DType, dtype_of

Array = np.ndarray[Any, Any]


def element_type(number: int) -> DType | None:
    """The IR's element type for a number of TensorProto.DataType, or None where it has none."""
    try:
        return dtype_of(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)))
    except KeyError:
        return None


def type_name(number: int) -> str:
    """What ONNX calls an element type."""
    try:
        return str(TensorProto.DataType.Name(number)).lower()
    except ValueError:
        return f"number {number}"


def array_of(tensor: TensorProto, place: str, folder: Path) -> Array:
    """The array.  `place` begins the messages of a ModelError (the data contradict the tensor's shape, or are not
    there) and of an UnsupportedModelError (an element type that the IR does not have)."""
    dtype = element_type(tensor.data_type)
    if dtype is None:
        raise UnsupportedModelError(
            f"{place}: element type is {type_name(tensor.data_type)}, expected one of {', '.join(DTYPES)}"
        )
    shape = tuple(tensor.dims)
    if any(d < 0 for d in shape):
        raise ModelError(f"{place}: dims are {list(shape)}, expected none below 0")
    wanted = -(-prod(shape) * dtype.bits // 8)
    if tensor.data_location == TensorProto.EXTERNAL:
        return _shaped(_external(tensor, place, folder, wanted), dtype, shape, place)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != wanted:
            raise ModelError(f"{place}: {len(raw)} bytes of data, expected {wanted} for {dtype}{list(shape)}")
        return _shaped(np.frombuffer(raw, np.uint8), dtype, shape, place)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else "the data do not fit"
        raise ModelError(f"{place}: the data do not make {dtype}{list(shape)}: {reason}") from None


def _shaped(data: Array, dtype: DType, shape: tuple[int, ...], place: str) -> Array:
    try:
        if dtype.bits < 8:
            data = _unpacked(data, dtype.bits, prod(shape))
        return data.view(dtype.numpy).reshape(shape)
    except (ValueError, OverflowError):  # too many dims, or a huge one beside a 0
        raise ModelError(f"{place}: {dtype}{list(shape)} is no shape that an array can have") from None


def _unpacked(data: Array, bits: int, count: int) -> Array:
    """Elements narrower than a byte, which ONNX keeps lowest bits first, each in a byte of its own."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    return ((data[:, None] >> places) & np.uint8((1 << bits) - 1)).reshape(-1)[:count]


def _external(tensor: TensorProto, place: str, folder: Path, wanted: int) -> Array:
    entries = {e.key: e.value for e in tensor.external_data}
    path = _inside(entries.get("location", ""), place, folder)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", wanted))
    except ValueError:
        raise ModelError(f"{place}: offset or length of the external data is no number") from None
    if length != wanted:
        raise ModelError(f"{place}: {length} bytes of external data, expected {wanted}")
    try:
        size = path.stat().st_size
        if offset < 0 or offset + length > size:
            raise ModelError(
                f"{place}: external data end at byte {offset + length}, but {path.name!r} has {size} bytes"
            )
        if not length:
            return np.zeros(0, np.uint8)
        mapped = np.memmap(path, np.uint8, "r", offset, (length,))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelError(f"{place}: external data {path.name!r} cannot be read: {reason}") from None
    return np.asarray(mapped)


def _inside(location: str, place: str, folder: Path) -> Path:
    """The file behind a location.  Raises ModelError unless it is one inside of the folder."""
    relative = Path(location)
    if not location or "\0" in location:
        raise ModelError(f"{place}: external data have no location")
    if relative.is_absolute() or ".." in relative.parts:
        raise ModelError(f"{place}: external data {location!r}: expected a path inside of the model's folder")
    home = folder.resolve()
    path = (home / relative).resolve()
    if not path.is_relative_to(home):
        raise ModelError(f"{place}: external data {location!r} lead out of the model's folder")
    if not path.exists():
        raise ModelError(f"{place}: external data {location!r}: no such file in the model's folder")
    if not path.is_file():
        raise ModelError(f"{place}: external data {location!r} are no file")
    return path
