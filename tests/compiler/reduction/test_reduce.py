"""`headrace reduce`: models with planted bugs are cut down to where the bug is, the same way each time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from model_examples import example_named
from onnx import TensorProto, helper, numpy_helper
from planted_bugs import fail, pass_that_meets, wrong_code_of
from random_graphs.graphs import RandomGraph, random_graph
from random_graphs.growing import operations_of

from headrace.compiler.cli import main
from headrace.compiler.frontends.onnx.writing import export_model
from headrace.compiler.reduction.reducer import minimal
from headrace.ir.graph.exporting import NotInOnnx
from headrace.ir.graph.ops.activations import Sigmoid
from headrace.ir.graph.ops.relu import Relu

Said = pytest.CaptureFixture[str]


def reduce(folder: Path, model: Path | bytes, *options: str) -> onnx.ModelProto:
    """The reduced model, which onnx's checker takes."""
    if isinstance(model, bytes):
        (folder / "m.onnx").write_bytes(model)
        model = folder / "m.onnx"
    assert main(["reduce", str(model), "-o", str(folder / "r.onnx"), *options]) == 0
    found = onnx.load(folder / "r.onnx")
    onnx.checker.check_model(found, full_check=True)
    return found


def kinds(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[Any]], outputs: dict[str, list[Any]], **constants: Any
) -> bytes:
    def infos(types: dict[str, list[Any]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in types.items()]

    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def mobile(blocks: int = 2) -> bytes:
    """Blocks as in MobileNetV3: a pointwise and a depthwise convolution, a gate made of the mean, a sum around it all."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for b in range(blocks):
        weights[f"p{b}"] = rng.standard_normal((8, 8, 1, 1)).astype(np.float32)
        weights[f"d{b}"] = rng.standard_normal((8, 1, 3, 3)).astype(np.float32)
        weights[f"g{b}"] = rng.standard_normal((8, 8, 1, 1)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [last, f"p{b}"], [f"a{b}"], f"point_{b}"),
            helper.make_node("Relu", [f"a{b}"], [f"r{b}"], f"relu_{b}"),
            helper.make_node("Conv", [f"r{b}", f"d{b}"], [f"c{b}"], f"depth_{b}", group=8, pads=[1, 1, 1, 1]),
            helper.make_node("GlobalAveragePool", [f"c{b}"], [f"m{b}"], f"mean_{b}"),
            helper.make_node("Conv", [f"m{b}", f"g{b}"], [f"l{b}"], f"squeeze_{b}"),
            helper.make_node("Sigmoid" if b == 1 else "HardSigmoid", [f"l{b}"], [f"s{b}"], f"gate_{b}"),
            helper.make_node("Mul", [f"c{b}", f"s{b}"], [f"t{b}"], f"scale_{b}"),
            helper.make_node("Add", [f"t{b}", last], [f"y{b}"], f"sum_{b}"),
        ]
        last = f"y{b}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"], "mean"))
    return model_of(nodes, {"x": ["n", 8, 6, 6]}, {"y": ["n", 8, 1, 1]}, **weights)


def test_a_wrong_operation_is_found(tmp_path: Path, capsys: Said) -> None:
    """Of 17 nodes the one with the bug is left, with the numbers that show it and the pass to blame."""
    with wrong_code_of(Sigmoid):
        reduced = reduce(tmp_path, mobile())
        said = capsys.readouterr().out
        assert "17 nodes -> 1, " in said
        assert "--verify-each=semantic says: kernel.lower:" in said
        again = said.rpartition("to repeat it: headrace ")[2].split()
        assert main(again) == 1
        assert "r.onnx: output 0 at [0, 0, 0, 0] is 0.74" in capsys.readouterr().out
    assert kinds(reduced) == ["Sigmoid"]
    assert reduced.graph.node[0].name == "gate_1"
    assert [d.dim_value for d in reduced.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 1, 1]
    assert np.load(tmp_path / "r.npz")[reduced.graph.input[0].name].tolist() == [[[[1.0]]]]
    assert main(again) == 0, "without the bug nothing fails"


def test_a_pass_that_raises(tmp_path: Path, capsys: Said) -> None:
    """What comes out needs no run, so there are no inputs; the command that repeats it does."""
    with pass_that_meets("graph.cse", "graph.sigmoid", fail):
        assert kinds(reduce(tmp_path, mobile())) == ["Sigmoid"]
        said = capsys.readouterr().out
        assert "m.onnx: graph.cse: AssertionError: planted\n" in said
        again = said.rpartition("to repeat it: headrace ")[2].split()
        assert main(again) == 2
    assert "graph.cse: AssertionError: planted" in capsys.readouterr().err
    assert "graph.sigmoid" in (tmp_path / "r.hir").read_text()
    assert not (tmp_path / "r.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "dnsmos_model_v8"])
def test_real_models(name: str, tmp_path: Path) -> None:
    with pass_that_meets("graph.canonicalize", "graph.max_pool", fail):
        assert kinds(reduce(tmp_path, example_named(name).path)) == ["MaxPool"]
    if name == "mnist":
        with wrong_code_of(Relu):
            assert kinds(reduce(tmp_path, example_named(name).path)) == ["Relu"]


def test_a_random_graph(tmp_path: Path) -> None:
    graph, proto = next(found for seed in range(1000) if (found := _of_ten(seed)) is not None)
    kind = operations_of(graph.main.block)[6].name
    with pass_that_meets("graph.cse", kind, fail):
        assert len(reduce(tmp_path, proto).graph.node) <= 2


def _of_ten(seed: int) -> tuple[RandomGraph, bytes] | None:
    """A graph of ten operations or more, and as ONNX; None where it is none."""
    graph = random_graph(seed)
    try:
        return (graph, export_model(graph.module)) if len(operations_of(graph.main.block)) >= 10 else None
    except NotInOnnx:
        return None


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (os.abort, "the process dies of SIGABRT after graph."),
        (lambda: os._exit(3), "the process ends after graph."),
        (lambda: bytearray(1 << 40), "graph.fold-batch-norm: MemoryError"),
    ],
)
def test_a_pass_that_dies(do: Any, told: str, tmp_path: Path, capsys: Said) -> None:
    with pass_that_meets("graph.fold-batch-norm", "graph.relu", do):
        assert kinds(reduce(tmp_path, mobile(1))) == ["Relu"]
    assert told in capsys.readouterr().out


def test_a_pass_that_hangs(tmp_path: Path, capsys: Said) -> None:
    def hang() -> None:
        while True:
            pass

    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    with pass_that_meets("graph.cse", "graph.relu", hang):
        found = reduce(tmp_path, model_of(nodes, {"x": [1]}, {"y": [1]}), "--seconds", "3")
    assert kinds(found) == ["Relu"]
    assert "takes more than 3 s after graph." in capsys.readouterr().out


def test_a_command(tmp_path: Path, capsys: Said) -> None:
    """Exit status 1 says that it fails, any other that it does not."""
    script = tmp_path / "check.py"
    script.write_text(
        "import onnx, sys\nnodes = onnx.load(sys.argv[1]).graph.node\n"
        "sys.exit({'Mul', 'Sigmoid'} <= {n.op_type for n in nodes})\n"
    )
    found = reduce(tmp_path, mobile(), "--command", f"{sys.executable} {script} {{model}}")
    assert sorted(kinds(found)) == ["Mul", "Sigmoid"]
    assert f"to repeat it: {sys.executable} {script} {tmp_path / 'r.onnx'}\n" in capsys.readouterr().out


def test_the_same_model_each_time(tmp_path: Path) -> None:
    contents = []
    for run in range(2):
        (tmp_path / str(run)).mkdir()
        with wrong_code_of(Relu):
            reduce(tmp_path / str(run), mobile(1))
        contents.append([(tmp_path / str(run) / f"r.{kind}").read_bytes() for kind in ("onnx", "hir", "npz")])
    assert contents[0] == contents[1]


def test_branches_and_functions(tmp_path: Path) -> None:
    """A bug inside of a branch of an If that a function holds."""

    def branch(name: str, op_type: str) -> onnx.GraphProto:
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
        return helper.make_graph([helper.make_node(op_type, ["v"], [name])], name, [], [info])

    choice = helper.make_node("If", ["c"], ["w"], then_branch=branch("then", "Relu"), else_branch=branch("else", "Neg"))
    body = [helper.make_node("Exp", ["u"], ["v"]), choice]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Chosen", ["u", "c"], ["w"], body, opsets)
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("ReduceMax", ["t"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("Chosen", ["t", "c"], ["y"], domain="own"),
    ]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], [zero])
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9)
    with pass_that_meets("graph.cse", "graph.relu", fail):
        found = reduce(tmp_path, model.SerializeToString())
    assert kinds(found) == ["Relu"]
    assert not found.functions


def test_for_a_device_beside_a_cpu(tmp_path: Path) -> None:
    nodes = [helper.make_node("Tanh", ["x"], ["t"], "t"), helper.make_node("Relu", ["t"], ["y"], "r")]
    model = model_of(nodes, {"x": [2]}, {"y": [2]})
    with pass_that_meets("graph.cse", "graph.relu", fail):
        found = reduce(tmp_path, model, "--target", "opencl+x86-64-v3")
    assert kinds(found) == ["Relu"]


def test_what_does_not_fail(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "m.onnx").write_bytes(mobile(1))
    assert main(["reduce", str(tmp_path / "m.onnx"), "--target", "x86-64-v2"]) == 2
    expected = "does not fail for x86-64-v2: it compiles, runs, and gives what the interpreter gives\n"
    assert capsys.readouterr().err == f"headrace: {tmp_path / 'm.onnx'}: {expected}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]
    assert main(["reduce", str(tmp_path / "m.onnx"), "--against", "onnxruntim"]) == 2
    assert "did you mean 'onnxruntime'?" in capsys.readouterr().err


def test_delta_debugging() -> None:
    """Any two items that have to be there together are found, in few trials."""
    trials = 0

    def fails(items: Any) -> bool:
        nonlocal trials
        trials += 1
        return {17, 64} <= set(items)

    assert minimal(list(range(100)), fails) == [17, 64]
    assert trials < 100
