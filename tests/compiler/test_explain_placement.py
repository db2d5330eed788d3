"""What is said of where a model runs: each node has its line, on each line a reason; a broken wish has the first node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from model_examples import LARGER, REAL, example_named
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile, read_model
from headrace.compiler.placement import NOWHERE, divide, machines
from headrace.ir.errors import PlacementError

BOTH = "opencl+x86-64-v3"


def _model(path: Path) -> Path:
    """One node for the device, one that the host has to run, one known while compiling, and a branch."""
    nodes = [
        helper.make_node("Add", ["two", "two"], ["four"], "folded"),
        helper.make_node("Mul", ["x", "four"], ["m"], "scaled"),
        helper.make_node("NonZero", ["m"], ["where"], "places"),
        helper.make_node("Identity", ["m"], ["same"], "renamed"),
        helper.make_node(
            "If", ["c"], ["y"], "choice", then_branch=_branch("then", "Exp"), else_branch=_branch("else", "Tanh")
        ),
    ]
    made = [("where", TensorProto.INT64, [2, "found"]), ("same", TensorProto.FLOAT, ["n", 5])]
    given = [("x", TensorProto.FLOAT, ["n", 5]), ("c", TensorProto.BOOL, [])]
    inputs, outputs = ([helper.make_tensor_value_info(*v) for v in values] for values in (given, made))
    outputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5]))
    two = numpy_helper.from_array(np.full(5, 2, np.float32), "two")
    graph = helper.make_graph(nodes, "g", inputs, outputs, [two])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def _branch(name: str, op_type: str) -> onnx.GraphProto:
    result = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, ["n", 5])
    return helper.make_graph([helper.make_node(op_type, ["m"], [f"{name}_y"], f"{name}_node")], name, [], [result])


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", "compile", *arguments], capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("name", ["digits", *REAL, *LARGER])
def test_every_node_of_a_model_has_a_reason(name: str) -> None:
    path = example_named(name).path
    (machine,) = machines(BOTH)
    _, placements = divide(read_model(path, None), machine, None)
    told = {n for p in placements for n in p.nodes}
    assert {n.name for n in onnx.load(path).graph.node if n.op_type != "Identity"} <= told  # which only renames
    for placement in placements:
        assert placement.why
        assert placement.device in ("opencl", NOWHERE) or dict(placement.against)["opencl"]


def test_the_lines(tmp_path: Path) -> None:
    done = _run(
        str(_model(tmp_path / "m.onnx")), "-o", str(tmp_path / "m.hrm"), "--target", BOTH, "--explain-placement"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("scaled: graph.mul on opencl: it takes the operation; its group's ")
    assert lines[0].endswith(" bytes copied")
    assert lines[lines.index("choice: graph.if on x86-64-v3: it runs what no other device takes") + 1] == (
        "    not on opencl: graph.if holds functions, which the host runs"
    )
    for node, operation in (("then_node", "exp"), ("else_node", "tanh")):
        place = lines.index(f"{node}: graph.{operation} on x86-64-v3: it runs what no other device takes")
        assert lines[place + 1] == "    not on opencl: it is part of a branch or a loop, which the host runs"
    assert "folded: on no device: known while compiling, or part of another node" in lines


def test_one_device_is_reason_enough(tmp_path: Path) -> None:
    model = str(_model(tmp_path / "m.onnx"))
    done = _run(model, "-o", str(tmp_path / "m.hrm"), "--target", "opencl", "--explain-placement")
    assert done.stdout.startswith("all of it on opencl: there is no other device\n")


def test_the_first_node_that_breaks_a_wish_is_named(tmp_path: Path) -> None:
    output = tmp_path / "m.hrm"
    wish = ("--require-device", "opencl:*")
    done = _run(str(_model(tmp_path / "m.onnx")), "-o", str(output), "--target", BOTH, *wish)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "headrace: node 'places': graph.take_dynamic does not run on opencl: "
        "the dims of its results are data, which the host reads\n"
    )
    assert not output.exists()


@pytest.mark.parametrize("target", ["opencl", BOTH])
def test_what_runs_nowhere_breaks_no_wish(tmp_path: Path, target: str) -> None:
    model = _model(tmp_path / "m.onnx")
    compile(model, output=tmp_path / "m.hrm", target=target, require_device=[("opencl", "folded"), ("opencl", "sc*")])


def test_all_of_a_model_on_its_only_device(tmp_path: Path) -> None:
    model = _model(tmp_path / "m.onnx")
    compile(model, output=tmp_path / "m.hrm", target="opencl", require_device=[("opencl", "*")])
    with pytest.raises(PlacementError, match=r"node 'scaled': graph\.mul does not run on x86-64-v3"):
        compile(model, output=tmp_path / "m.hrm", target=BOTH, require_device=[("x86-64-v3", "sc*")])
