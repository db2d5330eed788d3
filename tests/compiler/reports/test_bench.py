"""The report of `headrace bench`, from numbers made up."""

from pathlib import Path

from headrace.compiler.measure.loading import MemoryUse
from headrace.compiler.measure.profile import LaunchTime, Profile
from headrace.compiler.measure.roofline import Roofline
from headrace.compiler.measure.rounds import Times
from headrace.compiler.reports.bench import Bench, as_dict, lines

LAUNCHES = (
    LaunchTime(0, "dense", "MatMul_0", 2e-3, 12, 1, 100_000_000, 1_000_000),
    LaunchTime(1, "sort", "TopK_1", 1e-3, 1, 1, None, None),
    LaunchTime(2, "dense", "MatMul_2", 4e-3, 12, 1, 100_000_000, 1_000_000),
)
PROFILE = Profile(LAUNCHES, 8e-3, 1e-3, 5, ())
ROOF = Roofline(100.0, {2**20: 50.0, 2**27: 10.0})


def _bench(peer: bool = False, planned: int | None = 4096) -> Bench:
    engines = [("headrace", "0.1", Times(8e-3, 7e-3, 9e-3, 6e-3, 11))]
    if peer:
        engines.append(("onnxruntime", "1.20", Times(16e-3, 16e-3, 16e-3, 16e-3, 11)))
    loads = Times(1e-3, 1e-3, 1e-3, 0.5e-3, 20)
    return Bench(
        Path("dir/m.hrm"),
        "x86-64-v3",
        1,
        {"x": (1, 32)},
        engines,
        1e-6 if peer else None,
        loads,
        MemoryUse(planned, 4096, 0),
        PROFILE,
        ROOF,
    )


def test_lines() -> None:
    text = list(lines(_bench(peer=True)))
    assert text[0] == "dir/m.hrm for x86-64-v3, 1 thread: x [1, 32]"
    assert "headrace 0.1                  8.000    25.0%      6.000      11" in text
    assert "ratio 0.500 (below 1: headrace is faster); largest error 1.0e-06 of the largest output" in text
    assert "load: median 1.00 ms of 20, best 0.50" in text
    assert "memory: planned 4,096 bytes, measured 4,096" in text
    assert "second run: 0 allocations" in text
    assert "5 runs, median 8.000 ms, 1.000 ms (12.5%) in no kernel" in text
    assert "   6.0000  75.0%     33.3     0.3  33.3%      2  dense: MatMul_0, MatMul_2" in text
    assert "   1.0000  12.5%        -       -      -      1  sort: TopK_1" in text
    assert "   4.0000  50.0%     25.0     0.2  25.0%    1      12  2 dense: MatMul_2" in text


def test_a_plan_that_depends_on_data() -> None:
    assert "memory: planned unknown before it runs, measured 4,096" in lines(_bench(planned=None))


def test_json() -> None:
    found = as_dict(_bench(peer=True))
    assert [e["engine"] for e in found["engines"]] == ["headrace", "onnxruntime"]
    assert found["profile"]["kernels"][0]["of_roof"] == 2e-3 / 6e-3
    assert found["profile"]["launches"][1]["of_roof"] is None
    assert found["memory"] == {"planned": 4096, "measured": 4096}
