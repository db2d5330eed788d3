"""Kernels as the compiler schedules them.  In: a layer's model, a preset of this machine.  Out: seconds.

The model is compiled and run like any other, on one thread; the runtime's own records say what each launch took.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path

import onnx

import headrace
from benchmarks.models import Model
from headrace.compiler.measure.engines import PEERS
from headrace.compiler.measure.engines import headrace as engine
from headrace.compiler.measure.rounds import interleaved
from headrace.runtime.python import load

SECONDS = 0.3


def launch_seconds(layer: Model, preset: str) -> float:
    """Of the launch with the most work, the shortest of many runs: other work on a machine only ever adds time."""
    graph, inputs = layer
    with tempfile.TemporaryDirectory() as folder:
        session = load(_compiled(graph, preset, Path(folder)), threads=1, record=True)
        outputs = session.run(inputs)
        session.take_records()
        best: dict[int, int] = defaultdict(lambda: 1 << 62)
        work: dict[int, int] = {}
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            session.run(inputs, outputs=outputs)
            for record in session.take_records():
                best[record.launch_index] = min(best[record.launch_index], record.end_ns - record.begin_ns)
                work[record.launch_index] = record.flops or 0
    return best[max(work, key=lambda launch: work[launch])] / 1e9


def against_onnxruntime(layer: Model, preset: str, rounds: int = 11) -> tuple[float, float]:
    """(ours, onnxruntime's) median seconds of a whole call, in interleaved rounds."""
    graph, inputs = layer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session = load(_compiled(graph, preset, folder), threads=1)
        ours, theirs = interleaved(
            [engine(session, inputs), PEERS["onnxruntime"](folder / "m.onnx", inputs, 1)], rounds
        )
    return ours.median, theirs.median


def _compiled(graph: onnx.ModelProto, preset: str, folder: Path) -> Path:
    onnx.save(graph, folder / "m.onnx")
    headrace.compile(folder / "m.onnx", output=folder / "m.hrm", target=preset)
    return folder / "m.hrm"
