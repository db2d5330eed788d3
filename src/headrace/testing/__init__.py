"""Adapters for tools that check an engine on ONNX models: compile to a `.hrm`, then run only that.

    compile_onnx(path) -> callable(inputs) -> dict            also _v2, _v3, _v4: for that x86-64 level
    run_onnx(path, inputs, *, shapes) -> list                 compiles and runs once, results in the model's order

What Headrace does not cover raises an exception whose class name starts with `Unsupported`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["compile_onnx", "compile_onnx_v2", "compile_onnx_v3", "compile_onnx_v4", "run_onnx"]

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Any]
Compiled = Callable[[Inputs], dict[str, Array]]


def compile_onnx(path: str, *, target: str = "host") -> Compiled:
    """Compiles the model once, into a file that is removed again; the callable runs it in the C runtime."""
    from headrace import compile, load

    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        artefact = Path(folder) / "model.hrm"
        compile(path, output=artefact, target=target)
        session = load(artefact, threads=1)

    def run(inputs: Inputs) -> dict[str, Array]:
        return session.run({name: np.asarray(value) for name, value in inputs.items()})

    return run


compile_onnx_v2 = partial(compile_onnx, target="x86-64-v2")
compile_onnx_v3 = partial(compile_onnx, target="x86-64-v3")
compile_onnx_v4 = partial(compile_onnx, target="x86-64-v4")


def run_onnx(path: str, inputs: Inputs, *, shapes: str) -> list[Array]:
    """Compiles the model for this machine and runs it once.

    `shapes` says how the caller prepared the model; the model itself says the same, so nothing depends on it.
    """
    return list(compile_onnx(path)(inputs).values())
