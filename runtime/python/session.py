"""`Session`: a compiled model that runs.  In: arrays by name.  Out: arrays by name.

Arrays are numpy's, or anything with the buffer protocol or DLPack; C-contiguous ones are passed on without a copy.
bf16 and what is narrower than 8 bits or a float of 8, which buffers cannot express, have the dtypes of ml_dtypes, and
are passed to C as integers of the same width.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from headrace.runtime import _face
from headrace.runtime.python.drivers import Named, installed_drivers, named_drivers
from headrace.runtime.python.errors import InputError, UnsupportedError, error_for
from headrace.runtime.python.hosting import HostedDriver

Array = np.ndarray[Any, Any]
_Arrays = tuple[Any, ...]  # for C: one for each input or output

_DTYPES: dict[str, np.dtype[Any]] = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "u64": np.dtype(np.uint64),
    "u32": np.dtype(np.uint32),
    "u16": np.dtype(np.uint16),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
    "f8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "f8e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "f8e8m0fnu": np.dtype(ml_dtypes.float8_e8m0fnu),
    "f4e2m1fn": np.dtype(ml_dtypes.float4_e2m1fn),
    "i4": np.dtype(ml_dtypes.int4),
    "u4": np.dtype(ml_dtypes.uint4),
    "i2": np.dtype(ml_dtypes.int2),
    "u2": np.dtype(ml_dtypes.uint2),
}
_UNSIGNED = {1: np.uint8, 2: np.uint16}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output: a dim is its size, or a text such as "batch" or "seq*2"."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What one thread did of one launch.  Times are of a monotonic clock; `flops` and `bytes` are None if unknown."""

    kernel: str
    nodes: str  # the ONNX nodes that the launch computes, separated by ", "
    kernel_index: int
    launch_index: int
    thread: int
    tasks: int
    flops: int | None  # of the whole launch, as are tasks and bytes
    bytes: int | None
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What a session that records has taken so far, its open model included."""

    allocations: int
    held_bytes: int
    peak_bytes: int


def load(
    path: str | os.PathLike[str],
    threads: int | None = None,
    *,
    device: str | None = None,
    drivers: Sequence[Named] = (),
    record: bool = False,
) -> Session:
    """Opens a compiled model.  `threads`: how many a run may use; None is as many as this process is allowed.

    `device`: where it has to run, by the name of a driver (`opencl`, `opencl:NUMBER_OR_NAME`, `cpu`) or of a target
    in the file; None is what HEADRACE_DEVICE says, or the first target of the file that runs here.  `drivers`: paths of
    shared libraries with drivers for devices from outside, besides those that HEADRACE_DRIVERS lists, or drivers that
    Python hosts; they stay loaded.  Where nothing runs with these, drivers of installed packages are tried, too.
    `record`: note the time of each launch and the memory taken, for `take_records` and `memory_taken`.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise InputError(f"threads is {threads}, expected 1 to 1024")
    named = named_drivers(drivers)
    try:
        return _session(path, threads, device, named, record)
    except UnsupportedError:
        if not (more := installed_drivers()):
            raise
        return _session(path, threads, device, [*named, *more], record)


def _session(
    path: str | os.PathLike[str], threads: int | None, device: str | None, drivers: Sequence[Named], record: bool
) -> Session:
    if len(drivers) > 16:
        raise InputError(f"{len(drivers)} drivers, expected at most 16")
    found = tuple([d.address if isinstance(d, HostedDriver) else os.fsencode(d) for d in drivers])
    try:
        return Session(_face.Session(path, threads or 0, record, device, found))
    except _face.Error as error:
        raise error_for(*error.args) from None


class Session:
    """A model and the memory to run it.  One run at a time; any number of sessions may run at once."""

    __slots__ = ("_face", "device", "inputs", "outputs", "target", "threads")

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    target: str
    device: str  # the driver that leads there
    threads: int

    def __init__(self, face: _face.Session) -> None:
        """For `load`."""
        self._face = face
        self.target, self.device, self.threads, inputs, outputs = face.describe()
        self.inputs = tuple(Port(name, _DTYPES[dtype], shape) for name, dtype, shape in inputs)
        self.outputs = tuple(Port(name, _DTYPES[dtype], shape) for name, dtype, shape in outputs)

    def __repr__(self) -> str:
        names = ", ".join(port.name for port in self.inputs), ", ".join(port.name for port in self.outputs)
        return f"<Session for {self.target}: {names[0]} -> {names[1]}>"

    def run(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """Runs the model.  Outputs that are not given are new arrays; the dict has all of them.

        An input of rank 0 may be any array of exactly one element.

        Raises InputError for a name, dtype, shape or value that the model does not take.
        """
        try:
            results = self._face.run_direct(inputs, outputs)
            if results is NotImplemented:
                results = self._face.run(*self._adapted(inputs, outputs or {}))
        except _face.Error as error:
            raise error_for(*error.args) from None
        given = outputs or {}
        if results is None:
            return dict(given)
        try:
            return {
                port.name: given[port.name] if result is None else np.ndarray(result[1], port.dtype, result[0])
                for port, result in zip(self.outputs, results, strict=True)
            }
        except ValueError as error:  # no elements, but dims whose product would be too large without the 0
            dims = [f"{p.name!r} is {list(r[1])}" for p, r in zip(self.outputs, results, strict=True) if r is not None]
            raise InputError(f"numpy takes the dims of the outputs for no array ({', '.join(dims)}): {error}") from None

    def _adapted(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[_Arrays, _Arrays]:
        """Arrays that C can take, copied where they must be; None for an output that is not given."""
        arrays = tuple([_buffer("input", port, _value(inputs, port)) for port in self.inputs])
        if len(inputs) != len(arrays):
            _refuse_unknown("input", inputs, self.inputs)
        _refuse_unknown("output", outputs, self.outputs)
        places = [_place(port, outputs[port.name]) if port.name in outputs else None for port in self.outputs]
        return arrays, tuple(places)

    def memory_needed(self, shapes: Mapping[str, Sequence[int]]) -> int:
        """Bytes that this session holds to run inputs of these shapes, besides the model and the results.

        Raises InputError where the shapes do not decide that; it names the node whose values do.
        """
        _refuse_unknown("input", shapes, self.inputs)
        try:
            return self._face.memory_needed(tuple(tuple(_value(shapes, port)) for port in self.inputs))
        except _face.Error as error:
            raise error_for(*error.args) from None

    def take_records(self) -> list[Record]:
        """What the runs since the last call did, of at most 65,536 launches and threads.  Needs `record`.

        Raises InputError if more have run, or if the session does not record.
        """
        try:
            rows, lost = self._face.take_records()
        except _face.Error as error:
            raise error_for(*error.args) from None
        if lost:
            raise InputError(f"{lost} records were lost; take them after fewer runs")
        return [_record(*row) for row in rows]

    def memory_taken(self) -> Memory:
        """What has been taken up to now.  Needs `record`."""
        try:
            return Memory(*self._face.memory_taken())
        except _face.Error as error:
            raise error_for(*error.args) from None

    def verify(self) -> None:
        """Checks what loading leaves out: hashes of constants, and the variants for other machines."""
        try:
            self._face.verify()
        except _face.Error as error:
            raise error_for(*error.args) from None


def _record(
    kernel: str,
    nodes: str,
    kernel_index: int,
    launch_index: int,
    thread: int,
    tasks: int,
    flops: int,
    bytes: int,
    begin_ns: int,
    end_ns: int,
) -> Record:
    known = None if flops < 0 else flops, None if bytes < 0 else bytes
    return Record(kernel, nodes, kernel_index, launch_index, thread, tasks, *known, begin_ns, end_ns)


def _value(values: Mapping[str, Any], port: Port) -> Any:
    try:
        return values[port.name]
    except KeyError:
        given = ", ".join(repr(name) for name in values) or "none"
        raise InputError(f"input {port.name!r} is missing; given: {given}") from None


def _refuse_unknown(side: str, given: Iterable[str], ports: tuple[Port, ...]) -> None:
    names = [port.name for port in ports]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the model has {', '.join(map(repr, names))}"
            raise InputError(f"there is no {side} {name!r}{hint}")


def _buffer(side: str, port: Port, value: Any) -> Any:
    """What C can take the bytes from, without a copy wherever the array is C-contiguous."""
    if not isinstance(value, np.ndarray):
        value = _as_array(side, port, value)
    if value.dtype != port.dtype:
        raise InputError(f"{side} {port.name!r}: is {value.dtype}, expected {port.dtype}")
    if not value.flags.c_contiguous:
        value = value.copy(order="C")
    return value.view(_UNSIGNED[port.dtype.itemsize]) if port.dtype.isbuiltin == 2 else value


def _as_array(side: str, port: Port, value: Any) -> Array:
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(memoryview(value))
    except (TypeError, ValueError, BufferError, RuntimeError):
        kind = type(value).__name__
        raise InputError(f"{side} {port.name!r}: is a {kind}, expected an array of {port.dtype}") from None


def _place(port: Port, value: Any) -> Any:
    """Memory of the caller for an output: must not be copied, so must be as C needs it."""
    array = value if isinstance(value, np.ndarray) else _as_array("output", port, value)
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise InputError(f"output {port.name!r}: must be writable and C-contiguous")
    return _buffer("output", port, array)
