"""The calls of a driver, one by one, against headrace_driver.h.  In: a driver.  Out: a verdict for each promise.

Nothing here needs code that runs on the device: see `launches` and `operators` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

from headrace.compiler.conformance.watched import Tell, nobody
from headrace.runtime.python import HeadraceRuntimeError, OutOfMemoryError, UnsupportedError
from headrace.runtime.python import driver_abi as abi
from headrace.runtime.python.calling import Device, Driver, Queue, heap_bytes, held_bytes

SIZES = (1, 3, 64, 65, 4096, 100_001)
NO_DEVICE = "no device's name"
TOO_MUCH = 1 << 62
ALIGNMENT = 64
LARGE, ROUNDS = 16 << 20, 256  # 4 GiB, if none of it were given back
PIECE = 1 << 20
TURNS = 4
TRIPS = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wrong`: what is not as promised, or None."""

    promise: str
    wrong: str | None


class Broken(Exception):
    """A promise is not kept, and how."""


def check_contract(driver: Driver, tell: Tell = nobody) -> Iterator[Verdict]:
    """All promises, in order; `tell` is told which comes next."""
    yield from verdicts(_CHECKS, tell, driver)


def verdicts(checks: Sequence[Callable[..., None]], tell: Tell, *given: Any) -> Iterator[Verdict]:
    """Of each check, in order; the first promise that is broken does not keep others from being looked at."""
    for check in checks:
        assert check.__doc__ is not None
        promise = check.__doc__.rstrip(".")
        tell(promise)
        try:
            check(*given)
            wrong = None
        except (Broken, HeadraceRuntimeError) as problem:
            wrong = str(problem)
        yield Verdict(promise, wrong)


# ---- what the checks use ---------------------------------------------------------------------------------------------


@contextmanager
def opened(driver: Driver, threads: int = 1) -> Iterator[tuple[Device, Queue]]:
    """A device with a queue."""
    device = driver.open()
    try:
        queue = device.queue(threads)
        try:
            yield device, queue
        finally:
            queue.close()
    finally:
        device.close()


@contextmanager
def memory(device: Device, *sizes: int) -> Iterator[list[int]]:
    """Handles of pieces of memory."""
    handles: list[int] = []
    try:
        handles.extend(device.alloc(size) for size in sizes)
        yield handles
    finally:
        for handle, size in zip(handles, sizes, strict=False):
            device.release(handle, size)


@contextmanager
def run(queue: Queue) -> Iterator[None]:
    """A run, which finds no fault."""
    queue.begin()
    try:
        yield
    except (Broken, HeadraceRuntimeError):
        with suppress(HeadraceRuntimeError):  # what went wrong first is to be told
            queue.finish()
        raise
    if site := queue.finish():
        raise Broken(f"finish tells of a fault at site {site}, but no kernel has found one")


def _pattern(size: int, seed: int) -> bytes:
    return bytes((seed + 7 * i + i // 251) % 256 for i in range(size))


def _expect(found: bytes, expected: bytes, where: str) -> None:
    if found == expected:
        return
    at = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    raise Broken(f"{where}: byte {at} of {len(expected)} is {found[at]}, expected {expected[at]}")


# ---- the promises ----------------------------------------------------------------------------------------------------


def _struct(driver: Driver) -> None:
    """The struct has this ABI, a name, and every function."""
    struct = driver.struct
    if struct.abi != abi.ABI:
        raise Broken(f"is made for ABI {struct.abi}, expected {abi.ABI}")
    if not struct.name or b":" in struct.name:
        raise Broken(f"the name is {struct.name!r}, expected some without a colon")
    missing = [name for name in abi.FUNCTIONS if not getattr(struct, name)]
    if missing:
        raise Broken(f"{', '.join(missing)} is NULL")


def _features(driver: Driver) -> None:
    """A feature that no device has is refused with a text, before any device is opened."""
    try:
        driver.check_feature("no such feature")
    except UnsupportedError:
        return
    raise Broken("supports says that the device has 'no such feature'")


def _devices(driver: Driver) -> None:
    """Devices are opened and closed, again, and several at once, each with memory of its own."""
    for _ in range(2):
        with opened(driver):
            pass
    with (
        opened(driver) as (one, first),
        opened(driver) as (other, second),
        memory(one, 64) as (a,),
        memory(other, 64) as (b,),
        run(first),
        run(second),
    ):
        first.upload(a, 0, _pattern(64, 1))
        second.upload(b, 0, _pattern(64, 2))
        _expect(first.download(a, 0, 64), _pattern(64, 1), "the first device's memory")
        _expect(second.download(b, 0, 64), _pattern(64, 2), "the second device's memory")


def _no_such_device(driver: Driver) -> None:
    """A device that there is not is refused with a text."""
    try:
        replace(driver, which=NO_DEVICE).open().close()
    except HeadraceRuntimeError:
        return
    raise Broken(f"open gives a device of the name {NO_DEVICE!r}")


def _alignment(driver: Driver) -> None:
    """Memory is had in every size; where it is the host's, aligned to 64 bytes."""
    with opened(driver) as (device, _), memory(device, *SIZES, *SIZES) as handles:
        if len(set(handles)) < len(handles):
            raise Broken("two pieces of memory have the same handle")
        odd = [h for h in handles if h % ALIGNMENT]
        if driver.struct.flags & abi.HOST_MEMORY and odd:
            raise Broken(f"alloc gives {odd[0]:#x}, which is not a multiple of {ALIGNMENT}")


def _too_much(driver: Driver) -> None:
    """What is too much is refused with HR_NO_MEMORY and a text, and smaller sizes are had afterwards."""
    with opened(driver) as (device, _):
        try:
            device.alloc(TOO_MUCH)
        except OutOfMemoryError:
            pass
        else:
            raise Broken(f"alloc gives {TOO_MUCH} bytes")
        with memory(device, 64):
            pass


def _round_trips(driver: Driver) -> None:
    """What is uploaded is downloaded, at any offset, and nothing beside it changes."""
    with opened(driver) as (device, queue):
        for size in SIZES:
            with memory(device, size) as (handle,), run(queue):
                whole = bytearray(_pattern(size, 3))
                queue.upload(handle, 0, bytes(whole))
                for offset, length in ((0, 1), (size // 3, size // 2), (size - 1, 1)):
                    part = _pattern(length, 90 + offset % 50)
                    queue.upload(handle, offset, part)
                    whole[offset : offset + length] = part
                    _expect(queue.download(handle, offset, length), part, f"{length} bytes at {offset} of {size}")
                _expect(queue.download(handle, 0, size), bytes(whole), f"all {size} bytes")


def _copies(driver: Driver) -> None:
    """Copies take offsets on both sides, within one piece of memory as between two."""
    with opened(driver) as (device, queue), memory(device, 4096, 1000) as (a, b), run(queue):
        first, second = _pattern(4096, 5), bytearray(_pattern(1000, 6))
        queue.upload(a, 0, first)
        queue.upload(b, 0, bytes(second))
        queue.copy((b, 17), (a, 1003), 333)
        second[17:350] = first[1003:1336]
        _expect(queue.download(b, 0, 1000), bytes(second), "the target")
        queue.copy((b, 600), (b, 17), 333)
        second[600:933] = second[17:350]
        _expect(queue.download(b, 0, 1000), bytes(second), "the target within the source")
        _expect(queue.download(a, 0, 4096), first, "the source")


def _order(driver: Driver) -> None:
    """Steps of a queue happen in the order in which they are asked for."""
    with opened(driver) as (device, queue), memory(device, 65_536, 65_536) as (a, b), run(queue):
        for turn in range(8):
            queue.upload(a, 0, _pattern(65_536, turn))
            queue.copy((b, 0), (a, 0), 65_536)
            queue.upload(a, 0, bytes(65_536))
            _expect(queue.download(b, 0, 65_536), _pattern(65_536, turn), f"turn {turn}")


def _runs(driver: Driver) -> None:
    """Runs follow one another, an empty one too; memory keeps what it holds from one to the next."""
    with opened(driver) as (device, queue), memory(device, 4096) as (handle,):
        with run(queue):
            queue.upload(handle, 0, _pattern(4096, 8))
        for _ in range(3):
            with run(queue):
                pass
        with run(queue):
            _expect(queue.download(handle, 0, 4096), _pattern(4096, 8), "memory after other runs")


def _finished(driver: Driver) -> None:
    """What a run has written is seen by another queue, once `finish` has returned."""
    with opened(driver) as (device, first):
        second = device.queue()
        try:
            with memory(device, 4096, 4096) as (a, b):
                for turn in range(4):
                    with run(first):
                        first.upload(a, 0, _pattern(4096, turn))
                        first.copy((b, 0), (a, 0), 4096)
                    with run(second):
                        _expect(second.download(b, 0, 4096), _pattern(4096, turn), "memory after another queue's run")
        finally:
            second.close()


def _queues(driver: Driver) -> None:
    """Several queues of a device take turns, each with a run under way."""
    with opened(driver) as (device, first):
        second = device.queue()
        try:
            with memory(device, 4096, 4096) as (a, b), run(first), run(second):
                for turn in range(4):
                    first.upload(a, 0, _pattern(4096, turn))
                    second.upload(b, 0, _pattern(4096, turn + 100))
                    _expect(first.download(a, 0, 4096), _pattern(4096, turn), "the first queue's memory")
                    _expect(second.download(b, 0, 4096), _pattern(4096, turn + 100), "the second queue's memory")
        finally:
            second.close()


def _at_once(driver: Driver) -> None:
    """Two threads use a queue each at once."""
    with opened(driver) as (device, first):
        second = device.queue()
        try:
            both = Barrier(2)
            contents = [_pattern(PIECE, seed) for seed in range(2)]

            def trips(queue: Queue, handle: int, content: bytes) -> None:
                both.wait()
                for _ in range(TRIPS):
                    queue.upload(handle, 0, content)
                    _expect(queue.download(handle, 0, PIECE), content, "a queue's memory, while another is used")

            with memory(device, PIECE, PIECE) as handles, ThreadPoolExecutor(2) as pool, run(first), run(second):
                list(pool.map(trips, (first, second), handles, contents))
        finally:
            second.close()


def _given_back(driver: Driver) -> None:
    """Memory that is released is had again; a device that is closed has given back what it took."""
    with opened(driver) as (device, _):
        for _ in range(ROUNDS):
            with memory(device, LARGE):
                pass
    for turn in range(2 * TURNS):
        if turn == TURNS:  # by now all is there that is kept for good
            held, heap = held_bytes(), heap_bytes()
        with opened(driver) as (device, queue), memory(device, PIECE) as (handle,), run(queue):
            queue.reserve(PIECE)
            queue.upload(handle, 0, bytes(PIECE))
    if more := held_bytes() - held:
        raise Broken(f"{more} bytes of its allocator are not given back after {TURNS} turns of opening and closing")
    if (more := heap_bytes() - heap) > TURNS * PIECE // 2:
        raise Broken(f"the heap is {more} bytes larger after {TURNS} turns of opening and closing")


def _scratch(driver: Driver) -> None:
    """Scratch is reserved in growing and shrinking sizes, between runs and within one."""
    with opened(driver) as (_, queue):
        for size in (4096, 1 << 20, 8192):
            queue.reserve(size)
            with run(queue):
                queue.reserve(2 * size)


def _failures(driver: Driver) -> None:
    """A failure within a run has a text; the run can be finished, and the next one works."""
    with opened(driver) as (device, queue), memory(device, 64) as (handle,):
        queue.begin()
        try:
            device.alloc(TOO_MUCH)
        except HeadraceRuntimeError:
            queue.finish()
        else:
            raise Broken(f"alloc gives {TOO_MUCH} bytes")
        with run(queue):
            queue.upload(handle, 0, _pattern(64, 9))
            _expect(queue.download(handle, 0, 64), _pattern(64, 9), "memory after a failure")


def _modules(driver: Driver) -> None:
    """An image that is none is refused with a text, or taken and given back; the device works afterwards."""
    with opened(driver) as (device, _):
        for image in (b"\xff" * 64, b"no image of any device\0"):
            with suppress(HeadraceRuntimeError):
                device.module_unload(device.module_load(image))
        with memory(device, 64):
            pass


_CHECKS: tuple[Callable[[Driver], None], ...] = (
    _struct,
    _features,
    _devices,
    _no_such_device,
    _alignment,
    _too_much,
    _round_trips,
    _copies,
    _order,
    _runs,
    _finished,
    _queues,
    _at_once,
    _scratch,
    _failures,
    _modules,
    _given_back,
)
