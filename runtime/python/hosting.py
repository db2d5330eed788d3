"""A driver that Python hosts: a simulator.  In: a class with two methods.  Out: what `load` takes as a driver.

class Npu(HostedDriver):
    name = "npu"

    def load(self, image):                  # the code section of a variant, as the target's emitter wrote it
        return Program.decode(image)

    def launch(self, module, call):         # call.name, .entry, .buffers, .scalars, .tasks
        module.run(call.name, call.buffers, call.scalars)

session = load("m.hrm", drivers=[Npu()])
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from headrace.runtime.python import driver_abi as abi
from headrace.runtime.python.errors import UnsupportedError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Call:
    """One launch: `buffers` are the device's own bytes from where each begins, to read and write."""

    name: str
    entry: int
    buffers: Sequence[Bytes]
    scalars: tuple[int, ...]
    tasks: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What a kernel found wrong: one of its sites, and the numbers for its message."""

    site: int
    values: tuple[int, int] = (0, 0)


_kept: list[HostedDriver] = []  # the runtime may use a driver as long as the process lives, as it does a library


def _status_of(problem: Exception) -> int:
    if isinstance(problem, UnsupportedError):
        return abi.UNSUPPORTED
    return abi.NO_MEMORY if isinstance(problem, MemoryError) else abi.DEVICE


class HostedDriver:
    """A driver for a device that is simulated in Python, with memory of its own.

    Subclasses set `name` and write `load` and `launch`; an exception becomes the run's DeviceError, with its text.
    One at a time: Python's lock is held.
    """

    name: ClassVar[str]
    stands_for: ClassVar[str | None] = None  # another driver, whose images this one runs, too
    features: ClassVar[Sequence[str]] = ()  # that variants may need of the device

    def __init__(self) -> None:
        self._memory: dict[int, Bytes] = {}
        self._modules: dict[int, Any] = {}
        self._faults: dict[int, tuple[int, Fault]] = {}  # of each queue, the first of its run
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        functions = {name: made(self._guarded(name, made)) for name, made in abi.FUNCTIONS.items()}
        supports = abi.SUPPORTS(self._guarded("supports", abi.SUPPORTS))
        stands_for = self.stands_for.encode() if self.stands_for else None
        size = ctypes.sizeof(abi.Driver)
        self.struct = abi.Driver(size, abi.ABI, self.name.encode(), 0, *functions.values(), stands_for, supports)
        _kept.append(self)

    @property
    def address(self) -> int:
        """Of the struct."""
        return ctypes.addressof(self.struct)

    def held(self) -> int:
        """How many pieces of memory and modules the runtime has taken and not given back."""
        return len(self._memory) + len(self._modules)

    def load(self, image: bytes) -> Any:
        """What `launch` gets for the code section of a variant.  Raises what is wrong with it."""
        raise NotImplementedError

    def launch(self, module: Any, call: Call) -> Fault | None:
        """Runs all tasks of one kernel; what it found wrong in the data, if anything."""
        raise NotImplementedError

    def _guarded(self, name: str, made: Any) -> Callable[..., int]:
        """A function for C: exceptions become a status and a text."""
        function = getattr(self, f"_{name}")
        has_error = made._argtypes_[-1] is abi.ERROR

        def call(*arguments: Any) -> int:
            try:
                function(*(arguments[:-1] if has_error else arguments))
            except Exception as problem:
                status = _status_of(problem)
                text = " ".join(f"{self.name}: {str(problem) or type(problem).__name__}".split())
                if has_error and arguments[-1]:
                    arguments[-1][0] = abi.Error(status, text.encode()[:507])
                return status
            return 0

        return call

    def _open(self, options: Any, out: Any) -> None:
        wanted = options[0].name.decode(errors="replace")
        if wanted not in ("", "0"):
            raise ValueError(f"there is no device '{wanted}'; there is one, 0")
        out[0] = next(self._numbers)

    def _close(self, device: int) -> None:
        """Nothing is held for a device."""

    def _alloc(self, device: int, size: int, out: Any) -> None:
        memory = np.empty(size, np.uint8)
        with self._lock:
            out[0] = number = next(self._numbers)
            self._memory[number] = memory

    def _release(self, device: int, handle: int, size: int) -> None:
        del self._memory[handle]

    def _module_load(self, device: int, image: int | None, size: int, out: Any) -> None:
        module = self.load(ctypes.string_at(image, size) if image else b"")
        out[0] = number = next(self._numbers)
        self._modules[number] = module

    def _module_unload(self, device: int, handle: int) -> None:
        del self._modules[handle]

    def _queue_open(self, device: int, options: Any, out: Any) -> None:
        out[0] = next(self._numbers)

    def _queue_close(self, queue: int) -> None:
        self._faults.pop(queue, None)

    def _reserve(self, queue: int, size: int) -> None:
        """Python's own memory is scratch enough."""

    def _begin(self, queue: int) -> None:
        self._faults.pop(queue, None)

    def _upload(self, queue: int, target: abi.Slice, source: int, size: int) -> None:
        self._at(target, size)[:] = np.frombuffer(ctypes.string_at(source, size), np.uint8)

    def _download(self, queue: int, target: int, source: abi.Slice, size: int) -> None:
        ctypes.memmove(target, self._at(source, size).tobytes(), size)

    def _copy(self, queue: int, target: abi.Slice, source: abi.Slice, size: int) -> None:
        self._at(target, size)[:] = self._at(source, size)

    def _launch(self, queue: int, launch: Any, fault: Any) -> None:
        given = launch[0]
        call = Call(
            given.name.decode(),
            given.entry,
            [self._at(given.buffers[i]) for i in range(given.buffer_count)],
            tuple(given.scalars[: given.scalar_count]) if given.scalar_count else (),
            given.tasks,
        )
        if queue in self._faults:  # the rest of a run in which a kernel found something wrong does nothing
            return
        found = self.launch(self._modules[given.module], call)
        if found is not None:
            self._faults[queue] = given.index, found

    def _finish(self, queue: int, fault: Any) -> None:
        if queue in self._faults:
            index, found = self._faults.pop(queue)
            fault[0] = abi.Fault(index, found.site, found.values)

    def _supports(self, options: Any, feature: bytes) -> None:
        if feature.decode() not in self.features:
            raise UnsupportedError(f"has no '{feature.decode()}'")

    def _at(self, place: abi.Slice, size: int | None = None) -> Bytes:
        """So many bytes, or all behind it; none where a buffer of no bytes is in no memory."""
        whole = self._memory[place.handle] if place.handle else np.empty(0, np.uint8)
        found = whole[place.offset :] if size is None else whole[place.offset : place.offset + size]
        if place.offset > len(whole) or (size is not None and len(found) < size):
            raise IndexError(f"{size} bytes at {place.offset} of {len(whole)}")
        return found
