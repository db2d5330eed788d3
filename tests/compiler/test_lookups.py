"""Indices that are data, end to end: elements as ONNX Runtime finds them, errors that name the node and the index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from c_program import run_in_c
from onnx import TensorProto, helper, numpy_helper
from operator_models import Nodes, f32

from headrace.compiler.driver import compile, read_model, run_passes
from headrace.ir.errors import DataError
from headrace.ir.interpret import interpret
from headrace.runtime.python import InputError, Session, load
from headrace.targets import find_target

HOST, FAMILY = find_target("host")
RNG = np.random.default_rng(7)


def lookups() -> Nodes:
    """Rows, columns, single elements, tuples of indices; narrow and wide."""
    m = Nodes({"i": ("b", "s"), "j": ("b", 3)})
    m.add("Gather", f32(9, 40), "i")
    m.add("Gather", f32(9, 3), "i", relu=True)
    m.add("Gather", f32(5, 9), "j", axis=1)
    m.add("Gather", f32(4, 9, 17), "i", axis=1)
    m.add("Gather", f32(9), "i")
    m.add("GatherElements", f32(50, 9), "j", axis=1)
    m.add("GatherElements", f32(9, 3), "j", axis=0)
    m.add("GatherND", f32(9, 9, 9, 20), "j")
    m.add("GatherND", f32(9, 9, 9), "j")
    return m


def model_of(nodes: Nodes) -> bytes:
    """The model, with inputs of integers."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, d) for n, d in nodes.inputs.items()]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in nodes.outputs]
    graph = helper.make_graph(nodes.nodes, "g", inputs, outputs, nodes.constants)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(found.SerializeToString())


def test_as_onnxruntime(tmp_path: Path) -> None:
    nodes = lookups()
    (tmp_path / "m.onnx").write_bytes(model_of(nodes))
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm", threads=2)
    reference = onnxruntime.InferenceSession(model_of(nodes), providers=["CPUExecutionProvider"])
    for b, s in ((1, 1), (3, 5), (7, 2), (2, 0)):
        inputs = {"i": RNG.integers(-9, 9, (b, s)), "j": RNG.integers(-9, 9, (b, 3))}
        found = session.run(inputs)
        for name, expected in zip(nodes.outputs, reference.run(nodes.outputs, inputs), strict=True):
            np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_in_c(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("gcc")
    nodes = lookups()
    (tmp_path / "m.onnx").write_bytes(model_of(nodes))
    module = read_model(tmp_path / "m.onnx", None)
    run_passes(module, HOST, FAMILY, None, None)
    inputs = {"i": RNG.integers(-9, 9, (3, 5)), "j": RNG.integers(-9, 9, (3, 3))}
    expected = interpret(read_model(tmp_path / "m.onnx", None), "main", list(inputs.values()))
    for found, wanted in zip(run_in_c(module, inputs, tmp_path), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


# ---- errors ----------------------------------------------------------------------------------------------------


def two_tables(folder: Path) -> Path:
    """y = words[i] + places[j]: one kernel that looks up twice."""
    table = numpy_helper.from_array
    nodes = [
        helper.make_node("Gather", ["words", "i"], ["a"], name="word"),
        helper.make_node("Gather", ["places", "j"], ["b"], name="place"),
        helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["n"]) for n in ("i", "j")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [table(f32(9, 40), "words"), table(f32(5, 40), "places")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "two.onnx").write_bytes(model.SerializeToString())
    return folder / "two.onnx"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder: Path = tmp_path_factory.mktemp("two")
    report = compile(two_tables(folder), output=folder / "two.hrm")
    assert report.kernels == 1
    return load(folder / "two.hrm", threads=3)


CASES = {
    "node 'word': index 9 is out of range for a dim of 9": ([0, 9, 0], [0, 0, 0]),
    "node 'word': index -10 is out of range for a dim of 9": ([0, 1, -10], [0, 0, 0]),
    "node 'place': index 5 is out of range for a dim of 5": ([0, 0, 0], [4, 5, 5]),
    "node 'place': index -2147483648 is out of range for a dim of 5": ([-9, 8, 7], [4, 3, -(2**31)]),
}


@pytest.mark.parametrize("message", CASES)
def test_errors_name_node_and_index(session: Session, message: str) -> None:
    i, j = (np.array(x, np.int32) for x in CASES[message])
    with pytest.raises(InputError, match=f"^{message}$"):
        session.run({"i": i, "j": j})
    assert session.run({"i": i * 0, "j": j * 0})["y"].shape == (3, 40)


@pytest.mark.parametrize("message", CASES)
def test_the_interpreters_say_the_same_at_every_stage(message: str, tmp_path: Path) -> None:
    inputs = [np.array(x, np.int32) for x in CASES[message]]
    whole = "graph.decompose, graph.cluster, kernel.lower, program.plan-memory, kernel.schedule, kernel.realize"
    for count in range(1, len(whole.split(", ")) + 1):
        module = read_model(two_tables(tmp_path), None)
        run_passes(module, HOST, FAMILY, ", ".join(whole.split(", ")[:count]), None)
        with pytest.raises(DataError, match=f"^{message}$"):
            interpret(module, "main", inputs)


def test_of_many_errors_the_first_in_order_is_told(session: Session) -> None:
    i = np.zeros(1000, np.int32)
    i[[400, 600, 999]] = 77, 88, 99
    for _ in range(20):
        with pytest.raises(InputError, match=r"^node 'word': index 77 is"):
            session.run({"i": i, "j": i * 0})


def test_an_index_into_nothing_is_out_of_range(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["x", "i"], ["y"], name="pick")]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(session.run({"x": x, "i": np.array(-1)})["y"], [3, 4, 5])
    with pytest.raises(InputError, match="node 'pick': index 0 is out of range for a dim of 0"):
        session.run({"x": x[:0], "i": np.array(0)})


FAMILIES = {
    "GatherND": ((4, 3), (2, 1), None),
    "GatherElements": ((4, 3), (2, 3), None),
    "ScatterElements": ((4, 3), (2, 3), (2, 3)),
    "ScatterND": ((4, 3), (2, 1), (2, 3)),
}


@pytest.mark.parametrize("bad", [4, -5, 2**40, -(2**63)])
@pytest.mark.parametrize("op", FAMILIES)
def test_every_family_names_its_node(op: str, bad: int, tmp_path: Path) -> None:
    table, places, updates = FAMILIES[op]
    shapes = {"x": (TensorProto.FLOAT, table), "i": (TensorProto.INT64, places)}
    if updates:
        shapes["u"] = (TensorProto.FLOAT, updates)
    inputs = [helper.make_tensor_value_info(n, t, s) for n, (t, s) in shapes.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node(op, list(shapes), ["y"], name="pick")], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm")
    values = {n: np.ones(s, np.float32 if t == TensorProto.FLOAT else np.int64) for n, (t, s) in shapes.items()}
    values["i"].flat[-1] = bad
    with pytest.raises(InputError, match=f"^node 'pick': index {bad} is out of range for a dim of 4$"):
        session.run(values)
