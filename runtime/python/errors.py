"""Every error of the runtime's Python face.  In: a status and a message of the C runtime.  Out: an exception.

    HeadraceRuntimeError
    ├── LoadError             the file cannot be opened: look at the path
    │   ├── DamagedError      it is no compiled model, or bytes of it were lost or changed
    │   ├── VersionError      its format is one that this runtime does not read
    │   └── UnsupportedError  nothing in it runs on this machine, or it needs a newer runtime
    ├── InputError            a name, dtype, shape or value that the model does not take
    ├── BusyError             the session is running already
    ├── OutOfMemoryError      (also a MemoryError)
    └── DeviceError           the device failed; load the model again

Messages are one line, name the place first, then what was found and what was expected.
"""


class HeadraceRuntimeError(Exception):
    """Root of the tree; `str(error)` is the one line."""


class LoadError(HeadraceRuntimeError):
    """The file cannot be opened."""


class DamagedError(LoadError):
    """It is no compiled model, or bytes of it were lost or changed."""


class VersionError(LoadError):
    """Its format is one that this runtime does not read."""


class UnsupportedError(LoadError):
    """Nothing in it runs on this machine, or it needs a newer runtime."""


class InputError(HeadraceRuntimeError):
    """A name, dtype, shape or value that the model does not take."""


class BusyError(HeadraceRuntimeError):
    """The session is running already: one run at a time."""


class OutOfMemoryError(HeadraceRuntimeError, MemoryError):
    """There is not enough memory."""


class DeviceError(HeadraceRuntimeError):
    """The device failed."""


# ORDER: hr_status in headrace.h.
_BY_STATUS: dict[int, type[HeadraceRuntimeError]] = {
    1: InputError,
    2: LoadError,
    3: DamagedError,
    4: VersionError,
    5: UnsupportedError,
    6: OutOfMemoryError,
    7: InputError,
    8: BusyError,
    9: InputError,
    10: DeviceError,
}


def error_for(status: int, message: str) -> HeadraceRuntimeError:
    """The exception for a status of the C runtime."""
    return _BY_STATUS.get(status, HeadraceRuntimeError)(message)
