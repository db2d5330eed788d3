"""OpenCL devices: `opencl` has workgroups that share local memory, `opencl-cpu` is for a device that is a CPU.

On a CPU the work-items of a workgroup only take turns, and local memory is memory like any other: there each workgroup
is one work-item, and its loops are those of CPUs.  Both presets run on every device of OpenCL 1.2; facts are what
every one of them has.  What the code section holds is in `image`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from headrace.codegen.artefact.model import Machine
from headrace.ir.core import Operation
from headrace.ir.facts import Schedule, TargetFacts
from headrace.targets.base import Emitter
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


@dataclass(frozen=True)
class OpenClTarget:
    """Implements `headrace.targets.base.Target`."""

    family: str = "opencl"
    machine: Machine = "any"
    driver: str = "opencl"
    presets: dict[str, TargetFacts] = field(
        default_factory=lambda: {
            "opencl": _facts("opencl", 16, 64, 64, 32 << 10, 32),
            "opencl-cpu": _facts("opencl-cpu", 64, 32, 1, 0, 0),
        }
    )

    def host_preset(self) -> str | None:
        """None: `host` is the CPU."""
        return None

    def required_features(self, preset: str) -> tuple[str, ...]:
        """None: what a kernel needs of its device, its row in the code section says."""
        return ()

    def refuses(self, operation: Operation, preset: str) -> str | None:
        """Nothing: what a kernel needs beyond OpenCL 1.2, the device is asked for when the model is loaded."""
        return None

    def pipeline(self) -> Path:
        return Path(__file__).parent / "opencl.pipeline"

    @property
    def schedule(self) -> Schedule:
        return schedule

    @property
    def emit(self) -> Emitter:
        return emit


TARGET = OpenClTarget()
