"""Two processes that want the same cores: how much of its throughput an engine keeps.

In: a compiled model, the same model as ONNX.  Out: for headrace and onnxruntime, each with a thread for every core:
runs a second of a process that has the machine for itself; of two such processes together; of one beside another
process that computes without end in one thread.  All of it in rounds that alternate; medians.

python -m benchmarks.compete MODEL.hrm MODEL.onnx [--threads N] [--rounds N]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from headrace.compiler.measure.engines import Engine, headrace, onnxruntime
from headrace.compiler.measure.inputs import inputs_for
from headrace.runtime.python import load

SECONDS = 1.0  # of one measurement
REST = 0.05  # between two: threads that spin fall asleep
ENGINES = ("headrace", "onnxruntime")
WAYS = ("alone", "two", "beside")

Process = tuple[multiprocessing.process.BaseProcess, Connection]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compete")
    parser.add_argument("artefact", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    engines = {e: [_start(_run, e, options.artefact, options.model, options.threads) for _ in "12"] for e in ENGINES}
    busy = _start(_compute)
    found: dict[tuple[str, str], list[float]] = {(e, way): [] for e in ENGINES for way in WAYS}
    for _ in range(options.rounds):
        for engine, (first, second) in engines.items():
            found[engine, "alone"].append(_rates([first])[0])
            found[engine, "two"].append(sum(_rates([first, second])))
            found[engine, "beside"].append(_rates([first, busy])[0])
    for process, link in (busy, *(p for both in engines.values() for p in both)):
        link.send(None)
        process.join()
    print(f"{options.artefact.name}, {options.threads} threads, runs a second:")
    print(f"{'':12} {'alone':>9} {'two processes':>20} {'beside a busy one':>20}")
    for engine in ENGINES:
        alone, *others = (statistics.median(found[engine, way]) for way in WAYS)
        print(f"{engine:12} {alone:9.2f}" + "".join(f" {rate:11.2f} {rate / alone:8.1%}" for rate in others))
    return 0


def _start(work: Callable[..., None], *arguments: object) -> Process:
    """A process that is ready to measure."""
    context = multiprocessing.get_context("spawn")
    link, other = context.Pipe()
    process = context.Process(target=work, args=(other, *arguments), daemon=True)
    process.start()
    link.recv()
    return process, link


def _rates(processes: Sequence[Process]) -> list[float]:
    """Runs a second of each, all at the same time."""
    time.sleep(REST)
    for _, link in processes:
        link.send(SECONDS)
    return [link.recv() for _, link in processes]


def _run(link: Connection, name: str, artefact: Path, model: Path, threads: int) -> None:
    engine = _engine(name, artefact, model, threads)
    engine.run()
    _serve(link, engine.run)


def _engine(name: str, artefact: Path, model: Path, threads: int) -> Engine:
    session = load(artefact, threads=threads)
    inputs = inputs_for(session.inputs, {}, {})
    return headrace(session, inputs) if name == "headrace" else onnxruntime(model, inputs, threads)


def _compute(link: Connection) -> None:
    _serve(link, lambda: sum(range(10_000)))


def _serve(link: Connection, run: Callable[[], object]) -> None:
    link.send(None)
    while (seconds := link.recv()) is not None:
        count, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds or not count:
            run()
            count += 1
        link.send(count / (now - begin))


if __name__ == "__main__":
    sys.exit(main())
