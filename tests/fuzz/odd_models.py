"""Models to begin with that have what ONNX's own tests of operators lack: weights of narrow types and in another file,
functions that call each other, branches and bodies that take values from around them, sequences as a loop's state.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper, parser

BESIDE = "weights.bin"  # what external data lie in
TEXTS = {
    "branches": """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[n, 4] x, bool c) => (float[n, 4] y) <float two = {2.0}> {
          a = Relu(x)
          y = If(c) <then_branch = t () => (float[n, 4] b) { b = Mul(a, two) },
                     else_branch = e () => (float[n, 4] d) {
                       d = If(c) <then_branch = u () => (float[n, 4] f) { f = Neg(x) },
                                  else_branch = v () => (float[n, 4] h) { h = Add(a, x) }> }>
        }""",
    "loops": """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[3, 4] x, float[4] s) => (float[4] last, float[3, 4] rows, float[4] end, float[3, 4] scanned)
          <int64 turns = {3}, bool yes = {1}> {
          last, rows = Loop(turns, yes, s) <body = b (int64 i, bool go, float[4] a) =>
            (bool on, float[4] z, float[4] row) {
              on = Identity(go)
              r = Gather(x, i)
              z = Add(a, r)
              row = Mul(z, s)
          }>
          end, scanned = Scan<num_scan_inputs = 1, body = c (float[4] p, float[4] q) => (float[4] o, float[4] w) {
              o = Sub(p, q)
              w = Mul(o, s)
          }>(s, x)
        }""",
    "structures": """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[2, 4] x) => (float[n, 4] y, int64 length) <int64 turns = {3}, bool yes = {1}, int64 at = {-1}> {
          e = SequenceConstruct(x)
          q = Loop(turns, yes, e) <body = b (int64 i, bool go, seq(float[2, 4]) a) =>
            (bool on, seq(float[2, 4]) z) {
              on = Identity(go)
              z = SequenceInsert(a, x)
          }>
          m = Optional(q)
          r = OptionalGetElement(m)
          length = SequenceLength(r)
          l = SequenceAt(r, at)
          p = SequenceErase(r, at)
          k = ConcatFromSequence<axis = 0>(p)
          y = Concat<axis = 0>(k, l)
        }""",
    "functions": """
        <ir_version: 9, opset_import: ["" : 17, "own" : 1]>
        g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) {
          y = own.outer<slope = 0.25>(x)
          z = own.inner(y)
        }
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        outer <slope> (a) => (b) {
          c = own.inner<alpha: float = @slope>(a)
          d = own.inner(c)
          b = Add(c, d)
        }
        <domain: "own", opset_import: ["" : 17]>
        inner <alpha: float = 0.5> (a) => (b) { b = LeakyRelu<alpha: float = @alpha>(a) }""",
    "sizes": """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[n, 6] x) => (float[n, k] y, int64[2, m] places)
          <int64[2] shape = {-1, 6}, int64[2] twice = {1, 2}, int64[4] pads = {0, 1, 0, 1}, int64[2] one = {1, 1}, int64[1] few = {3},
           int64 begin = {0}, int64 end = {7}, int64 step = {2}, float[2] scales = {1.0, 2.0},
           int64[2] parts = {5, 9}> {
          a = Reshape(x, shape)
          b = Tile(a, twice)
          c = Pad(b, pads)
          d, e = Split<axis = 1>(c, parts)
          y, i = TopK(d, few)
          r = Range(begin, end, step)
          f = Gather<axis = 1>(e, r)
          h = Expand(f, one)
          w = Resize<mode = "linear">(h, , scales)
          places = NonZero(w)
        }""",
    "text": """
        <ir_version: 9, opset_import: ["" : 17]>
        g (float[1, 2, n, 5] x, float[2, 2, 2, 2] w) => (float[1, 2, s, t] y, float[1, a, b, c] z)
          <int64[8] pads = {0, 0, 1, 1, 0, 0, 0, 1}> {
          v = Conv<auto_pad = "SAME_UPPER">(x, w)
          y = AveragePool<auto_pad = "VALID", kernel_shape = [1, 2]>(v)
          u = Einsum<equation = "abcd,ebgh->aecd">(v, w)
          z = Pad<mode = "reflect">(u, pads)
        }""",
}
NARROW = ("FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E8M0", "FLOAT4E2M1", "INT4", "UINT4", "INT2", "UINT2", "BFLOAT16")


def models() -> dict[str, ModelProto]:
    """All of them; some need `write_beside`."""
    found = {name: parser.parse_model(text) for name, text in TEXTS.items()}
    found |= {f"narrow {name}": _cast_weights(getattr(TensorProto, name)) for name in NARROW}
    return found | {"quantised": _quantised(), "beside": _beside(), "sparse": _sparse(), "strings": _strings()}


def write_beside(folder: Path) -> None:
    """The file that external data lie in."""
    (folder / BESIDE).write_bytes(np.arange(24, dtype=np.float32).tobytes())


def _model(nodes: list[str], tensors: list[TensorProto], sparse: list[SparseTensorProto] | None = None) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([parser.parse_node(n) for n in nodes], "g", [x], [y], tensors)
    graph.sparse_initializer.extend(sparse or ())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=10)


def _cast_weights(kind: int) -> ModelProto:
    weights = helper.make_tensor("w", kind, [3, 4], [1.0, 0.0, 0.5, 1.0] * 3 if kind != TensorProto.INT2 else [1] * 12)
    return _model(["c = Cast<to = 1>(w)", "t = Transpose(c)", "y = MatMul(x, t)"], [weights])


def _quantised() -> ModelProto:
    weights = helper.make_tensor("w", TensorProto.INT4, [4, 4], [1, -2, 7, -8] * 4)
    scales = numpy_helper.from_array(np.full((2, 4), 0.5, np.float32), "s")
    return _model(["c = DequantizeLinear<axis = 0, block_size = 2>(w, s)", "y = MatMul(x, c)"], [weights, scales])


def _beside() -> ModelProto:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", BESIDE), ("offset", "16"), ("length", "64")):
        weights.external_data.add(key=key, value=value)
    return _model(["y = MatMul(x, w)"], [weights])


def _sparse() -> ModelProto:
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 5])), [4, 4])
    return _model(["y = MatMul(x, w)"], [], [sparse])


def _strings() -> ModelProto:
    words = numpy_helper.from_array(np.array(["yes", "no"], np.object_), "w")
    return _model(["t = StringConcat(w, w)", "y = Relu(x)"], [words])
