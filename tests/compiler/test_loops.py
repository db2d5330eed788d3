"""Loop and Scan whose number of turns is data or a symbol: the runtime takes the turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.compiler.measure.loading import memory_use
from headrace.errors import UnsupportedModelError
from headrace.ir.module import Module
from headrace.ir.pass_manager import Hooks
from headrace.ir.pipeline import Step
from headrace.ir.semantic import SemanticCheck
from headrace.ir.text import parse_module, print_op, save_hir
from headrace.runtime.python import InputError, load

Array = np.ndarray[Any, Any]
F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Check = Callable[..., Path]
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


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Compiles, every pass checked by the interpreters; every run is what ONNX Runtime gives, by one thread and by four."""

    def checked(proto: ModelProto, *feeds: Mapping[str, Any]) -> Path:
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        semantic = SemanticCheck()
        hooks = Hooks(verify_each="semantic", semantic=semantic)
        compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", hooks=hooks)
        assert not semantic.unchecked, semantic.summary()
        reference = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        sessions = [load(tmp_path / "m.hrm", threads=n) for n in (1, 2, 3, 4)]
        for feed in feeds:
            given = {name: np.asarray(x) for name, x in feed.items()}
            results = [s.run(given) for s in sessions]
            for (name, found), expected in zip(results[0].items(), reference.run(None, given), strict=True):
                if expected.size or found.size:
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
                assert all(r[name].tobytes() == found.tobytes() for r in results)
        return tmp_path / "m.hrm"

    return checked


WHILE = turn(
    [node("Mul", "x two", "y"), node("ReduceSum", "y", "s", keepdims=0), node("Less", "s limit", "d")],
    [info("x", F32, "n", 4)],
    "d y s",
    two=np.array(2, np.float32),
)


def test_a_condition_that_data_decide(check: Check) -> None:
    inputs = [info("go", BOOL), info("limit", F32), info("x", F32, "n", 4)]
    proto = model([node("Loop", "_ go x", "y sums", body=WHILE)], inputs, "y sums")
    x = np.abs(floats(3, 4))
    runs = [(True, 100.0), (False, 1.0), (True, 1.0), (True, 1000.0)]
    check(proto, *[{"go": go, "limit": np.float32(limit), "x": x} for go, limit in runs])


def test_a_trip_count_that_is_an_input(check: Check) -> None:
    """Weights from around the loop, an affine layer a turn."""
    body = turn(
        [node("Gemm", "x w b", "p"), node("Tanh", "p", "y"), node("Identity", "c", "d")],
        [info("x", F32, "n", 8)],
        "d y",
    )
    proto = model(
        [node("Loop", "m _ x", "y", body=body)],
        [info("m", I64), info("x", F32, "n", 8)],
        "y",
        w=floats(8, 8),
        b=floats(8),
    )
    path = check(proto, *[{"m": m, "x": floats(n, 8)} for m in (0, 1, 7, -3) for n in (1, 3)])
    session = load(path, threads=1, record=True)
    session.run({"m": np.array(5), "x": floats(2, 8)})
    kernels = [record.kernel for record in session.take_records()]
    assert len(kernels) == 6 and len(set(kernels[1:])) == 1  # what reads the trip count, then one a turn


def test_the_number_of_the_turn_and_values_that_change_places(check: Check) -> None:
    """Two carried values trade places, a third stays what it is, and rows of x are taken one by one."""
    body = turn(
        [
            node("Identity", "b", "a_next"),
            node("Gather", "x i", "row"),
            node("Add", "a row", "b_next"),
            node("Identity", "k", "k_next"),
            node("Cast", "i", "number", to=F32),
            node("Identity", "c", "d"),
        ],
        [info("a", F32, 4), info("b", F32, 4), info("k", F32, 4)],
        "d a_next b_next k_next number",
    )
    proto = model(
        [node("Loop", "m _ a0 b0 k0", "a b k numbers", body=body)],
        [info("m", I64), *(info(n, F32, 4) for n in ("a0", "b0", "k0")), info("x", F32, "n", 4)],
        "a b k numbers",
    )
    given = {"a0": floats(4), "b0": floats(4), "k0": floats(4), "x": floats(6, 4)}
    path = check(proto, *[{"m": m, **given} for m in (0, 1, 2, 5)])
    with pytest.raises(InputError, match=r"dim 0 of f32.* has no elements turn to turn"):
        load(path).run({"m": np.array(7), **given})


def test_a_carried_tensor_that_grows(check: Check) -> None:
    body = turn(
        [
            node("Concat", "x e", "y", axis=0),
            node("Shape", "y", "shape"),
            node("Gather", "shape zero", "rows"),
            node("Less", "rows limit", "d"),
        ],
        [info("x", F32, "n", 4)],
        "d y",
        zero=np.array(0),
    )
    proto = model(
        [node("Loop", "m go x", "all", body=body), node("Neg", "all", "y")],
        [info("m", I64), info("go", BOOL), info("limit", I64), info("x", F32, "n", 4), info("e", F32, 2, 4)],
        "y",
    )
    runs = [(3, 100, 3), (100, 9, 2), (0, 5, 1), (100, 60, 1), (3, 100, 3)]
    check(proto, *[{"m": m, "go": True, "limit": most, "x": floats(n, 4), "e": floats(2, 4)} for m, most, n in runs])


def test_a_size_that_data_decide_in_every_turn(check: Check) -> None:
    """What is left over 0 is kept: the carried value becomes smaller, and so do the rows that depend on it."""
    body = turn(
        [
            node("Sub", "x step", "less"),
            node("Greater", "less zero", "kept"),
            node("Compress", "less kept", "y", axis=0),
            node("ReduceSum", "y", "sum", keepdims=1),
            node("Identity", "c", "d"),
        ],
        [info("x", F32, "n")],
        "d y sum",
        step=np.array(0.25, np.float32),
        zero=np.array(0, np.float32),
    )
    proto = model([node("Loop", "m _ x", "y sums", body=body)], [info("m", I64), info("x", F32, "n")], "y sums")
    check(proto, *[{"m": m, "x": floats(9)} for m in (3, 0, 1, 5)])


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


def test_a_loop_and_an_if_in_a_loop(check: Check) -> None:
    runs = [(3, 2, 3), (0, 1, 2), (2, 0, 2), (5, 3, 3)]
    check(nested(), *[{"m": m, "more": k, "x": floats(n, 4), "w": floats(4)} for m, k, n in runs])


def test_a_loop_in_an_if(check: Check) -> None:
    """In the branch that is not taken no turn is, whatever the trip count says."""
    body = turn(
        [node("Concat", "x e", "y", axis=0), node("Identity", "c", "d"), node("Mul", "e e", "row")],
        [info("x", F32, "n", 4)],
        "d y row",
    )
    then = graph([node("Loop", "m _ x0", "u r", body=body)], [], "u r")
    other = graph([node("Neg", "x0", "v"), node("Unsqueeze", "v zero", "q")], [], "v q", zero=np.array([0]))
    inputs = [info("g", BOOL), info("m", I64), info("x0", F32, "n", 4), info("e", F32, 2, 4)]
    proto = model([node("If", "g", "y r", then_branch=then, else_branch=other)], inputs, "y r")
    runs = [(True, 3, 2), (False, 3, 2), (True, 0, 2), (False, 1, 3), (True, 2, 2)]
    check(proto, *[{"g": g, "m": m, "x0": floats(n, 4), "e": floats(2, 4)} for g, m, n in runs])


def test_scan_over_a_symbol(check: Check) -> None:
    """Two states, two sequences along other axes and one of them backwards, results backwards and along another axis."""
    body = graph(
        [
            node("MatMul", "h w", "p"),
            node("Add", "p x", "q"),
            node("Tanh", "q", "h_next"),
            node("Add", "s z", "s_next"),
            node("Mul", "h_next s_next", "row"),
            node("Sub", "h_next z", "other"),
        ],
        [info(n, F32, "b", 4) for n in ("h", "s", "x", "z")],
        "h_next s_next row other",
    )
    directions = {"scan_input_axes": [1, 0], "scan_input_directions": [0, 1]}
    ends = {"scan_output_directions": [1, 0], "scan_output_axes": [0, 1]}
    proto = model(
        [node("Scan", "h0 s0 xs zs", "h s rows others", body=body, num_scan_inputs=2, **directions, **ends)],
        [
            info("h0", F32, "b", 4),
            info("s0", F32, "b", 4),
            info("xs", F32, "b", "seq", 4),
            info("zs", F32, "seq", "b", 4),
        ],
        "h s rows others",
        w=floats(4, 4),
    )
    sizes = [(2, 5), (1, 1), (3, 7), (2, 5)]
    check(
        proto,
        *[{"h0": floats(b, 4), "s0": floats(b, 4), "xs": floats(b, q, 4), "zs": floats(q, b, 4)} for b, q in sizes],
    )


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


def test_a_greedy_decoder(check: Check) -> None:
    runs = [(20, 1, 1), (20, 5, 2), (0, 1, 1), (1, 2, 1), (30, 7, 3)]
    check(greedy(), *[{"m": m, "t0": [t], "h0": floats(1, 8), "tokens0": [t] * k} for m, t, k in runs])


def test_an_index_out_of_range_names_its_node(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(greedy().SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm")
    given = {"m": np.array(2), "h0": floats(1, 8), "tokens0": np.array([1])}
    with pytest.raises(InputError, match=r"^node 'Gather_0': index 11 is out of range for a dim of 11$"):
        session.run({"t0": np.array([11]), **given})
    assert session.run({"t0": np.array([4]), **given})["tokens"].shape[0] <= 3


def test_rows_of_different_sizes_are_an_error(tmp_path: Path) -> None:
    body = turn([node("Concat", "x e", "y", axis=0), node("Identity", "c", "d")], [info("x", F32, "n")], "d y y")
    proto = model(
        [node("Loop", "m _ x", "y rows", body=body)], [info("m", I64), info("x", F32, "n"), info("e", F32, 1)], "rows"
    )
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm")
    x, e = floats(2), floats(1)
    one = session.run({"m": np.array(1), "x": x, "e": e})["rows"]
    np.testing.assert_array_equal(one, [[*x, *e]])
    assert session.run({"m": np.array(0), "x": x, "e": e})["rows"].shape == (0, 0)
    with pytest.raises(InputError, match="node 'Loop_0': a turn appends values of another size than the first"):
        session.run({"m": np.array(2), "x": x, "e": e})


def test_a_second_run_of_as_many_turns_allocates_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(greedy().SerializeToString())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    session = load(tmp_path / "m.hrm", threads=2, record=True)
    given = {"m": np.array(20), "t0": np.array([1]), "h0": floats(1, 8), "tokens0": np.array([1])}
    outputs = {name: np.empty_like(x) for name, x in load(tmp_path / "m.hrm").run(given).items()}
    assert memory_use(session, given, outputs).second_run_allocations == 0


def test_going_on_from_the_text_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(nested().SerializeToString())
    steps: list[Step] = []

    def keep(step: Step, module: Module) -> None:
        text = print_op(module)
        assert print_op(parse_module(text, constants=module.constants)) == text, step
        save_hir(module, tmp_path / f"{len(steps)}.hir")
        steps.append(step)

    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", target="x86-64-v3", hooks=Hooks(observe=keep))
    names = [s.name for s in steps]
    for name in ("graph.propagate-shapes", "kernel.lower", "program.plan-memory"):
        number = names.index(name)
        rest = ",".join(map(str, steps[number + 1 :]))
        compile(tmp_path / f"{number}.hir", output=tmp_path / "again.hrm", target="x86-64-v3", pipeline=rest)
        assert (tmp_path / "again.hrm").read_bytes() == (tmp_path / "m.hrm").read_bytes(), name


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Unsqueeze", "x zero", "y")], "a turn makes f32.* of f32.*, expected one element type and rank"),
        ([node("Cast", "x", "y", to=I64)], "a turn makes i64.* of f32.*, expected one element type and rank"),
    ],
)
def test_what_cannot_be(nodes: Any, message: str, tmp_path: Path) -> None:
    body = turn([*nodes, node("Identity", "c", "d")], [info("x", F32, "n")], "d y", zero=np.array([0]))
    proto = model([node("Loop", "m _ x", "y", body=body)], [info("m", I64), info("x", F32, "n")], "y")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=f"node 'Loop_0' .*: {message}"):
        compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
