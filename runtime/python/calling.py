"""Calls a driver from Python, to test it.  In: a name, libraries.  Out: a device and its queues, call by call."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from headrace.runtime import _face
from headrace.runtime.python import driver_abi as abi
from headrace.runtime.python.drivers import Named, installed_drivers, named_drivers
from headrace.runtime.python.errors import InputError, UnsupportedError, error_for
from headrace.runtime.python.hosting import HostedDriver


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver, found as the runtime finds it.  `which`: what stood behind the colon."""

    struct: abi.Driver
    which: str

    @classmethod
    def of(cls, hosted: HostedDriver) -> Driver:
        """The driver that is hosted."""
        return cls(hosted.struct, "")

    @property
    def name(self) -> str:
        return str(self.struct.name.decode())

    @property
    def stands_for(self) -> str | None:
        has = self.struct.size > abi.Driver.stands_for.offset and self.struct.stands_for
        return self.struct.stands_for.decode() if has else None

    def check_feature(self, feature: str) -> None:
        """Raises UnsupportedError, or another of its status, where the device does not have it."""
        if self.struct.size <= abi.Driver.supports.offset or not self.struct.supports:
            raise UnsupportedError(f"{self.name}: its devices have no '{feature}'")
        _checked(self.struct.supports, byref(_options(self)), feature.encode())

    def open(self) -> Device:
        """Raises the exception of its status."""
        return Device(self)


def open_driver(name: str, paths: Sequence[str | os.PathLike[str]] = ()) -> Driver:
    """The driver of `NAME[:WHICH]`, where `load` finds it: in these libraries, in those that HEADRACE_DRIVERS lists,
    built in, or in an installed package.  Raises HeadraceRuntimeError.
    """
    library = ctypes.CDLL(str(Path(_face.__file__).parent / "libheadrace.so"))
    library.hr_driver_builtin.restype = POINTER(abi.Driver)
    wanted, _, which = name.partition(":")
    known = []
    for struct in _structs(library, wanted, paths):
        known.append(struct.name.decode())
        if known[-1] == wanted:
            return Driver(struct, which)
    others = f"; beside those built in there is {', '.join(known)}" if known else ""
    raise InputError(f"no driver {wanted!r} is built in or installed; name its library by --driver{others}")


def _structs(library: ctypes.CDLL, wanted: str, paths: Sequence[str | os.PathLike[str]]) -> Iterator[abi.Driver]:
    """Of all drivers that may be the one; a package is not looked for before the others have been seen."""
    for driver in named_drivers(paths):
        yield _struct(library, driver)
    if found := library.hr_driver_builtin(wanted.encode()):
        yield found[0]
    for driver in installed_drivers():
        yield _struct(library, driver)


def _struct(library: ctypes.CDLL, driver: Named) -> abi.Driver:
    if isinstance(driver, HostedDriver):
        return driver.struct
    found, error = POINTER(abi.Driver)(), abi.Error()
    if status := library.hr_driver_load(os.fsencode(driver), byref(found), byref(error)):
        raise error_for(status, error.message.decode(errors="replace"))
    struct: abi.Driver = found[0]
    return struct


_held: dict[int, int] = {}  # what devices have taken by the hooks that they are given: addresses and bytes


def held_bytes() -> int:
    """Of all that drivers have taken by their devices' allocators and not given back."""
    return sum(_held.values())


def heap_bytes() -> int:
    """In use of malloc's memory, or 0 where the C library does not tell."""
    if not hasattr(_LIBC, "mallinfo2"):
        return 0
    found = _LIBC.mallinfo2()
    return int(found.uordblks + found.hblkhd)


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_: ClassVar = [
        *((f"other_{n}", ctypes.c_size_t) for n in range(4)),
        ("hblkhd", ctypes.c_size_t),  # bytes in pieces of their own
        *((f"other_{n}", ctypes.c_size_t) for n in (5, 6)),
        ("uordblks", ctypes.c_size_t),  # bytes in the arena
        *((f"other_{n}", ctypes.c_size_t) for n in (8, 9)),
    ]


def _take(context: Any, size: int, alignment: int) -> int | None:
    found = _LIBC.aligned_alloc(alignment, -(-size // alignment) * alignment)
    if not found:
        return None
    _held[found] = size
    return int(found)


def _give(context: Any, memory: int, size: int, alignment: int) -> None:
    _held.pop(memory, None)
    _LIBC.free(memory)


_LIBC = ctypes.CDLL(None)
_LIBC.aligned_alloc.restype = c_void_p
_LIBC.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
_LIBC.free.argtypes = [c_void_p]
if hasattr(_LIBC, "mallinfo2"):
    _LIBC.mallinfo2.restype = _MallInfo
_TAKE = ctypes.CFUNCTYPE(c_void_p, c_void_p, ctypes.c_size_t, ctypes.c_size_t)(_take)
_GIVE = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, ctypes.c_size_t, ctypes.c_size_t)(_give)


def _options(driver: Driver) -> abi.DeviceOptions:
    allocator = abi.Allocator(ctypes.cast(_TAKE, c_void_p), ctypes.cast(_GIVE, c_void_p), None)
    return abi.DeviceOptions(ctypes.sizeof(abi.DeviceOptions), driver.which.encode(), allocator)


class Device:
    """An open device, with the driver's own calls.  Each raises the exception of its status."""

    def __init__(self, driver: Driver) -> None:
        self._struct = driver.struct
        self._opened = c_void_p()
        _checked(driver.struct.open, byref(_options(driver)), byref(self._opened))

    def close(self) -> None:
        self._struct.close(self._opened)

    def alloc(self, size: int) -> int:
        handle = c_uint64()
        _checked(self._struct.alloc, self._opened, size, byref(handle))
        return handle.value

    def release(self, handle: int, size: int) -> None:
        self._struct.release(self._opened, handle, size)

    def module_load(self, image: bytes) -> int:
        module = c_uint64()
        _checked(self._struct.module_load, self._opened, image, len(image), byref(module))
        return module.value

    def module_unload(self, module: int) -> None:
        self._struct.module_unload(self._opened, module)

    def queue(self, threads: int = 1) -> Queue:
        return Queue(self._struct, self._opened, threads)


@dataclass(frozen=True, slots=True)
class Start:
    """What a launch is told, by the names of `hr_launch`; `buffers`: handles and offsets."""

    module: int
    name: str
    entry: int
    buffers: Sequence[tuple[int, int]]
    scalars: Sequence[int]
    tasks: int
    grain: int = 1
    scratch_bytes: int = 0
    scratch_alignment: int = 64
    index: int = 0


class Queue:
    """An open queue."""

    def __init__(self, struct: abi.Driver, device: c_void_p, threads: int) -> None:
        self._struct = struct
        self._opened = c_void_p()
        self._threads = threads
        options = abi.QueueOptions(ctypes.sizeof(abi.QueueOptions), threads, None, None)
        _checked(struct.queue_open, device, byref(options), byref(self._opened))

    def close(self) -> None:
        self._struct.queue_close(self._opened)

    def reserve(self, size: int) -> None:
        _checked(self._struct.reserve, self._opened, size)

    def begin(self) -> None:
        _checked(self._struct.begin, self._opened)

    def upload(self, handle: int, offset: int, data: bytes) -> None:
        _checked(self._struct.upload, self._opened, abi.Slice(handle, offset), data, len(data))

    def download(self, handle: int, offset: int, size: int) -> bytes:
        into = ctypes.create_string_buffer(max(1, size))
        _checked(self._struct.download, self._opened, into, abi.Slice(handle, offset), size)
        return into.raw[:size]

    def copy(self, target: tuple[int, int], source: tuple[int, int], size: int) -> None:
        """Both: handle and offset."""
        _checked(self._struct.copy, self._opened, abi.Slice(*target), abi.Slice(*source), size)

    def launch(self, start: Start, parts: int = 0) -> list[abi.Part]:
        """`parts`: how many the profile has room for, 0 for no profile.  The parts that were filled in.

        As in a run, all that the launch points to has changed when this returns.
        """
        buffers = (abi.Slice * len(start.buffers))(*(abi.Slice(*b) for b in start.buffers))
        scalars = (ctypes.c_int64 * max(1, len(start.scalars)))(*start.scalars)
        name = ctypes.create_string_buffer(start.name.encode())
        room, count, fault = (abi.Part * (parts + 64))(), ctypes.c_uint32(), abi.Fault()  # some may be too many
        told = abi.Launch(
            ctypes.sizeof(abi.Launch),
            start.index,
            start.module,
            ctypes.cast(name, ctypes.c_char_p),
            start.entry,
            len(start.buffers),
            len(start.scalars),
            start.scratch_alignment,
            buffers,
            scalars,
            start.scratch_bytes,
            start.tasks,
            start.grain,
            ctypes.cast(room, c_void_p) if parts else None,
            ctypes.pointer(count) if parts else None,
            -1,
        )
        _checked(self._struct.launch, self._opened, byref(told), byref(fault))
        for array in (buffers, scalars, name, told):
            ctypes.memset(byref(array), 0xA5, ctypes.sizeof(array))
        filled = max((n for n, part in enumerate(room, 1) if part.end_ns), default=0)
        if max(count.value, filled) > parts:
            raise InputError(f"the driver tells of {max(count.value, filled)} parts, where there is room for {parts}")
        return list(room[: count.value])

    def finish(self) -> int:
        """The site of the run's fault, 0 for none."""
        fault = abi.Fault()
        _checked(self._struct.finish, self._opened, byref(fault))
        return int(fault.site)


def _checked(function: Any, *arguments: Any) -> None:
    error = abi.Error()
    if status := function(*arguments, byref(error)):
        text = error.message.decode(errors="replace")
        if error.status != status or not text or "\n" in text:
            raise InputError(f"the driver returns status {status} without a text of one line for it: {text!r}")
        raise error_for(status, text)
