"""The reference interpreter of the kernel dialect: a machine of lanes that run in lock step, in numpy.

In: a kernel.func of either tier, arrays for its inputs, values for its dim symbols.  Out: arrays of its outputs,
and which of their elements were written.  What the kernel must not do is a KernelFault: an index outside of a
buffer, an undefined element read, two lanes that race, a copy that nobody waited for, a barrier that some
threads do not reach.

    run_kernel(function, [x, w], {"n": 3})               everything
    run_kernel(..., tasks=[0, 7])                        two tasks: elements written by others stay undefined
    run_kernel(..., wanted=[mask])                       a structured kernel: only points that write those elements
    run_kernel(..., wide=True)                           all floats as float64
"""

from headrace.ir.kernel.interpret.run import KernelRun, execute, kernel_symbols, run_kernel

__all__ = ["KernelRun", "execute", "kernel_symbols", "run_kernel"]
