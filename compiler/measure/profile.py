"""Where the time of a run goes.  In: a session that records, and a run of it.  Out: a `Profile`: each launch's time.

A launch's time is from the first of its threads to the last; medians are taken over runs.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from headrace.runtime.python import Record, Session

SECONDS = 0.5
RUNS = 5  # at least
RECORDS = 60_000  # the session keeps some more


@dataclass(frozen=True, slots=True)
class LaunchTime:
    """One launch of the program: seconds are the median over runs."""

    launch: int
    kernel: str
    nodes: str  # separated by ", "
    seconds: float
    tasks: int
    threads: int
    flops: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class KernelTime:
    """All launches of one kernel in a run."""

    kernel: str
    launches: tuple[LaunchTime, ...]

    @property
    def seconds(self) -> float:
        return sum(launch.seconds for launch in self.launches)

    @property
    def flops(self) -> int | None:
        return _total([launch.flops for launch in self.launches])

    @property
    def bytes(self) -> int | None:
        return _total([launch.bytes for launch in self.launches])

    @property
    def nodes(self) -> str:
        return ", ".join(dict.fromkeys(launch.nodes for launch in self.launches if launch.nodes))


def _total(numbers: list[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None


@dataclass(frozen=True, slots=True)
class Profile:
    """`seconds` is the median of whole runs, `outside` of what of each was in no kernel: the call, steps between
    launches, waiting for threads.  `runs` is how many there were, `last` the records of the last one."""

    launches: tuple[LaunchTime, ...]
    seconds: float
    outside: float
    runs: int
    last: tuple[Record, ...]

    @property
    def kernels(self) -> tuple[KernelTime, ...]:
        """The slowest first."""
        found: dict[str, list[LaunchTime]] = defaultdict(list)
        for launch in self.launches:
            found[launch.kernel].append(launch)
        rows = [KernelTime(name, tuple(launches)) for name, launches in found.items()]
        return tuple(sorted(rows, key=lambda row: -row.seconds))


def profile(session: Session, run: Callable[[], object]) -> Profile:
    """Runs for about half a second, five times at least."""
    run()
    session.take_records()
    runs: list[tuple[Record, ...]] = []
    whole: list[float] = []
    started = time.perf_counter()
    while len(runs) < RUNS or (time.perf_counter() - started < SECONDS and len(runs) * len(runs[-1]) < RECORDS):
        start = time.perf_counter()
        run()
        whole.append(time.perf_counter() - start)
        runs.append(tuple(session.take_records()))
    samples: dict[int, list[float]] = defaultdict(list)
    outside: list[float] = []
    for seconds_of_run, records in zip(whole, runs, strict=True):
        of_launches = _seconds(records)
        outside.append(seconds_of_run - sum(of_launches.values()))
        for launch, seconds in of_launches.items():
            samples[launch].append(seconds)
    first = {record.launch_index: record for record in reversed(runs[-1])}
    launches = tuple(
        _launch_time(first[n], statistics.median(samples[n]), sum(r.launch_index == n for r in runs[-1]))
        for n in sorted(first)
    )
    return Profile(launches, statistics.median(whole), statistics.median(outside), len(runs), runs[-1])


def _seconds(records: tuple[Record, ...]) -> dict[int, float]:
    """Of each launch of one run."""
    begin: dict[int, int] = {}
    end: dict[int, int] = {}
    for record in records:
        begin[record.launch_index] = min(begin.get(record.launch_index, record.begin_ns), record.begin_ns)
        end[record.launch_index] = max(end.get(record.launch_index, record.end_ns), record.end_ns)
    return {launch: (end[launch] - begin[launch]) / 1e9 for launch in begin}


def _launch_time(record: Record, seconds: float, threads: int) -> LaunchTime:
    return LaunchTime(
        record.launch_index, record.kernel, record.nodes, seconds, record.tasks, threads, record.flops, record.bytes
    )
