"""Products of tiles on a CPU, which has no unit for them: written out, they are what the interpreter gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiled_products import AXIS, TYPES, Product, passed

from headrace.codegen.llvm import emit_module
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.targets import find_target

TENSORIZED = f"kernel.tensorize{{func=f axis={AXIS}}}"
WRITTEN_OUT = f"{TENSORIZED}, kernel.expand-mma, kernel.realize"


def only(module: Module) -> KernelFunc:
    return next(module.functions(KernelFunc))


@pytest.mark.parametrize("types", TYPES, ids=" ".join)
@pytest.mark.parametrize("transposed", [(False, False), (True, True)], ids=["plain", "transposed"])
def test_it_is_what_the_interpreter_gives(toolchain: Any, types: Any, transposed: Any) -> None:
    product = Product(*types, transposed)
    compiled = toolchain.compile([only(passed(product.tiled(), WRITTEN_OUT))])
    function = only(passed(product.tiled(), TENSORIZED))
    for m, n in ((1, 1), (4, 6), (9, 13)):
        inputs = product.inputs(m, n)
        np.testing.assert_array_equal(compiled.run("f", inputs)[0], run_kernel(function, inputs).outputs[0])


def test_one_that_is_left_is_refused() -> None:
    module = passed(Product().tiled(), f"{TENSORIZED}, kernel.realize")
    with pytest.raises(CodegenError, match=r"kernel.mma.* needs a matrix unit, expected loops; run kernel.expand-mma"):
        emit_module([only(module)], find_target("x86-64-v3")[1].presets["x86-64-v3"])
