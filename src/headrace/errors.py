"""Every error that Headrace raises on purpose, in one place: `except headrace.errors.HeadraceError` catches the compiler's.

The compiler's tree is declared in headrace.ir.errors and drawn there.
"""

from headrace.ir.errors import (
    ArtefactError,
    CodegenError,
    DimError,
    HeadraceError,
    IRError,
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
    "DimError",
    "HeadraceError",
    "IRError",
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
