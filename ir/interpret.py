"""Running any function of a module in its dialect's reference interpreter.

In: a module, a function's name, numpy arrays for its inputs.  Out: the arrays of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.ir.errors import ExecutionError
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.kernel.interpret import execute, run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.program.interpret import run_program
from headrace.ir.program.ops.program import ProgramFunc

Array = np.ndarray[Any, Any]


def interpret(
    module: Module,
    name: str,
    inputs: Sequence[Array],
    symbols: Mapping[str, int] | None = None,
    *,
    wide: bool = False,
    execute: Callable[..., None] = execute,
) -> list[Array]:
    """The results of `@name`.  Symbols that the inputs' shapes give may be left out; `wide`: floats as float64;
    `execute` runs the kernels of a program.

    Raises ExecutionError where the inputs do not fit, a rule of the IR is broken, or a check of the program fails.
    """
    match module.function(name):
        case GraphFunc() as function:
            return run_graph(function, inputs, symbols, wide=wide)
        case ProgramFunc() as function:
            return run_program(function, inputs, symbols, wide=wide, execute=execute)
        case KernelFunc() as function:
            run = run_kernel(function, inputs, symbols, wide=wide)
            for number, written in enumerate(run.written):
                if not written.all():
                    missing = int(np.count_nonzero(~written))
                    of = f"{missing} of {written.size} elements of output {number}"
                    raise ExecutionError(f"@{name}: {of} were not written")
            return run.outputs
        case function:
            raise ExecutionError(f"@{name} is a {function.name}, which has no interpreter")
