"""Modules scheduled for a GPU: what tests of its schedule and of emitters for GPUs share.

In: a module as the frontend leaves it, or `.hir` text of one.  Out: the same, its kernels as loops over a grid and
threads.  Facts are those of OpenCL devices in general: what every one of them has.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.compiler.driver import run_passes
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.targets import find_target
from headrace.targets.gpu_schedule import schedule

FACTS = TargetFacts(
    preset="opencl",
    vector_bytes=16,
    vector_registers=64,
    has_fma=True,
    l1_bytes=32 << 10,
    l2_bytes=1 << 20,
    group_threads=64,
    shared_bytes=32 << 10,
)
CPU = replace(FACTS, vector_bytes=64, vector_registers=32, group_threads=1, shared_bytes=0)  # a device that is one


def lower(module: Module) -> None:
    """To structured kernels and a planned program, by the passes that CPUs run, too."""
    preset, target = find_target("x86-64-v3")
    text = target.pipeline().read_text()
    run_passes(module, preset, target, text[: text.index("kernel.schedule")], None)


def schedule_all(module: Module, facts: TargetFacts = FACTS) -> None:
    """To loops, by the schedule of GPUs."""
    preset, target = find_target("x86-64-v3")
    steps = [s for function in module.functions(KernelFunc) for s in schedule(function, facts)]
    run_passes(module, preset, target, ",".join([*steps, "kernel.realize", "kernel.expand-math"]), None)
