"""A device that is a CPU once more and takes only some operations, for models on two devices.

In: the driver that is to run its code.  Out: the preset `half`, known while `offered` lasts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from headrace import targets
from headrace.ir.core import Operation
from headrace.targets import find_target
from headrace.targets.cpu import CpuTarget

TAKEN = ("graph.matmul", "graph.add", "graph.relu")


@dataclasses.dataclass(frozen=True)
class Half(CpuTarget):
    """Refuses what is not `taken`."""

    taken: tuple[str, ...] = TAKEN

    def refuses(self, operation: Operation, preset: str) -> str | None:
        return None if operation.name in self.taken else f"it has no {operation.name}"

    def host_preset(self) -> str | None:
        return None


@contextmanager
def offered(driver: str = "cpu") -> Iterator[Half]:
    """`half` is a target: the code of x86-64-v2, run by the driver of that name."""
    _, cpu = find_target("x86-64-v2")
    assert isinstance(cpu, CpuTarget)
    facts = dataclasses.replace(cpu.presets["x86-64-v2"], preset="half")
    made = Half("half", cpu.machine, {"half": facts}, {"half": cpu.features["x86-64-v2"]}, driver)
    families = {**targets._families(), "half": made}
    with patch.object(targets, "_families", lambda: families):
        yield made
