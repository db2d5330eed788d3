"""A matrix product in the shape of a GPU: it runs right, and each piece of its synchronisation is needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import KernelFault
from headrace.ir.kernel.interpret import KernelRun, run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

TEXT = Path(__file__).with_name("gpu_matmul.hir").read_text()
RNG = np.random.default_rng(0)
A: np.ndarray[Any, Any] = RNG.standard_normal((16, 32)).astype(np.float32)
B: np.ndarray[Any, Any] = RNG.standard_normal((32, 16)).astype(np.float32)


def run(text: str) -> KernelRun:
    module = parse_module(text)
    verify(module)
    function = module.function("matmul")
    assert isinstance(function, KernelFunc)
    return run_kernel(function, [A, B])


def without(line: int) -> str:
    lines = TEXT.splitlines()
    return "\n".join(lines[:line] + lines[line + 1 :])


def lines_with(word: str) -> list[int]:
    return [n for n, line in enumerate(TEXT.splitlines()) if word in line]


def test_it_multiplies() -> None:
    result = run(TEXT)
    assert result.written[0].all()
    np.testing.assert_allclose(result.outputs[0], A @ B, rtol=1e-5, atol=1e-5)


def test_without_the_first_barrier_threads_read_what_others_still_copy() -> None:
    with pytest.raises(KernelFault, match=r"race: reads %ta\[0, 0\], which another lane wrote.*tx = 1, k = 0"):
        run(without(lines_with("kernel.barrier")[0]))


def test_without_the_second_barrier_threads_overwrite_what_others_still_read() -> None:
    with pytest.raises(KernelFault, match=r"copy_async.*race: writes %ta\[0, 0\], which another lane read.*k = 1"):
        run(without(lines_with("kernel.barrier")[1]))


def test_without_the_wait_the_tile_is_read_too_early() -> None:
    with pytest.raises(KernelFault, match=r"reads %ta\[0, 0\], the target of a copy that was not waited for"):
        run(without(lines_with("kernel.wait")[0]))


def test_each_token_must_be_waited_for() -> None:
    with pytest.raises(KernelFault, match=r"reads %tb\[0, 0\], the target of a copy that was not waited for"):
        run(TEXT.replace("%t0, %t1, %t2, %t3)", "%t0, %t1, %t3)"))


def test_a_barrier_that_some_threads_do_not_reach() -> None:
    text = TEXT.replace(
        "kernel.barrier  // the tiles are", "kernel.if {where = [ty - 1]} { kernel.barrier } else { }  // the tiles are"
    )
    with pytest.raises(KernelFault, match=r"a thread of the workgroup does not come here; at gy = 0, gx = 0, ty = 0"):
        run(text)


def test_a_tile_that_reaches_too_far() -> None:
    with pytest.raises(
        KernelFault, match=r"index 1 of %tb is 8, expected 0 to 7; at .*tx = 3, k = 0, kk = 0, i = 0, j = 1"
    ):
        run(TEXT.replace("%tb[kk, tx*2 + j]", "%tb[kk, tx*2 + j + 1]"))


def test_two_threads_that_write_one_element() -> None:
    with pytest.raises(KernelFault, match=r"race: writes %c\[0, 1\], which another lane wrote"):
        run(TEXT.replace("gx*8 + tx*2 + j1]", "gx*8 + tx + j1]"))


def test_a_sum_that_starts_from_nothing() -> None:
    with pytest.raises(KernelFault, match=r"reads %acc\[0, 1\], which nothing has written"):
        run(TEXT.replace("%zero, %acc[i0, j0]", "%zero, %acc[i0, 0]"))
