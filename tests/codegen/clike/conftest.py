"""Kernels compiled from their text: C by gcc, every warning an error, run task by task; OpenCL C on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_program import call, library_of
from opencl_device import Built, OpenCL

from headrace.ir.bind import bind
from headrace.ir.kernel.ops.control import Parallel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import BufferType

Array = np.ndarray[Any, Any]


class InC:
    """Kernels of one C file."""

    def __init__(self, functions: Sequence[KernelFunc], folder: Path) -> None:
        self.functions = {f.function_name: f for f in functions}
        self.library = library_of(functions, folder)

    def run(self, name: str, inputs: Sequence[Array], symbols: Mapping[str, int] | None = None) -> list[Array]:
        """The outputs; bytes that nobody wrote are 0xA5."""
        function = self.functions[name]
        shaped = [(f"input {i}", p.type, a.shape) for i, (p, a) in enumerate(zip(function.inputs, inputs, strict=True))]
        known = bind(f"@{name}", shaped, function.known, symbols or {})
        outputs = []
        for parameter in function.written:
            kind = parameter.type
            assert isinstance(kind, BufferType)
            shape = [int(d.evaluate(known)) for d in kind.dims]
            empty = bytearray(b"\xa5" * (int(np.prod(shape)) * kind.dtype.bytes))
            outputs.append(np.frombuffer(empty, kind.dtype.numpy).reshape(shape))
        arrays = [*(np.ascontiguousarray(x) for x in inputs), *outputs]
        call(self.library, function, arrays, [known[s] for s in function.scalars])
        return outputs


@pytest.fixture
def in_c(tmp_path: Path, require_tool: Callable[[str], str]) -> Callable[[Sequence[KernelFunc]], InC]:
    """Compiles kernels."""
    require_tool("gcc")
    return lambda functions: InC(functions, tmp_path)


@pytest.fixture(params=["c", "opencl"])
def in_each(request: pytest.FixtureRequest) -> Callable[[Sequence[KernelFunc]], InC | Built]:
    """Compiles kernels, in one language after the other; tasks become workgroups where there are no tasks."""
    if request.param == "c":
        return request.getfixturevalue("in_c")  # type: ignore[no-any-return]
    device: OpenCL = request.getfixturevalue("opencl")

    def build(functions: Sequence[KernelFunc]) -> Built:
        for function in functions:
            for outer in function.block.operations:
                if isinstance(outer, Parallel):
                    axes = tuple(replace(a, kind="grid") for a in outer.axes)
                    Rewriter().set_attribute(outer, "axes", axes)
        return device.build(functions)

    return build
