"""Every error that Headrace raises on purpose, by name: what to write behind `except`.

The compiler's tree is declared in headrace.ir.errors and drawn there, that of running a compiled model in
headrace.runtime.python.errors.
"""

from headrace.ir.errors import (
    ArtefactError,
    CodegenError,
    DataError,
    DimError,
    ExecutionError,
    HeadraceError,
    IRError,
    KernelFault,
    LinkError,
    ModelError,
    OptionError,
    ParseError,
    PassError,
    PlacementError,
    SemanticError,
    TargetError,
    UnsupportedModelError,
    VerifyError,
)
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

__all__ = [
    "ArtefactError",
    "BusyError",
    "CodegenError",
    "DamagedError",
    "DataError",
    "DeviceError",
    "DimError",
    "ExecutionError",
    "HeadraceError",
    "HeadraceRuntimeError",
    "IRError",
    "InputError",
    "KernelFault",
    "LinkError",
    "LoadError",
    "ModelError",
    "OptionError",
    "OutOfMemoryError",
    "ParseError",
    "PassError",
    "PlacementError",
    "SemanticError",
    "TargetError",
    "UnsupportedError",
    "UnsupportedModelError",
    "VerifyError",
    "VersionError",
]
