"""The demo's kernels with a barrier left out: oclgrind finds the race, and so does the interpreter.

That both find nothing in them as they are is in test_gpu_schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gpu_program import lower, schedule_all
from opencl_device import watched

from headrace.compiler.demo_data import model_path
from headrace.compiler.driver import read_model
from headrace.ir.core import walk
from headrace.ir.errors import KernelFault
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.control import Barrier
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import print_op
from headrace.ir.types import BufferType


def _without_a_barrier() -> list[KernelFunc]:
    """The kernels that have barriers, each without its first one."""
    module = read_model(model_path(), None)
    lower(module)
    schedule_all(module)
    kernels = [k for k in module.functions(KernelFunc) if any(walk(k, Barrier))]
    for kernel in kernels:
        Rewriter().erase(next(walk(kernel, Barrier)))
    return kernels


def test_oclgrind_finds_the_race(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    kernels = _without_a_barrier()
    assert kernels
    for kernel in kernels:
        (tmp_path / "k.hir").write_text(print_op(kernel))
        assert "data race" in watched(tmp_path / "k.hir", require_tool("oclgrind")), kernel.function_name


def test_the_interpreter_finds_the_race() -> None:
    for kernel in _without_a_barrier():
        symbols = dict.fromkeys(kernel.scalars, 3)
        kinds = [p.type for p in kernel.inputs if isinstance(p.type, BufferType)]
        inputs = [np.ones([int(d.evaluate(symbols)) for d in k.dims], k.dtype.numpy) for k in kinds]
        with pytest.raises(KernelFault, match="race"):
            run_kernel(kernel, inputs, symbols)
