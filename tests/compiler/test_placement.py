"""A model on two devices: the second is this CPU once more, which takes only some operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from half_target import Half, offered
from onnx import TensorProto, helper

from headrace.compiler.driver import Report, compile
from headrace.ir.errors import HeadraceError, OptionError, PassError, PlacementError, TargetError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.runtime.python import load
from headrace.targets import find_target


@pytest.fixture(autouse=True)
def half() -> Iterator[Half]:
    with offered() as target:
        yield target


def _model(path: Path) -> Path:
    """softmax(relu(x w + b) v) and the positive elements of it, whose number is data; batch is a symbol."""
    rng = np.random.default_rng(0)
    weights = [
        helper.make_tensor(n, TensorProto.FLOAT, s, rng.standard_normal(s).astype(np.float32).tobytes(), raw=True)
        for n, s in (("w", (20, 30)), ("b", (30,)), ("v", (30, 7)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"], "first"),
        helper.make_node("Add", ["xw", "b"], ["s"], "bias"),
        helper.make_node("Relu", ["s"], ["r"], "positive"),
        helper.make_node("Softmax", ["r"], ["p"], "share"),
        helper.make_node("MatMul", ["p", "v"], ["y"], "second"),
        helper.make_node("NonZero", ["r"], ["where"], "places"),
        helper.make_node("Add", ["r", "xw"], ["again"], "late"),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 7]),
        helper.make_tensor_value_info("where", TensorProto.INT64, [2, "found"]),
        helper.make_tensor_value_info("again", TensorProto.FLOAT, ["batch", 30]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 20])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def _compiled(folder: Path, target: str, **options: object) -> tuple[Report, Path]:
    output = folder / f"{target}.hrm"
    return compile(_model(folder / "m.onnx"), output=output, target=target, **options), output


def test_two_devices_give_what_one_gives(tmp_path: Path) -> None:
    report, both = _compiled(tmp_path, "half+x86-64-v3")
    _, one = _compiled(tmp_path, "x86-64-v3")
    placed = {n: p.device for p in report.placements for n in p.nodes}
    assert placed == {
        "first": "half",
        "bias": "half",
        "positive": "half",
        "share": "x86-64-v3",
        "second": "half",
        "places": "x86-64-v3",
        "late": "half",
    }
    sessions = [load(path, threads=1) for path in (both, one)]
    rng = np.random.default_rng(1)
    for batch in (1, 5, 3, 5):
        x = rng.standard_normal((batch, 20)).astype(np.float32)
        found, expected = (s.run({"x": x}) for s in sessions)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], 1e-5, 1e-5)


def test_targets_that_run_the_whole_model_are_told_apart(tmp_path: Path) -> None:
    report, _ = _compiled(tmp_path, "x86-64-v3,half+x86-64-v3")
    assert (report.targets, report.whole) == (("x86-64-v3", "half+x86-64-v3"), ("x86-64-v3",))


def test_reasons_are_told(tmp_path: Path) -> None:
    report, _ = _compiled(tmp_path, "half+x86-64-v3")
    reasons = {n: dict(p.against) for p in report.placements for n in p.nodes}
    assert reasons["share"] == {"half": "it has no graph.softmax"}
    assert reasons["places"] == {"half": "its dims depend on data (places_count), which the host reads"}
    assert reasons["first"] == {}


def test_what_copies_cost_keeps_small_work_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, family = find_target("half")
    costly = dataclasses.replace(family.presets["half"], copy_worth=1e6)
    monkeypatch.setitem(family.presets, "half", costly)
    report, _ = _compiled(tmp_path, "half+x86-64-v3")
    assert {p.device for p in report.placements} == {"x86-64-v3"}
    reasons = {n: dict(p.against) for p in report.placements for n in p.nodes}
    assert reasons["second"]["half"] == "its group's 3,360 operations are too few for 2,368 bytes copied"


def test_a_required_device_is_held_to(tmp_path: Path) -> None:
    _compiled(tmp_path, "half+x86-64-v3", require_device=[("half", "*ir*")])
    expected = "node 'share': graph.softmax does not run on half: it has no graph.softmax"
    with pytest.raises(PlacementError, match=expected):
        _compiled(tmp_path, "half+x86-64-v3", require_device=[("half", "s*")])
    assert not [f for f in tmp_path.iterdir() if f.name.startswith(".")]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (("hal", "*"), "no device 'hal' in half+x86-64-v3; did you mean 'half'"),
        (("half", "frist"), "no node is named 'frist'; did you mean 'first'"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(tmp_path: Path, wish: tuple[str, str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        _compiled(tmp_path, "half+x86-64-v3", require_device=[wish])
    assert message in str(caught.value)


def _no_schedule(function: KernelFunc, _: TargetFacts) -> list[str]:
    raise PassError(f"no schedule for {function.function_name}")


def test_alone_it_says_what_it_does_not_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device's own passes cannot go on; they would speak of a kernel."""
    monkeypatch.setattr(Half, "schedule", staticmethod(_no_schedule))
    expected = r"^node 'share': graph\.softmax does not run on half: it has no graph\.softmax; half\+host runs it on the CPU$"
    with pytest.raises(TargetError, match=expected):
        _compiled(tmp_path, "half")
    with pytest.raises(PassError, match=r"^kernel\.schedule: no schedule for "):  # the user's own passes
        _compiled(tmp_path, "half", after=[("graph.cluster", "graph.dce")])
    monkeypatch.setattr(Half, "refuses", lambda *_: None)
    with pytest.raises(PassError, match=r"^kernel\.schedule: no schedule for "):
        _compiled(tmp_path, "half")


def test_a_machine_is_named_once() -> None:
    with pytest.raises(HeadraceError, match="names a machine twice"):
        compile("m.onnx", output="m.hrm", target="half+half")
