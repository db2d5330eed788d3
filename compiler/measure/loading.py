"""How long loading takes, and how much memory running takes.  In: a `.hrm` file.  Out: times, bytes, allocations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headrace.compiler.measure.engines import Array
from headrace.compiler.measure.rounds import Times, times_of
from headrace.runtime.python import InputError, Session

LOADS = 20


def load_times(load: Callable[[], Session]) -> Times:
    """Of fresh loads one after the other, the file being in the page cache; each is closed before the next."""
    load()
    samples = []
    for _ in range(LOADS):
        start = time.perf_counter()
        session = load()
        samples.append(time.perf_counter() - start)
        del session
    return times_of(samples)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """`planned` is what the session said before the run, None where sizes depend on data; `measured` is the most
    that the first run took at any time; neither counts the open model, its inputs and its outputs."""

    planned: int | None
    measured: int
    second_run_allocations: int


def memory_use(session: Session, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> MemoryUse:
    """`session` records and has not run yet; `outputs` is memory for all its results."""
    opened = session.memory_taken()
    session.run(inputs, outputs=outputs)
    first = session.memory_taken()
    session.run(inputs, outputs=outputs)
    second = session.memory_taken()
    # Where opening the model took more for a while than the run did, all that the run took is still held.
    most = first.peak_bytes if first.peak_bytes > opened.peak_bytes else first.held_bytes
    return MemoryUse(_planned(session, inputs), most - opened.held_bytes, second.allocations - first.allocations)


def _planned(session: Session, inputs: Mapping[str, Array]) -> int | None:
    try:
        return session.memory_needed({name: array.shape for name, array in inputs.items()})
    except InputError:  # sizes depend on the values of inputs
        return None
