"""Every error that Headrace raises on purpose, by name: what to write behind `except`.

The compiler's tree is declared in headrace.ir.errors and drawn there.
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
    SemanticError,
    TargetError,
    UnsupportedModelError,
    VerifyError,
)

__all__ = [
    "ArtefactError",
    "CodegenError",
    "DataError",
    "DimError",
    "ExecutionError",
    "HeadraceError",
    "IRError",
    "KernelFault",
    "LinkError",
    "ModelError",
    "OptionError",
    "ParseError",
    "PassError",
    "SemanticError",
    "TargetError",
    "UnsupportedModelError",
    "VerifyError",
]
