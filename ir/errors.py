"""Every error Headrace's compiler raises on purpose.  In: what went wrong and where.  Out: one line for the user.

    HeadraceError
    ├── ModelError              the ONNX file is damaged or contradicts itself
    ├── UnsupportedModelError   the model is fine, but needs what Headrace does not have
    ├── IRError
    │   ├── ParseError          text that is no .hir (file, line, column)
    │   ├── VerifyError         an operation that breaks its declaration
    │   ├── DimError            an impossible integer formula
    │   └── ExecutionError      an interpreter met what the IR forbids, or a check of the program failed
    │       ├── KernelFault     a kernel touched memory that it must not touch: bounds, order, undefined content
    │       └── DataError       the data that the model was given break one of its rules
    ├── PassError               an unknown pass, a wrong option, a pass that cannot go on
    ├── SemanticError           a pass changed what the program computes
    ├── CodegenError            the code generator refused or died
    ├── LinkError               object code that cannot become a position-independent image
    ├── ArtefactError           a .hrm that cannot be read or written
    ├── TargetError             an unknown target, or one that cannot do what was asked
    ├── PlacementError          an operation runs on another device than the user insists on
    └── OptionError             a wrong option of a command or of an API call

Messages start in lower case, name the place first, then what was found and what was expected, and have
no full stop.  This module is a leaf: it imports nothing of Headrace.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence


class HeadraceError(Exception):
    """Root of the tree; `str(error)` is the one line the command line prints."""


class ModelError(HeadraceError):
    """The ONNX file is damaged or contradicts itself."""


class UnsupportedModelError(HeadraceError):
    """The model needs something Headrace does not have; the message names every such node.

    `nodes` tells the same in parts: name, op, domain, opset, types of the inputs, and the reason.
    """

    def __init__(self, message: str, nodes: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


class IRError(HeadraceError):
    """Something about the IR itself."""


class ParseError(IRError):
    """Text that does not follow the .hir grammar; the message starts with `file:line:column`."""


class VerifyError(IRError):
    """An operation that breaks its own declaration."""


class DimError(IRError):
    """An integer formula that cannot be: division by zero, contradicting facts, bad syntax."""


class ExecutionError(IRError):
    """An interpreter met what the IR forbids, or a check that the program itself makes did not hold."""


class KernelFault(ExecutionError):
    """A kernel touched memory that it must not touch; the message names operation, buffer, element and axes."""


class DataError(ExecutionError):
    """The data that the model was given break one of its rules: an index is out of range."""

    def __init__(self, message: str, node: int = 0) -> None:
        super().__init__(message)
        self.node = node  # which of the nodes of the launch it is about


class PassError(HeadraceError):
    """An unknown pass, a wrong pass option, or a pass that cannot go on."""


class SemanticError(HeadraceError):
    """A pass changed what the program computes; the message names the first such pass."""


class CodegenError(HeadraceError):
    """The code generator refused its input, or its worker died."""


class LinkError(HeadraceError):
    """Object code that cannot become a position-independent image."""


class ArtefactError(HeadraceError):
    """A .hrm file that cannot be written or read."""


class TargetError(HeadraceError):
    """An unknown target, or one that cannot do what was asked of it."""


class PlacementError(HeadraceError):
    """An operation runs on another device than the user insists on."""


class OptionError(HeadraceError):
    """A wrong option on the command line or in an API call."""


def one_line(error: BaseException) -> str:
    """What it says; of an exception that is not ours, its kind, too."""
    if isinstance(error, HeadraceError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")


def nearest(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the candidate most like `name`, or an empty string."""
    found = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""
