"""Kernels compiled from their C text by gcc, every warning an error, and run task by task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_program import call, library_of

from headrace.ir.bind import bind
from headrace.ir.kernel.ops.func import KernelFunc
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
