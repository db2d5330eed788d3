"""A trace as Perfetto reads it: a track for each thread, microseconds from the first launch on."""

from headrace.compiler.reports.trace import trace
from headrace.runtime.python import Record


def _record(kernel: str, thread: int, begin: int, end: int) -> Record:
    return Record(kernel, "Conv_0", 0, 3, thread, 8, 64, None, begin, end)


def test_events() -> None:
    found = trace([_record("a", 0, 1_000_000, 1_002_500), _record("a", 1, 1_000_500, 1_002_000)], "m.hrm")
    names = [(e["name"], e["tid"], e["args"]["name"]) for e in found["traceEvents"] if e["ph"] == "M"]
    assert names == [("process_name", 0, "m.hrm"), ("thread_name", 0, "thread 0"), ("thread_name", 1, "thread 1")]
    spans = [(e["name"], e["tid"], e["ts"], e["dur"]) for e in found["traceEvents"] if e["ph"] == "X"]
    assert spans == [("a", 0, 0.0, 2.5), ("a", 1, 0.5, 1.5)]
    about = found["traceEvents"][-1]["args"]
    assert about == {"nodes": "Conv_0", "launch": 3, "tasks": 8, "flops": 64, "bytes": None}


def test_a_run_without_launches() -> None:
    assert [e["ph"] for e in trace([], "m.hrm")["traceEvents"]] == ["M"]
