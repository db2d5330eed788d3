"""The structs of `headrace_driver.h`, for ctypes.  ORDER: members stand as they do there."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char, c_char_p, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from typing import Any, ClassVar

ABI = 1
HOST_MEMORY = 1
UNSUPPORTED, NO_MEMORY, DATA, DEVICE = 5, 6, 9, 10  # of hr_status


class Error(Structure):
    _fields_: ClassVar = [("status", c_int), ("message", c_char * 508)]


class Slice(Structure):
    _fields_: ClassVar = [("handle", c_uint64), ("offset", c_uint64)]


class Part(Structure):
    _fields_: ClassVar = [("thread", c_uint32), ("reserved", c_uint32), ("begin_ns", c_uint64), ("end_ns", c_uint64)]


class Launch(Structure):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("index", c_uint32),
        ("module", c_uint64),
        ("name", c_char_p),
        ("entry", c_uint32),
        ("buffer_count", c_uint32),
        ("scalar_count", c_uint32),
        ("scratch_alignment", c_uint32),
        ("buffers", POINTER(Slice)),
        ("scalars", POINTER(c_int64)),
        ("scratch_bytes", c_uint64),
        ("tasks", c_int64),
        ("grain", c_int64),
        ("parts", c_void_p),
        ("part_count", POINTER(c_uint32)),
        ("work", c_int64),
    ]


class Fault(Structure):
    _fields_: ClassVar = [("index", c_uint32), ("site", c_int32), ("values", c_int64 * 2)]


class Allocator(Structure):
    _fields_: ClassVar = [("take", c_void_p), ("give", c_void_p), ("context", c_void_p)]


class DeviceOptions(Structure):
    _fields_: ClassVar = [("size", c_uint32), ("name", c_char_p), ("allocator", Allocator)]


class QueueOptions(Structure):
    _fields_: ClassVar = [("size", c_uint32), ("threads", c_uint32), ("run", c_void_p), ("context", c_void_p)]


def _function(*arguments: Any, returns: Any = c_int) -> Any:
    return ctypes.CFUNCTYPE(returns, *arguments)


_OUT = POINTER(c_uint64)
ERROR = POINTER(Error)
_FAULT = POINTER(Fault)
FUNCTIONS = {
    "open": _function(POINTER(DeviceOptions), POINTER(c_void_p), ERROR),
    "close": _function(c_void_p, returns=None),
    "alloc": _function(c_void_p, c_uint64, _OUT, ERROR),
    "release": _function(c_void_p, c_uint64, c_uint64, returns=None),
    "module_load": _function(c_void_p, c_void_p, c_uint64, _OUT, ERROR),
    "module_unload": _function(c_void_p, c_uint64, returns=None),
    "queue_open": _function(c_void_p, POINTER(QueueOptions), POINTER(c_void_p), ERROR),
    "queue_close": _function(c_void_p, returns=None),
    "reserve": _function(c_void_p, c_uint64, ERROR),
    "begin": _function(c_void_p, ERROR),
    "upload": _function(c_void_p, Slice, c_void_p, c_uint64, ERROR),
    "download": _function(c_void_p, c_void_p, Slice, c_uint64, ERROR),
    "copy": _function(c_void_p, Slice, Slice, c_uint64, ERROR),
    "launch": _function(c_void_p, POINTER(Launch), _FAULT, ERROR),
    "finish": _function(c_void_p, _FAULT, ERROR),
}


SUPPORTS = _function(POINTER(DeviceOptions), c_char_p, ERROR)


class Driver(Structure):
    _fields_: ClassVar = [
        ("size", c_uint32),
        ("abi", c_uint32),
        ("name", c_char_p),
        ("flags", c_uint32),
        *FUNCTIONS.items(),
        ("stands_for", c_char_p),
        ("supports", SUPPORTS),
    ]
