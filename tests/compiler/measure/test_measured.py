"""Times, profiles, memory and the roofline of a small model: that they are there and hold together."""

import sys
from pathlib import Path

import numpy as np
import pytest

from headrace.compiler.measure.engines import Engine, headrace, largest_error, onnxruntime
from headrace.compiler.measure.loading import LOADS, load_times, memory_use
from headrace.compiler.measure.profile import profile
from headrace.compiler.measure.roofline import Roofline, measure
from headrace.compiler.measure.rounds import interleaved, times_of
from headrace.ir.errors import OptionError
from headrace.runtime.python import InputError, load

X = np.random.default_rng(0).standard_normal((37, 32), np.float32)


def test_times_of_rounds() -> None:
    times = times_of([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (times.median, times.low, times.high, times.best, times.rounds) == (3.0, 2.0, 4.0, 1.0, 5)


def test_every_engine_gets_every_round() -> None:
    runs: list[str] = []
    engines = [Engine(name, "1", lambda name=name: runs.append(name), dict) for name in ("a", "b")]
    found = interleaved(engines, rounds=3)
    assert [times.rounds for times in found] == [3, 3]
    assert set(runs) == {"a", "b"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_profile_knows_each_launch(dense: Path, threads: int) -> None:
    session = load(dense, threads=threads, record=True)
    found = profile(session, lambda: session.run({"x": X}))
    assert found.runs >= 5
    nodes = ", ".join(launch.nodes for launch in found.launches).split(", ")
    assert list(dict.fromkeys(nodes)) == ["MatMul_0", "Relu_1", "Softmax_2"]
    first = found.launches[0]
    assert first.flops == 37 * 48 * (2 * 32 + 1)
    assert first.bytes == 4 * (37 * 32 + 32 * 48 + 37 * 48)
    assert 1 <= first.threads <= threads
    assert 0 < found.outside < found.seconds
    assert sorted(k.kernel for k in found.kernels) == sorted({launch.kernel for launch in found.launches})
    assert {record.thread for record in found.last} <= set(range(threads))


def test_a_session_that_does_not_record_says_so(dense: Path) -> None:
    session = load(dense)
    with pytest.raises(InputError, match=r"^this session records nothing; load it with record=True$"):
        session.take_records()
    with pytest.raises(InputError, match=r"^this session records nothing; load it with record=True$"):
        session.memory_taken()


def test_lost_records_are_an_error(dense: Path) -> None:
    session = load(dense, threads=1, record=True)
    session.run({"x": X})
    launches = len(session.take_records())
    for _ in range(65536 // launches + 1):
        session.run({"x": X[:1]})
    with pytest.raises(InputError, match=r"^\d+ records were lost; take them after fewer runs$"):
        session.take_records()


def test_the_plan_is_what_is_taken(dense: Path) -> None:
    session = load(dense, threads=2, record=True)
    use = memory_use(session, {"x": X}, {"y": np.zeros((37, 48), np.float32)})
    assert use.planned == use.measured
    assert use.second_run_allocations == 0


def test_loads(dense: Path) -> None:
    times = load_times(lambda: load(dense, threads=1))
    assert times.rounds == LOADS
    assert 0 < times.best <= times.median


def test_errors_are_relative_to_the_largest_output() -> None:
    want = {"y": np.array([4.0, -1.0, np.inf])}
    assert largest_error({"y": np.array([4.0, -1.5, np.inf])}, want) == 0.125
    assert largest_error({"y": np.array([4.0, np.nan, np.inf])}, want) == float("inf")
    assert largest_error({"y": np.zeros(2)}, want) == largest_error({}, want) == float("inf")


def test_both_engines_compute_the_same(dense: Path) -> None:
    pytest.importorskip("onnxruntime")
    inputs = {"x": X}
    ours, theirs = headrace(load(dense, threads=1), inputs), onnxruntime(dense.with_suffix(".onnx"), inputs, 1)
    ours.run()
    theirs.run()
    assert largest_error(ours.outputs(), theirs.outputs()) < 1e-5


def test_a_missing_peer_is_named(dense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OptionError, match=r"^--against onnxruntime: it is not installed; pip install onnxruntime$"):
        onnxruntime(dense.with_suffix(".onnx"), {"x": X}, 1)


def test_a_model_that_the_peer_refuses_is_named(dense: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(OptionError, match=r"^--against onnxruntime: .*m\.hrm: "):
        onnxruntime(dense, {"x": X}, 1)


def test_the_roof_is_the_slower_of_arithmetic_and_memory() -> None:
    roof = Roofline(100.0, {1000: 50.0, 10**9: 10.0})
    assert roof.least_seconds(flops=1000, size=100) == pytest.approx(1e-8)
    assert roof.least_seconds(flops=0, size=1000) == pytest.approx(2e-8)
    assert roof.least_seconds(flops=0, size=2000) == pytest.approx(2e-7)
    assert roof.bandwidth(10**12) == roof.memory == 10.0


@pytest.mark.parametrize("target", ["opencl", "opencl+x86-64-v3"])
def test_a_device_has_no_roof_here(target: str) -> None:
    assert measure(target, 1) is None


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_this_machine_has_a_roof(dense: Path, threads: int) -> None:
    roof = measure(load(dense).target, threads)
    assert roof.gflops > 0.1
    assert all(rate > 0.01 for rate in roof.gbytes.values())
