"""This machine's roof: the least time that any code would need for given operations and bytes.

In: the preset that a model was compiled for, how many threads.  Out: a `Roofline`, measured in this process.  Peak is
of fused multiply-adds on f32; bandwidth is that of reading as many bytes as the kernel touches, over and over: a
kernel may find its data in a cache, and a cache is as fast as it was measured to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.codegen.workers import shared_pool
from headrace.compiler.measure.bandwidth import bandwidth
from headrace.compiler.measure.machine import Machine
from headrace.compiler.measure.peak import peak
from headrace.compiler.placement import machines


@dataclass(frozen=True, slots=True)
class Roofline:
    """`gflops`: the peak.  `gbytes`: GB/s by the bytes read over and over, in rising order."""

    gflops: float
    gbytes: Mapping[int, float]

    def least_seconds(self, flops: int, size: int) -> float:
        """Neither the arithmetic nor the memory can be faster than this."""
        return max(flops / self.gflops, size / self.bandwidth(size)) / 1e9

    def bandwidth(self, size: int) -> float:
        """GB/s where `size` bytes are in use: that of the next larger measured size."""
        return next((rate for measured, rate in self.gbytes.items() if measured >= size), self.memory)

    @property
    def memory(self) -> float:
        """GB/s beyond all caches."""
        return self.gbytes[max(self.gbytes)]


def measure(preset: str, threads: int) -> Roofline | None:
    """Takes about a second.  None where a device takes part, as in `npu+x86-64-v3`: this process is not there."""
    (target,) = machines(preset)
    facts = target.target.presets[target.preset]
    if target.devices or not facts.triple:
        return None
    machine = Machine(facts, shared_pool())
    first = peak(machine, threads)
    rates = bandwidth(machine, threads)
    # The clock may have been lower the first time.
    return Roofline(max(first, peak(machine, threads)), rates)
