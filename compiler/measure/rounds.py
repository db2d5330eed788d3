"""Engines timed in interleaved rounds.  In: engines.  Out: seconds of a run: median, spread and best over rounds.

A round is one untimed run and then as many as take about `ROUND` seconds.  Rounds of all engines alternate in a
random (seeded) order, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.compiler.measure.engines import Engine

ROUND = 0.1  # seconds
REST = 0.1  # seconds after a round: onnxruntime's threads spin for some 50 ms more, on cores that the next engine needs


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one call."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    best: float
    rounds: int

    @property
    def spread(self) -> float:
        return self.high - self.low


def times_of(samples: Sequence[float]) -> Times:
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [*samples] * 3
    return Times(median, low, high, min(samples), len(samples))


def interleaved(engines: Sequence[Engine], rounds: int) -> list[Times]:
    """One `Times` for each engine, in order."""
    calls = [max(1, round(ROUND / _once(engine.run))) for engine in engines]
    samples: list[list[float]] = [[] for _ in engines]
    order = random.Random(0)
    for _ in range(rounds):
        for number in order.sample(range(len(engines)), len(engines)):
            samples[number].append(_round(engines[number].run, calls[number]))
            time.sleep(REST)
    return [times_of(found) for found in samples]


def _once(run: Callable[[], object]) -> float:
    """The shortest of a few calls, to know how many make a round."""
    found: list[float] = []
    while len(found) < 3 or (sum(found) < ROUND and len(found) < 1000):
        found.append(_round(run, 1, warm=False))
    return min(found)


def _round(run: Callable[[], object], calls: int, warm: bool = True) -> float:
    if warm:
        run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
