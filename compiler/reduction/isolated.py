"""Runs a function in a process that may die.  In: the function, limits.  Out: what it returned, or how it ended.

The process is a fork, so that nothing has to be imported anew and the function may be a closure.  It leads a group of
its own, with the workers that it starts, and the whole group is gone when the call returns.
"""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process: `seconds` by the clock, `memory` in bytes of address space beyond what it begins with."""

    seconds: float = 60.0
    memory: int = 8 << 30


@dataclass(frozen=True, slots=True)
class Ended:
    """`how`: returned, timeout, memory, or a signal's name; `at`: what the function told last."""

    how: str
    value: Any = None
    at: str = ""


def isolated(function: Callable[[Tell], Any], limits: Limits) -> Ended:
    """Calls `function` with what it may tell the caller by: where it is, in case that it never returns."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(reading)
            _child(function, limits, writing)
        finally:
            os._exit(1)
    os.close(writing)
    try:
        content, late = _received(reading, time.monotonic() + limits.seconds)
    finally:
        with suppress(ProcessLookupError, PermissionError):  # it ended before it led a group
            os.killpg(process, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        os.close(reading)
        _, status = os.waitpid(process, 0)
    return _ended(content, late, status)


def _child(function: Callable[[Tell], Any], limits: Limits, writing: int) -> None:
    os.setpgid(0, 0)
    faulthandler.disable()  # a process that dies is an answer here
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space() + limits.memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def send(kind: str, content: Any) -> None:
        data = pickle.dumps((kind, content))
        while data:
            data = data[os.write(writing, data) :]

    try:
        send("returned", function(lambda place: send("at", place)))
    except MemoryError:
        send("memory", None)
    os._exit(0)


def _address_space() -> int:
    """Bytes of address space that this process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _received(reading: int, until: float) -> tuple[bytes, bool]:
    """All that the child sends, and whether it took too long."""
    content = bytearray()
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return bytes(content), True
        part = os.read(reading, 1 << 20)
        if not part:
            return bytes(content), False
        content += part


def _ended(content: bytes, late: bool, status: int) -> Ended:
    at, how, value = "", "", None
    file = io.BytesIO(content)
    with suppress(EOFError, pickle.UnpicklingError):  # cut off in the middle of a message
        while True:
            kind, found = pickle.load(file)
            if kind == "at":
                at = found
            else:
                how, value = kind, found
    if late and not how:
        how = "timeout"
    if not how:
        how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit"
    return Ended(how, value, at)
