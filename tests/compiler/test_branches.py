"""If whose condition is data: the runtime takes one branch, and only that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.ir.pass_manager import Hooks
from headrace.ir.semantic import SemanticCheck
from headrace.runtime.python import HeadraceRuntimeError, InputError, Session, load

Array = np.ndarray[Any, Any]
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Build = Callable[[ModelProto], Session]


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name or None, **attributes)


def info(name: str, kind: int, *dims: str | int) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def branch(name: str, outputs: str, *nodes: Any, constants: dict[str, Array] | None = None) -> GraphProto:
    initializers = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    return helper.make_graph(nodes, name, [], [_untyped(o) for o in outputs.split()], initializers)


def _untyped(name: str) -> Any:
    return helper.make_empty_tensor_value_info(name)


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **constants: Array) -> ModelProto:
    initializers = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles, every pass checked by the interpreters."""

    def built(proto: ModelProto) -> Session:
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        check = SemanticCheck()
        compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", hooks=Hooks(verify_each="semantic", semantic=check))
        return load(tmp_path / "m.hrm", threads=1, record=True)

    return built


def agree(session: Session, proto: ModelProto, inputs: dict[str, Array]) -> None:
    """The same as ONNX Runtime, in the memory that was announced."""
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(inputs)
    for name, expected in zip(found, reference.run(None, inputs), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


X = np.random.default_rng(5).standard_normal((3, 8), np.float32)


def test_one_of_two(build: Build) -> None:
    """Captured values, constants of each branch, a value from around both, a result that is used further."""
    weights = np.random.default_rng(6).standard_normal((8, 4), np.float32)
    then = branch("t", "a", node("MatMul", "r w", "p"), node("Add", "p one", "a"), constants={"one": np.ones(4, "f4")})
    other = branch("e", "b", node("MatMul", "x w", "q"), node("Sigmoid", "q", "b"))
    nodes = [
        node("Relu", "x", "r"),
        node("ReduceSum", "r", "sum", keepdims=0),
        node("Greater", "sum limit", "c"),
        node("If", "c", "chosen", "choose", then_branch=then, else_branch=other),
        node("Neg", "chosen", "y"),
    ]
    proto = model(nodes, [info("x", F32, "n", 8), info("limit", F32)], [info("y", F32, "n", 4)], w=weights)
    session = build(proto)
    for limit in (-1, 1e9):
        agree(session, proto, {"x": X, "limit": np.array(limit, np.float32)})


def test_results_of_other_sizes(build: Build) -> None:
    """The size of the result follows from the condition, and what reads it has that size."""
    then = branch("t", "a", node("Concat", "x x", "a", axis=0))
    other = branch("e", "b", node("Slice", "x zero two zero", "b"))
    nodes = [node("If", "c", "chosen", "choose", then_branch=then, else_branch=other), node("Exp", "chosen", "y")]
    constants = {"zero": np.array([0]), "two": np.array([2])}
    proto = model(nodes, [info("c", BOOL), info("x", F32, "n", 8)], [_untyped("y")], **constants)
    session = build(proto)
    for holds in (True, False, True):
        agree(session, proto, {"x": X, "c": np.array(holds)})
    one = session.run({"x": X, "c": np.array([[True]])})["y"]  # an array of one element is a number
    np.testing.assert_array_equal(one, session.run({"x": X, "c": np.array(True)})["y"])
    with pytest.raises(InputError, match="input 'c': has 1 dims, expected 0"):
        session.run({"x": X, "c": np.array([True, False])})


def test_shapes_of_a_branch_that_is_not_taken(build: Build) -> None:
    """What it would see of an input without elements is nobody's business."""
    then = branch("t", "a", node("Relu", "x", "a"))
    other = branch("e", "b", node("Reshape", "x shape", "q"), node("Exp", "q", "b"))
    nodes = [node("If", "c", "y", "choose", then_branch=then, else_branch=other)]
    inputs = [info("c", BOOL), info("x", F32, "n", 8), info("shape", I64, 2)]
    proto = model(nodes, inputs, [_untyped("y")])
    session = build(proto)
    empty = {"x": X[:0], "shape": np.array([5, 2])}
    agree(session, proto, {**empty, "c": np.array(True)})
    agree(session, proto, {"x": X, "shape": np.array([6, 4]), "c": np.array(False)})
    with pytest.raises(HeadraceRuntimeError, match="the shape does not have the elements"):
        session.run({**empty, "c": np.array(False)})


def test_values_that_are_handed_on(build: Build) -> None:
    """Captured values and constants as results, the same one twice, and one that nobody takes."""
    then = branch(
        "t", "a b k", node("Identity", "x", "a"), node("Identity", "x", "b"), constants={"k": np.float32([1, 2])}
    )
    other = branch(
        "e", "d e l", node("Neg", "x", "d"), node("Identity", "x", "e"), constants={"l": np.float32([3, 4])}
    )
    nodes = [node("If", "c", "y z u", "choose", then_branch=then, else_branch=other)]
    proto = model(nodes, [info("c", BOOL), info("x", F32, 3, 8)], [_untyped("y"), _untyped("u")])
    session = build(proto)
    for holds in (True, False):
        agree(session, proto, {"x": X, "c": np.array(holds)})


def test_a_branch_that_is_impossible_is_no_error_unless_taken(build: Build) -> None:
    """A window that is larger than x would leave a negative size; a reshape does not fit: neither is looked at."""
    pooled = node("AveragePool", "x", "p", kernel_shape=[4])
    grouped = node("Reshape", "p shape", "m")
    then = branch("t", "a", pooled, grouped, node("ReduceSum", "m", "a", keepdims=0))
    other = branch("e", "b", node("ReduceMax", "x", "b", keepdims=0))
    nodes = [node("If", "c", "y", "choose", then_branch=then, else_branch=other)]
    proto = model(nodes, [info("c", BOOL), info("x", F32, 1, 2, "n")], [info("y", F32)], shape=np.array([3, 2]))
    session = build(proto)
    for length, holds in ((6, True), (6, False), (7, False), (1, False)):
        agree(session, proto, {"x": np.ones((1, 2, length), np.float32), "c": np.array(holds)})
    for length, wrong in ((7, "does not reshape"), (1, "node 'AveragePool_0': a dim of n - 3 would be below 0")):
        with pytest.raises(HeadraceRuntimeError, match=wrong):
            session.run({"x": np.ones((1, 2, length), np.float32), "c": np.array(True)})


def test_branches_within_branches_and_sizes_that_a_branch_reads(build: Build) -> None:
    """What is read in a branch that is not taken may be anything: the inner condition, the shape."""
    inner = [
        branch("t2", "a2", node("Exp", "m", "a2")),
        branch("e2", "b2", node("Concat", "m m", "b2", axis=0)),
    ]
    then = branch(
        "t",
        "a",
        node("Reshape", "x shape", "m"),
        node("Greater", "limit total", "c2"),
        node("If", "c2", "a", "inner", then_branch=inner[0], else_branch=inner[1]),
    )
    other = branch("e", "b", node("Reshape", "x other", "w"), node("Neg", "w", "b"))
    nodes = [
        node("ReduceSum", "x", "total", keepdims=0),
        node("If", "c", "chosen", "outer", then_branch=then, else_branch=other),
        node("Relu", "chosen", "y"),
    ]
    inputs = [info("c", BOOL), info("x", F32, "n", 2), info("limit", F32), info("shape", I64, 2), info("other", I64, 2)]
    proto = model(nodes, inputs, [_untyped("y")])
    session = build(proto)
    x = np.ones((6, 2), np.float32)
    fits, wrong = np.array([4, -1]), np.array([-7, 5])
    for holds, limit, shape, other in (
        (True, 20, fits, wrong),
        (True, 2, fits, wrong),
        (False, 2, wrong, fits),
        (True, 20, np.array([0, 2]), wrong),
    ):
        given = {"c": np.array(holds), "x": x, "limit": np.array(limit, np.float32), "shape": shape, "other": other}
        agree(session, proto, given)
    with pytest.raises(HeadraceRuntimeError, match=r"does not reshape|out of its range"):
        session.run(given | {"shape": wrong})
