"""Loops, vectors, masks and memory in the interpreter: what is right, and every fault."""

from typing import Any

import numpy as np
import pytest

from headrace.ir.errors import KernelFault, VerifyError
from headrace.ir.kernel.interpret import KernelRun, run_kernel
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]


def run(text: str, *inputs: Array, **options: Any) -> KernelRun:
    module = parse_module(text)
    verify(module)
    function = next(module.functions(KernelFunc))
    return run_kernel(function, inputs, **options)


def kernel(body: str, parameters: str = "%x: buffer<f32[n]>, %y: buffer<f32[n]>") -> str:
    return f"""kernel.func @f({parameters}) {{outputs = 1, scalars = ["n"]}} {{ {body} }}"""


def numbers(count: int) -> Array:
    return np.arange(1, count + 1, dtype=np.float32)


VECTORS = kernel("""
  kernel.parallel (i: task (n + 3) floordiv 4) {
    %m = kernel.mask {lower = 0, upper = n - i*4, lanes = 4} : vector<4xbool>
    %v = kernel.load %x[i*4] mask(%m) {lanes = 4, otherwise = 7.0} : vector<4xf32>
    %w = kernel.add %v, %v : vector<4xf32>
    kernel.store %w, %y[i*4] mask(%m)
  }
""")


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8])
def test_masked_vectors(n: int) -> None:
    result = run(VECTORS, numbers(n))
    assert result.written[0].all()
    assert np.array_equal(result.outputs[0], 2 * numbers(n))


def test_a_lost_tail_mask_is_out_of_bounds() -> None:
    with pytest.raises(KernelFault, match=r"kernel.store .*: index 0 of %y is 5, expected 0 to 4; at n = 5, i = 1$"):
        run(VECTORS.replace("%y[i*4] mask(%m)", "%y[i*4]"), numbers(5))
    with pytest.raises(KernelFault, match=r"kernel.load .*: index 0 of %x is 5, expected 0 to 4; at n = 5, i = 1$"):
        run(VECTORS.replace("%x[i*4] mask(%m)", "%x[i*4]"), numbers(5))


def test_a_mask_that_is_too_short_leaves_elements_unwritten() -> None:
    result = run(VECTORS.replace("upper = n - i*4,", "upper = n - 1 - i*4,"), numbers(5))
    assert result.written[0].tolist() == [True, True, True, True, False]


def test_some_tasks_only() -> None:
    result = run(VECTORS, numbers(9), tasks=[0, 2])
    assert result.written[0].tolist() == [True] * 4 + [False] * 4 + [True]


def test_steps_between_lanes() -> None:
    text = kernel("""
      kernel.parallel (i: task 3) {
        %v = kernel.load %x[0, i] {lanes = 4, steps = [1, 0]} : vector<4xf32>
        %s = kernel.reduce_lanes %v {kind = add} : f32
        kernel.store %s, %y[i]
      }
    """, "%x: buffer<f32[n, 3]>, %y: buffer<f32[3]>")  # fmt: skip
    x = numbers(12).reshape(4, 3)
    assert np.array_equal(run(text, x).outputs[0], x.sum(axis=0))


def test_strided_memory_is_addressed_by_its_strides() -> None:
    text = kernel("""
      %t = kernel.alloc {type = buffer<f32[2, 3] strides [5, 1], stack>} : buffer<f32[2, 3] strides [5, 1], stack>
      kernel.for (i: sequential 2) { kernel.for (j: sequential 3) {
        %v = kernel.load %x[i, j] : f32
        kernel.store %v, %t[i, j]
      } }
      kernel.for (a: sequential 3) { kernel.for (b: sequential 2) {
        %w = kernel.load %t[b, a] : f32
        kernel.store %w, %y[a, b]
      } }
    """, "%x: buffer<f32[2, n]>, %y: buffer<f32[n, 2]>")  # fmt: skip
    x = numbers(6).reshape(2, 3)
    assert np.array_equal(run(text, x).outputs[0], x.T)


def test_a_prefetch_changes_nothing_and_may_lie_outside() -> None:
    text = kernel("""
      kernel.parallel (i: task n) {
        kernel.prefetch %x[i + n]
        %v = kernel.load %x[i] : f32
        kernel.store %v, %y[i]
      }
    """)  # fmt: skip
    assert np.array_equal(run(text, numbers(5)).outputs[0], numbers(5))
    with pytest.raises(VerifyError, match=r"2 indices for buffer<f32\[n\]>"):
        run(text.replace("%x[i + n]", "%x[i, n]"), numbers(5))
    with pytest.raises(VerifyError, match=r"operand is f32, expected a buffer in memory"):
        run(text.replace("%y[i]", "%y[i]\nkernel.prefetch %v[0]"), numbers(5))


def test_a_loop_whose_length_differs_from_lane_to_lane() -> None:
    text = kernel("""
      kernel.parallel (i: task n) {
        %acc = kernel.alloc {type = buffer<f32[1], register>} : buffer<f32[1], register>
        %z = kernel.constant {value = 0.0, type = f32} : f32
        kernel.store %z, %acc[0]
        kernel.for (j: sequential i + 1) {
          %v = kernel.load %x[j] : f32
          %s = kernel.load %acc[0] : f32
          %t = kernel.add %s, %v : f32
          kernel.store %t, %acc[0]
        }
        %r = kernel.load %acc[0] : f32
        kernel.store %r, %y[i]
      }
    """)  # fmt: skip
    assert np.array_equal(run(text, numbers(5)).outputs[0], np.cumsum(numbers(5)))


def test_lanes_of_one_axis_as_many_as_another_says() -> None:
    text = kernel("""
      kernel.parallel (i: task n) { kernel.parallel (j: parallel i + 1) {
        %v = kernel.load %x[j] : f32
        kernel.store %v, %y[i, j]
      } }
    """, "%x: buffer<f32[n]>, %y: buffer<f32[n, n]>")  # fmt: skip
    result = run(text, numbers(4))
    assert np.array_equal(result.written[0], np.tri(4, dtype=np.bool_))


BRANCHES = kernel("""
  kernel.parallel (i: task n) {
    %v = kernel.load %x[i] : f32
    %two = kernel.constant {value = 2.0, type = f32} : f32
    %big = kernel.compare %v, %two {predicate = gt} : bool
    kernel.if condition(%big) {where = [n - 2 - i]} {
      kernel.store %two, %y[i]
    } else {
      kernel.store %v, %y[i]
    }
  }
""")


def test_both_branches_with_their_lanes() -> None:
    assert run(BRANCHES, numbers(5)).outputs[0].tolist() == [1, 2, 2, 2, 5]


def test_a_value_keeps_what_was_loaded_when_memory_changes() -> None:
    text = kernel("""
      kernel.parallel (i: task n) {
        %t = kernel.alloc {type = buffer<f32[1], register>} : buffer<f32[1], register>
        %v = kernel.load %x[i] : f32
        kernel.store %v, %t[0]
        %old = kernel.load %t[0] : f32
        %zero = kernel.constant {value = 0.0, type = f32} : f32
        kernel.store %zero, %t[0]
        kernel.store %old, %y[i]
      }
    """)  # fmt: skip
    assert np.array_equal(run(text, numbers(3)).outputs[0], numbers(3))


def test_memory_of_one_lane_is_undefined_until_that_lane_writes_it() -> None:
    text = kernel("""
      kernel.parallel (i: task n) {
        %t = kernel.alloc {type = buffer<f32[2], register>} : buffer<f32[2], register>
        %v = kernel.load %x[i] : f32
        kernel.if {where = [i - 1]} { kernel.store %v, %t[1] } else { }
        %w = kernel.load %t[1] : f32
        kernel.store %w, %y[i]
      }
    """)  # fmt: skip
    with pytest.raises(KernelFault, match=r"reads %t\[1\], which nothing has written; at n = 3, i = 0"):
        run(text, numbers(3))


def test_each_run_of_a_block_allocates_anew() -> None:
    text = kernel("""
      kernel.for (i: sequential n) {
        %t = kernel.alloc {type = buffer<f32[1], stack>} : buffer<f32[1], stack>
        %v = kernel.load %x[i] : f32
        kernel.if {where = [-i]} { kernel.store %v, %t[0] } else { }
        %w = kernel.load %t[0] : f32
        kernel.store %w, %y[i]
      }
    """)  # fmt: skip
    with pytest.raises(KernelFault, match=r"reads %t\[0\], which nothing has written; at n = 3, i = 1"):
        run(text, numbers(3))


def test_inputs_are_not_written() -> None:
    with pytest.raises(KernelFault, match=r"writes %x, an input of the kernel"):
        run(VECTORS.replace("%y[i*4] mask", "%x[i*4] mask"), numbers(4))


TWO_STAGES = kernel("""
  %t = kernel.alloc {type = buffer<f32[8], stack>} : buffer<f32[8], stack>
  kernel.parallel (i: parallel n) {
    %v = kernel.load %x[i] : f32
    kernel.store %v, %t[i]
  }
  kernel.parallel (j: parallel n) {
    %w = kernel.load %t[n - 1 - j] : f32
    kernel.store %w, %y[j]
  }
""")


def test_what_follows_a_parallel_loop_sees_what_it_wrote() -> None:
    assert run(TWO_STAGES, numbers(5)).outputs[0].tolist() == [5, 4, 3, 2, 1]


TWICE = """
  kernel.parallel (i: task n) {
    %v = kernel.load %x[i] : f32
    kernel.parallel (a: parallel 2) { kernel.store %v, %y[i*2 + a] }
    kernel.parallel (b: parallel 2) { kernel.store %v, %y[SECOND] }
  }
"""


def test_inner_parallel_loops_are_ordered_for_one_outer_lane_only() -> None:
    parameters = "%x: buffer<f32[n]>, %y: buffer<f32[2*n]>"
    assert run(kernel(TWICE.replace("SECOND", "i*2 + 1 - b"), parameters), numbers(3)).written[0].all()
    crossing = kernel(TWICE.replace("SECOND", "(i*2 + 2 + b) mod (2*n)"), parameters)
    with pytest.raises(KernelFault, match=r"race: writes %y\[2\], which another lane wrote.*i = 0"):
        run(crossing, numbers(3))


SHARED = """
kernel.func @f(%x: buffer<f32[8]>, %y: buffer<f32[8]>) {outputs = 1} {
  kernel.parallel (g: grid 2) {
    %s = kernel.alloc {type = buffer<f32[4], shared>} : buffer<f32[4], shared>
    kernel.parallel (t: thread 4) {
      %v = kernel.load %x[g*4 + t] : f32
      kernel.store %v, %s[t]
      kernel.barrier
      %a = kernel.load %s[3 - t] : f32
      kernel.store %a, %y[g*4 + t]
    }
  }
}
"""


def test_a_barrier_orders_the_threads_of_a_workgroup() -> None:
    assert run(SHARED, numbers(8)).outputs[0].tolist() == [4, 3, 2, 1, 8, 7, 6, 5]
    with pytest.raises(KernelFault, match=r"race: reads %s\[3\], which another lane wrote.*g = 0, t = 0"):
        run(SHARED.replace("kernel.barrier", ""), numbers(8))


def test_shared_memory_allocated_by_a_thread_belongs_to_the_workgroup() -> None:
    alloc = "%s = kernel.alloc {type = buffer<f32[4], shared>} : buffer<f32[4], shared>"
    moved = SHARED.replace(alloc, "").replace("(t: thread 4) {", "(t: thread 4) { " + alloc)
    assert run(moved, numbers(8)).outputs[0].tolist() == [4, 3, 2, 1, 8, 7, 6, 5]


def test_a_barrier_does_not_order_workgroups() -> None:
    crossing = SHARED.replace("%a, %y[g*4 + t]", "%a, %y[t]")
    with pytest.raises(KernelFault, match=r"race: writes %y\[0\], which another lane writes"):
        run(crossing, numbers(8))


def test_a_barrier_needs_threads() -> None:
    with pytest.raises(KernelFault, match=r"no axis of kind thread around it"):
        run(TWO_STAGES.replace("%w = kernel.load", "kernel.barrier %w = kernel.load"), numbers(4))


def test_a_write_after_many_reads_is_a_race_with_each() -> None:
    body = """
      %s = kernel.load %t[0] : f32
      kernel.if {where = [i - 1, 1 - i]} { kernel.store %s, %t[0] } else { }
      kernel.store %s, %y[i]
    """
    text = kernel(
        "%t = kernel.alloc {type = buffer<f32[1], stack>} : buffer<f32[1], stack>"
        "%v = kernel.load %x[0] : f32 kernel.store %v, %t[0] kernel.parallel (i: parallel n) {" + body + "}"
    )
    assert run(text, numbers(1)).written[0].all()
    with pytest.raises(KernelFault, match=r"race: writes %t\[0\], which another lane read.*i = 1"):
        run(text, numbers(4))


COPY = kernel("""
  %t = kernel.alloc {type = buffer<f32[8], stack>} : buffer<f32[8], stack>
  %u = kernel.alloc {type = buffer<f32[8], stack>} : buffer<f32[8], stack>
  kernel.for (i: sequential n) { %v = kernel.load %x[i] : f32  kernel.store %v, %t[i] }
  %k = kernel.copy_async %t[0], %u[1] {count = n} : token
  BETWEEN
  kernel.wait tokens(%k)
  kernel.for (j: sequential n) { %w = kernel.load %u[j + 1] : f32  kernel.store %w, %y[j] }
""")
ONE = "%one = kernel.constant {value = 1.0, type = f32} : f32 "


def test_an_asynchronous_copy() -> None:
    assert np.array_equal(run(COPY.replace("BETWEEN", ""), numbers(5)).outputs[0], numbers(5))
    assert np.array_equal(
        run(COPY.replace("BETWEEN", ONE + "kernel.store %one, %u[0]"), numbers(5)).outputs[0], numbers(5)
    )


def test_the_source_of_a_copy_must_not_change() -> None:
    with pytest.raises(KernelFault, match=r"copy_async .*: its source %t\[2\] changed before the copy was waited for"):
        run(COPY.replace("BETWEEN", ONE + "kernel.store %one, %t[2]"), numbers(5))


def test_the_target_of_a_copy_must_not_be_touched() -> None:
    with pytest.raises(KernelFault, match=r"writes %u\[3\], the target of a copy that was not waited for"):
        run(COPY.replace("BETWEEN", ONE + "kernel.store %one, %u[3]"), numbers(5))
    with pytest.raises(KernelFault, match=r"reads %u\[3\], the target of a copy that was not waited for"):
        run(COPY.replace("BETWEEN", "%r = kernel.load %u[3] : f32"), numbers(5))


def test_a_copy_that_nobody_waits_for() -> None:
    text = COPY.replace("BETWEEN", "").replace("kernel.wait tokens(%k)", "").replace("%u[j + 1]", "%t[j]")
    with pytest.raises(KernelFault, match=r"the kernel ends, but nothing waited for this copy"):
        run(text, numbers(5))


def test_a_copy_stays_inside() -> None:
    with pytest.raises(KernelFault, match=r"index 0 of %u is 8, expected 0 to 7"):
        run(COPY.replace("BETWEEN", "").replace("%u[1]", "%u[4]"), numbers(5))
