"""Lookups of a map, kernel.check and kernel.let: what the verifier refuses, what the interpreter does."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import DataError, KernelFault, VerifyError
from headrace.ir.kernel.interpret import run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module, print_op
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]


def kernel(text: str) -> KernelFunc:
    module = parse_module(text)
    verify(module)
    assert print_op(parse_module(print_op(module))) == print_op(module)
    return next(module.functions(KernelFunc))


MAP = """
kernel.func @f(%x: buffer<f32[5, m]>, %i: buffer<i32[n]>, %k: buffer<u8[5]>, %y: buffer<f32[n, m]>)
    {outputs = 1, scalars = ["m", "n"]} {
  kernel.map (a: parallel n, b: parallel m) reads(%x[far, b]) writes(%y[a, b]) lookups(%i[a], %k[near])
      {found = [near: given 5, far: given 5], nodes = [0, 3]} {
  ^(%0: f32):
    kernel.yield %0
  }
}
"""
X = np.arange(15, dtype=np.float32).reshape(5, 3)
K = np.array([4, 3, 2, 1, 9], np.uint8)


def test_a_lookup_may_depend_on_another() -> None:
    i = np.array([0, 3, -2, -5], np.int32)
    (found,) = run_kernel(kernel(MAP), [X, i, K]).outputs
    np.testing.assert_array_equal(found, X[K[i]])


@pytest.mark.parametrize(("wrong", "node", "message"), [
    (5, 0, "index 5 is out of range for a dim of 5"),
    (-6, 0, "index -6 is out of range for a dim of 5"),
    (4, 3, "index 9 is out of range for a dim of 5"),
])  # fmt: skip
def test_an_index_out_of_range_is_an_error_of_the_data(wrong: int, node: int, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}$") as caught:
        run_kernel(kernel(MAP), [X, np.array([0, wrong, 3, wrong], np.int32), K])
    assert caught.value.node == node


def test_points_that_do_not_run_look_nothing_up() -> None:
    function = kernel(MAP)
    i = np.array([0, 5, -2, 5], np.int32)
    wanted = np.zeros((4, 3), np.bool_)
    wanted[[0, 2]] = True
    run = run_kernel(function, [X, i, K], wanted=[wanted])
    np.testing.assert_array_equal(run.written[0], wanted)
    np.testing.assert_array_equal(run.outputs[0][[0, 2]], X[K[i[[0, 2]]]])
    guarded = kernel(MAP.replace("nodes = [0, 3]", "nodes = [0, 3], where = [-a]"))
    np.testing.assert_array_equal(run_kernel(guarded, [X, i, K]).written[0], [[True] * 3] + [[False] * 3] * 3)


LOOPS = """
kernel.func @f(%x: buffer<f32[5]>, %i: buffer<i64[n]>, %y: buffer<f32[n]>) {outputs = 1, scalars = ["n"]} {
  kernel.parallel (a: task n) {
    %0 = kernel.load %i[a] : i64
    %1 = kernel.constant {value = LIMIT, type = i64} : i64
    %2 = kernel.compare %0, %1 {predicate = lt} : bool
    kernel.check %2 values(%1, %0) {message = "{1} is not below {0}: {1}", node = 1}
    kernel.let (at: given 5) %0 {
      %3 = kernel.load %x[-at + 4] : f32
      kernel.store %3, %y[a]
    }
  }
}
"""


def test_let_names_an_integer() -> None:
    x, i = X[:, 0].copy(), np.array([4, 0, 0, 2])
    (found,) = run_kernel(kernel(LOOPS.replace("LIMIT", "5")), [x, i]).outputs
    np.testing.assert_array_equal(found, x[::-1][i])


def test_a_failed_check_tells_its_values() -> None:
    with pytest.raises(DataError, match=r"^4 is not below 3: 4$") as caught:
        run_kernel(kernel(LOOPS.replace("LIMIT", "3")), [X[:, 0].copy(), np.array([0, 4, 9])])
    assert caught.value.node == 1


def test_an_integer_that_nobody_checked_is_the_compilers_fault() -> None:
    with pytest.raises(KernelFault, match=r"@f: kernel\.let .*at is 7, expected 0 to 4; at n = 2, a = 1"):
        run_kernel(kernel(LOOPS.replace("LIMIT", "9")), [X[:, 0].copy(), np.array([0, 7])])


WRONG = {
    "near: given": ("near: parallel", "near is looked up, and of kind parallel; expected given"),
    "nodes = [0, 3]": ("nodes = [0]", "2 lookups, 2 names and 1 nodes, expected as many of each"),
    "lookups(%i[a], %k[near])": ("lookups(%i[a], %k[far])", "the lookup of far reads at what is not known yet"),
    "%k[near]": ("%x[near, 0]", "far is looked up among f32, expected integers"),
}


@pytest.mark.parametrize("part", WRONG)
def test_wrong_maps_are_refused(part: str) -> None:
    new, message = WRONG[part]
    with pytest.raises(VerifyError, match=re.escape(message)):
        kernel(MAP.replace(part, new))


WRONG_LOOPS = {
    "kernel.let (at: given 5)": ("kernel.let (at: sequential 5)", "expected one axis, of kind given"),
    "check %2 values(%1, %0)": ("check %2 values(%1, %0, %0)", "expected at most two i64"),
    "node = 1": ("node = -1", "node is -1, expected 0 or more"),
    "kernel.check %2": ("kernel.check %0", "the condition is i64, expected bool"),
}


@pytest.mark.parametrize("part", WRONG_LOOPS)
def test_wrong_loops_are_refused(part: str) -> None:
    new, message = WRONG_LOOPS[part]
    with pytest.raises(VerifyError, match=re.escape(message)):
        kernel(LOOPS.replace("LIMIT", "5").replace(part, new))


def test_a_name_is_known_inside_only() -> None:
    outside = LOOPS.replace("LIMIT", "5").replace("kernel.let", "kernel.store %9, %y[at]\n kernel.let")
    with pytest.raises(VerifyError, match="mentions at, expected an axis around it"):
        kernel(outside.replace("%1 = ", "%9 = kernel.constant {value = 0.0, type = f32} : f32\n %1 = "))
