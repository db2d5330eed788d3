"""ONNX models with loops, and words to write them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
R = np.random.default_rng(0)


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    """`_` stands for an input that is left out."""
    given = ["" if i == "_" else i for i in inputs.split()]
    return helper.make_node(op, given, outputs.split(), name or None, **attributes)


def info(name: str, kind: int, *dims: str | int) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


def graph(nodes: Sequence[Any], inputs: Sequence[Any], outputs: str, **constants: Array) -> GraphProto:
    untyped = [helper.make_empty_tensor_value_info(o) for o in outputs.split()]
    return helper.make_graph(nodes, "g", inputs, untyped, [numpy_helper.from_array(a, n) for n, a in constants.items()])


def turn(nodes: Sequence[Any], inputs: Sequence[Any], outputs: str, **constants: Array) -> GraphProto:
    """The body of a Loop, `i` the number of the turn, `c` the condition."""
    return graph(nodes, [info("i", I64), info("c", BOOL), *inputs], outputs, **constants)


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: str, **constants: Array) -> ModelProto:
    made = graph(nodes, inputs, outputs, **constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def floats(*shape: int) -> Array:
    return R.standard_normal(shape, np.float32)


def nested() -> ModelProto:
    inner = turn(
        [
            node("Add", "a w", "p"),
            node("Tanh", "p", "b"),
            node("Identity", "c", "d"),
            node("ReduceSum", "b", "s", keepdims=0),
        ],
        [info("a", F32, "n", 4)],
        "d b s",
    )
    half = graph([node("Mul", "y half", "z")], [], "z", half=np.array(0.5, np.float32))
    minus = graph([node("Neg", "y", "z")], [], "z")
    outer = helper.make_graph(
        [
            node("Add", "j more", "turns"),
            node("Loop", "turns _ x", "y sums", "inner", body=inner),
            node("ReduceSum", "sums", "sum", keepdims=0),
            node("Greater", "sum zero", "positive"),
            node("If", "positive", "z", "either", then_branch=half, else_branch=minus),
            node("Identity", "go", "go_on"),
        ],
        "outer",
        [info("j", I64), info("go", BOOL), info("x", F32, "n", 4)],
        [helper.make_empty_tensor_value_info(o) for o in ("go_on", "z", "sum")],
        [numpy_helper.from_array(np.array(0, np.float32), "zero")],
    )
    inputs = [info("m", I64), info("more", I64), info("x", F32, "n", 4), info("w", F32, 4)]
    return model([node("Loop", "m _ x", "y sums", "outer", body=outer)], inputs, "y sums")


def greedy() -> ModelProto:
    """A decoder's loop: embed the last token, a recurrent layer, scores, the best of them, until it is the last one."""
    body = turn(
        [
            node("Gather", "table t", "e"),
            node("Add", "h e", "g"),
            node("MatMul", "g w", "p"),
            node("Tanh", "p", "h_next"),
            node("MatMul", "h_next u", "scores"),
            node("ArgMax", "scores", "t_next", axis=1, keepdims=0),
            node("Concat", "tokens t_next", "tokens_next", axis=0),
            node("Equal", "t_next end", "ends"),
            node("Not", "ends", "goes"),
            node("Squeeze", "goes", "d"),
        ],
        [info("t", I64, 1), info("h", F32, 1, 8), info("tokens", I64, "length")],
        "d t_next h_next tokens_next scores",
        end=np.array([3]),
    )
    rng = np.random.default_rng(3)
    weights = {n: rng.standard_normal(s, np.float32) for n, s in (("table", (11, 8)), ("w", (8, 8)), ("u", (8, 11)))}
    inputs = [info("m", I64), info("t0", I64, 1), info("h0", F32, 1, 8), info("tokens0", I64, "n")]
    return model(
        [node("Loop", "m _ t0 h0 tokens0", "t h tokens scores", body=body)], inputs, "tokens scores", **weights
    )
