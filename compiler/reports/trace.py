"""A run as a trace for Perfetto or chrome://tracing.  In: records.  Out: the JSON object, a track for each thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.runtime.python import Record


def trace(records: Sequence[Record], title: str) -> dict[str, Any]:
    """Times in microseconds from the first launch on."""
    start = min((record.begin_ns for record in records), default=0)
    threads = sorted({record.thread for record in records})
    names = [_name("process_name", 0, title)] + [_name("thread_name", t, f"thread {t}") for t in threads]
    return {"traceEvents": [*names, *(_event(record, start) for record in records)], "displayTimeUnit": "ms"}


def _name(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}


def _event(record: Record, start: int) -> dict[str, Any]:
    about = {
        "nodes": record.nodes,
        "launch": record.launch_index,
        "tasks": record.tasks,
        "flops": record.flops,
        "bytes": record.bytes,
    }
    return {
        "name": record.kernel,
        "cat": "kernel",
        "ph": "X",
        "pid": 1,
        "tid": record.thread,
        "ts": (record.begin_ns - start) / 1e3,
        "dur": (record.end_ns - record.begin_ns) / 1e3,
        "args": about,
    }
