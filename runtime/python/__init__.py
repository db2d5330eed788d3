"""Load a compiled model and run it.  In: a `.hrm` file, numpy arrays by name.  Out: numpy arrays by name.

    session = load("m.hrm", threads=2)
    result = session.run({"x": array})                 # new arrays
    session.run({"x": array}, outputs={"y": buffer})   # into the caller's memory

Everything that computes is in the C runtime, behind `headrace.runtime._face`.
"""

from headrace.runtime.python.errors import (
    BusyError,
    DamagedError,
    DeviceError,
    HeadraceRuntimeError,
    InputError,
    LoadError,
    OutOfMemoryError,
    UnsupportedError,
    VersionError,
)
from headrace.runtime.python.hosting import Call, Fault, HostedDriver
from headrace.runtime.python.session import Memory, Port, Record, Session, load

__all__ = [
    "BusyError",
    "Call",
    "DamagedError",
    "DeviceError",
    "Fault",
    "HeadraceRuntimeError",
    "HostedDriver",
    "InputError",
    "LoadError",
    "Memory",
    "OutOfMemoryError",
    "Port",
    "Record",
    "Session",
    "UnsupportedError",
    "VersionError",
    "load",
]
