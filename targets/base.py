"""What a target is, to the compiler: facts for each preset, a pipeline, a schedule, an emitter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headrace.codegen.artefact.model import Machine
from headrace.ir.core import Operation
from headrace.ir.dims import Dim
from headrace.ir.facts import Schedule, TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc


@dataclass(frozen=True, slots=True)
class Emitted:
    """Code for some kernels: bytes for a code section, where each starts, and scratch bytes a thread needs."""

    code: bytes
    entries: dict[str, int]
    scratch_bytes: dict[str, Dim]  # over the kernel's scalars


class Emitter(Protocol):
    """From loops, or whatever else the target's pipeline leaves, to bytes."""

    def __call__(self, functions: Sequence[KernelFunc], facts: TargetFacts) -> Emitted:
        """Raises CodegenError or LinkError."""
        ...


class Target(Protocol):
    """One family of machines."""

    family: str  # the folder's name
    presets: dict[str, TargetFacts]  # by the name that users type
    machine: Machine  # what the artefact's loader compares: "x86-64", "aarch64"
    driver: str  # which driver runs the code: "cpu"

    def host_preset(self) -> str | None:
        """The best preset that this machine can run; None if it is another family."""
        ...

    def required_features(self, preset: str) -> tuple[str, ...]:
        """What the loader must find: CPU features as docs/artefact.md lists them, or, of a device, DRIVER:FEATURE with
        a name that the driver's `supports` knows."""
        ...

    def refuses(self, operation: Operation, preset: str) -> str | None:
        """Why an operation of the graph dialect cannot run there, in a few words; None where it can.

        Asked where a model is divided among devices, before the target's pipeline has seen any of it; and where the
        pipeline or the emitter of a target that stands alone cannot go on, so that users read of a node.
        """
        ...

    def pipeline(self) -> Path:
        """The `.pipeline` file with the target's passes."""
        ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def emit(self) -> Emitter: ...


@dataclass(frozen=True)
class DeviceTarget:
    """A device beside the CPU, for which `host` never stands; implements `Target`.

    It takes every operation: who refuses some does so in a subclass.
    """

    family: str
    driver: str
    presets: dict[str, TargetFacts]
    pipeline_file: Path
    schedule: Schedule
    emit: Emitter
    machine: Machine = "any"
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by preset: what the loader must find

    def host_preset(self) -> str | None:
        """None: `host` is the CPU."""
        return None

    def required_features(self, preset: str) -> tuple[str, ...]:
        return self.features.get(preset, ())

    def refuses(self, operation: Operation, preset: str) -> str | None:
        return None

    def pipeline(self) -> Path:
        return self.pipeline_file
