"""Headrace compiles a trained model ahead of time into one file, and runs that file.

    import headrace as hr

    model = hr.compile("m.onnx", output="m.hrm", target="host")     # an ONNX file goes in, a .hrm file comes out
    session = hr.load("m.hrm", threads=2)                           # needs neither the compiler nor ONNX
    result = session.run({"x": array})                              # numpy arrays go in, numpy arrays come out

The names below are looked up when they are first used, so that `import headrace` is light and loading a
compiled model imports nothing of the compiler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace import errors
    from headrace.compiler.driver import compile
    from headrace.runtime.python import load
    from headrace.targets import list_targets

__all__ = ["compile", "errors", "list_targets", "load"]

_HOMES = {
    "compile": "headrace.compiler.driver",
    "list_targets": "headrace.targets",
    "load": "headrace.runtime.python",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("headrace.errors")
    if name == "__version__":
        return import_module("headrace.compiler.version").VERSION
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
