"""Adapters for tools that check an engine on ONNX models: compile to a `.hrm`, then run only that.

    compile_onnx(path) -> callable(inputs) -> dict            also _v2, _v3, _v4: for that x86-64 level
    run_onnx(path, inputs, *, shapes) -> list                 compiles and runs once, results in the model's order
    run_onnx_opencl(path, inputs, *, shapes) -> list          the same on the first OpenCL device

What Headrace does not cover raises an exception whose class name starts with `Unsupported`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["compile_onnx", "compile_onnx_v2", "compile_onnx_v3", "compile_onnx_v4", "run_onnx", "run_onnx_opencl"]

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Any]
Compiled = Callable[[Inputs], dict[str, Array]]


def compile_onnx(
    path: str, *, target: str = "host", shapes: Mapping[str, Sequence[int | str | None]] | None = None
) -> Compiled:
    """Compiles the model once, into a file that is removed again; the callable runs it in the C runtime."""
    from headrace import compile, load

    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        artefact = Path(folder) / "model.hrm"
        compile(path, output=artefact, target=target, shapes=shapes)
        session = load(artefact, threads=1)

    def run(inputs: Inputs) -> dict[str, Array]:
        return session.run({name: np.asarray(value) for name, value in inputs.items()})

    return run


compile_onnx_v2 = partial(compile_onnx, target="x86-64-v2")
compile_onnx_v3 = partial(compile_onnx, target="x86-64-v3")
compile_onnx_v4 = partial(compile_onnx, target="x86-64-v4")


def run_onnx(path: str, inputs: Inputs, *, shapes: str, target: str = "host") -> list[Any]:
    """Compiles the model, for this machine if no target is given, and runs it once.

    `shapes` says how the caller prepared the model, `dynamic` that dims are to be symbols; for tensors the model itself
    says the same.  A sequence is a list, an optional its content or None: the compiled model has a tensor for each
    element, and this takes them apart and puts them together.
    """
    from headrace.compiler.frontends.onnx.ports import kinds

    tensors, known = tensors_of(path, inputs, shapes=shapes)
    found = compile_onnx(path, target=target, shapes=known)(tensors)
    _, made = kinds(path)
    return [_assembled(name, kind, found) for name, kind in made.items()]


run_onnx_opencl = partial(run_onnx, target="opencl")


def tensors_of(path: str, inputs: Inputs, *, shapes: str) -> tuple[dict[str, Any], dict[str, Sequence[int | None]]]:
    """What the compiled model takes for these inputs, and the shapes to compile it with."""
    from headrace.compiler.frontends.onnx.ports import kinds

    taken, _ = kinds(path)
    tensors: dict[str, Any] = {}
    known: dict[str, Sequence[int | None]] = {}
    for name, value in inputs.items():
        if taken[name] == "tensor":
            tensors[name] = value
        elif value is not None:
            is_list = isinstance(value, list | tuple)
            parts = {f"{name}[{i}]": part for i, part in enumerate(value)} if is_list else {name: value}
            tensors |= parts
            known |= {n: [None if shapes == "dynamic" else d for d in np.shape(p)] for n, p in parts.items()}
            if not parts:
                known[name] = ()
    return tensors, known


def _assembled(name: str, kind: str, found: Mapping[str, Array]) -> Any:
    if "sequence" not in kind:
        return found.get(name)
    parts = list(takewhile(lambda n: n in found, (f"{name}[{i}]" for i in count())))
    return [found[n] for n in parts] if parts or kind == "sequence" else None
