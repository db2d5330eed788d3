"""What all CPU targets share: the schedule, and the way from loops to machine code.

In: kernels as loops and a preset's facts.  Out: one position-independent image.  Kernels are compiled in groups of
a fixed size, so that neither the number of workers nor their speed shows in the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.codegen.artefact.model import Machine
from headrace.codegen.image.elf import read_object
from headrace.codegen.image.flatten import flatten
from headrace.codegen.llvm import emit_module, scratch_bytes
from headrace.codegen.workers import Job, host, shared_pool
from headrace.ir.core import Operation
from headrace.ir.facts import Schedule, TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.targets.base import Emitted, Emitter
from headrace.targets.cpu_schedule import schedule

GROUP = 8  # kernels in one LLVM module


@dataclass(frozen=True)
class CpuTarget:
    """A family of CPUs; implements `headrace.targets.base.Target`."""

    family: str
    machine: Machine
    presets: dict[str, TargetFacts]
    features: dict[str, tuple[str, ...]]  # by preset: what the loader must find
    driver: str = "cpu"

    def host_preset(self) -> str | None:
        """The last preset all of whose features this machine has."""
        found = host()
        if not found.triple.startswith(next(iter(self.presets.values())).triple.partition("-")[0]):
            return None
        able = [p for p in self.presets if set(self.features[p]) <= set(found.features)]
        return able[-1] if able else None

    def required_features(self, preset: str) -> tuple[str, ...]:
        return self.features[preset]

    def refuses(self, operation: Operation, preset: str) -> str | None:
        return None

    def pipeline(self) -> Path:
        return Path(__file__).parent / "cpu.pipeline"

    @property
    def schedule(self) -> Schedule:
        return schedule

    @property
    def emit(self) -> Emitter:
        return emit


def emit(functions: Sequence[KernelFunc], facts: TargetFacts) -> Emitted:
    """Raises CodegenError or LinkError."""
    groups = [functions[i : i + GROUP] for i in range(0, len(functions), GROUP)]
    jobs = [
        Job(
            f"{facts.preset}/{group[0].function_name}",
            emit_module(group, facts),
            facts.triple,
            facts.cpu,
            facts.features,
        )
        for group in groups
    ]
    objects = shared_pool().run(jobs)
    image = flatten([read_object(job.name, data) for job, data in zip(jobs, objects, strict=True)])
    return Emitted(image.code, dict(image.entries), {f.function_name: scratch_bytes(f) for f in functions})
