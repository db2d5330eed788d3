"""OpenCL devices: `opencl` has workgroups that share local memory, `opencl-cpu` is for a device that is a CPU.

On a CPU the work-items of a workgroup only take turns, and local memory is memory like any other: there each workgroup
is one work-item, and its loops are those of CPUs.  Facts are what every device of OpenCL 1.2 has.  What a kernel needs
beyond that, the device is asked for when the model is loaded: its row in the code section says so, which `image`
describes.
"""

from __future__ import annotations

from pathlib import Path

from headrace.ir.facts import TargetFacts
from headrace.targets.base import DeviceTarget
from headrace.targets.gpu_schedule import schedule
from headrace.targets.opencl.image import emit


def _facts(preset: str, vector_bytes: int, registers: int, threads: int, shared_bytes: int, groups: int) -> TargetFacts:
    return TargetFacts(
        preset=preset,
        vector_bytes=vector_bytes,
        vector_registers=registers,
        has_fma=True,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        group_threads=threads,
        shared_bytes=shared_bytes,
        busy_groups=groups,
    )


TARGET = DeviceTarget(
    family="opencl",
    driver="opencl",
    presets={
        "opencl": _facts("opencl", 16, 64, 64, 32 << 10, 32),
        "opencl-cpu": _facts("opencl-cpu", 64, 32, 1, 0, 0),
    },
    features={"opencl-cpu": ("opencl:cpu",)},
    pipeline_file=Path(__file__).parent / "opencl.pipeline",
    schedule=schedule,
    emit=emit,
)
