"""Products of tiles in languages without a matrix unit: written out, they are what the interpreter gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opencl_device import OpenCL
from tiled_products import AXIS, TYPES, Product, passed

from headrace.codegen.clike import emit_c, emit_opencl
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module

TENSORIZED = f"kernel.tensorize{{func=f axis={AXIS}}}"
WRITTEN_OUT = f"{TENSORIZED}, kernel.expand-mma, kernel.realize"


def only(module: Module) -> KernelFunc:
    return next(module.functions(KernelFunc))


def check(built: Any, product: Product) -> None:
    function = only(passed(product.tiled(), TENSORIZED))
    for m, n in ((1, 1), (4, 6), (9, 13)):
        inputs = product.inputs(m, n)
        np.testing.assert_array_equal(built.run("f", inputs)[0], run_kernel(function, inputs).outputs[0])


@pytest.mark.parametrize("types", TYPES, ids=" ".join)
def test_tiles_in_memory(in_each: Callable[..., Any], types: Any) -> None:
    product = Product(*types, (True, False))
    check(in_each([only(passed(product.tiled(), WRITTEN_OUT))]), product)


@pytest.mark.parametrize("types", [TYPES[0], TYPES[1], TYPES[5]], ids=" ".join)
@pytest.mark.parametrize("padded", [False, True], ids=["", "padded"])
def test_tiles_that_a_workgroup_has_copied(opencl: OpenCL, types: Any, padded: bool) -> None:
    """Twice as many as are used, in shared memory."""
    product = Product(*types, (False, True), threads=True, staged=True, doubled=True, padded=padded)
    check(opencl.build([only(passed(product.tiled(), WRITTEN_OUT))]), product)


def test_one_that_is_left_is_refused() -> None:
    function = only(passed(Product().tiled(), f"{TENSORIZED}, kernel.realize"))
    with pytest.raises(CodegenError, match=r"kernel.mma at .* has no C form; kernel.expand-mma writes it out"):
        emit_c([function])
    function = only(passed(Product(threads=True).tiled(), f"{TENSORIZED}, kernel.realize"))
    with pytest.raises(CodegenError, match=r"kernel.mma at .* has no OpenCL C form; kernel.expand-mma writes it out"):
        emit_opencl([function])
