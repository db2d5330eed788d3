"""Concats, slices, splits, branches and residuals: compiled and run at several sizes against ONNX Runtime.

Random graphs of them and of what may make, read or view their values; results of the model are among the parts, values
have several readers or occur twice in one concat.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.driver import compile
from headrace.ir.pass_manager import Hooks
from headrace.ir.semantic import SemanticCheck
from headrace.runtime.python import load

Shape = tuple[int, ...]  # of one row of the batch


class Growing:
    """A model in the making; every value is f32[n, ...]."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []
        self.values: dict[str, Shape] = {"x": (8, 6), "u": (8, 3)}

    def pick(self, *choices: int) -> int:
        return int(self.rng.choice(choices))

    def value(self) -> str:
        names = list(self.values)[-6:]
        return names[self.pick(*range(len(names)))]

    def constant(self, array: object) -> str:
        name = f"c{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, kind: str, inputs: list[str], shapes: list[Shape], **attributes: object) -> None:
        names = [f"v{len(self.values) + i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        self.values.update(zip(names, shapes, strict=True))

    # ---- operations --------------------------------------------------------------------------------------

    def unary(self) -> None:
        x = self.value()
        self.add(["Tanh", "Relu", "Neg"][self.pick(0, 1, 2)], [x], [self.values[x]])

    def softmax(self) -> None:
        x = self.value()
        self.add("Softmax", [x], [self.values[x]], axis=-1)

    def product(self) -> None:
        x = self.value()
        *outer, k = self.values[x]
        width = self.pick(3, 6, 8)
        w = self.rng.standard_normal((k, width)).astype(np.float32) / k
        self.add("MatMul", [x, self.constant(w)], [(*outer, width)])

    def branches(self) -> None:
        """Two or three products of one value, with a row added to most."""
        x = self.value()
        *outer, k = self.values[x]
        for width in ((3, 6), (4, 4, 2))[self.pick(0, 1)]:
            w = self.rng.standard_normal((k, width)).astype(np.float32) / k
            self.add("MatMul", [x, self.constant(w)], [(*outer, width)])
            if self.pick(0, 1, 1):
                row = self.rng.standard_normal(width).astype(np.float32)
                self.add("Add", [list(self.values)[-1], self.constant(row)], [(*outer, width)])

    def residual(self) -> None:
        """Two products, and what they began with added."""
        x = self.value()
        *outer, k = self.values[x]
        for width in (5, k):
            *_, inner = self.values[last := x if width == 5 else list(self.values)[-1]]
            w = self.rng.standard_normal((inner, width)).astype(np.float32) / inner
            self.add("MatMul", [last, self.constant(w)], [(*outer, width)])
        self.add("Add", [list(self.values)[-1], x], [(*outer, k)])

    def sum(self) -> None:
        x = self.value()
        others = [v for v, s in self.values.items() if s == self.values[x]]
        self.add("Add", [x, others[self.pick(*range(len(others)))]], [self.values[x]])

    def concat(self) -> None:
        x = self.value()
        shape = self.values[x]
        axis = self.pick(*range(len(shape)))

        def others(one: Shape) -> Shape:
            return (*one[:axis], 0, *one[axis + 1 :])

        names = [v for v, s in self.values.items() if len(s) == len(shape) and others(s) == others(shape)]
        xs = [x, *(names[self.pick(*range(len(names)))] for _ in range(self.pick(1, 2, 3)))]
        whole = sum(self.values[n][axis] for n in xs)
        self.add("Concat", xs, [(*shape[:axis], whole, *shape[axis + 1 :])], axis=axis + 1)

    def split(self) -> None:
        x = self.value()
        shape = self.values[x]
        axis = self.pick(*range(len(shape)))
        if shape[axis] < 2:
            return
        first = self.pick(*range(1, shape[axis]))
        sizes = [first, shape[axis] - first]
        parts = [(*shape[:axis], s, *shape[axis + 1 :]) for s in sizes]
        self.add("Split", [x, self.constant(np.array(sizes))], parts, axis=axis + 1)

    def slice(self) -> None:
        x = self.value()
        shape = self.values[x]
        axis = self.pick(*range(len(shape)))
        start, step = self.pick(*range(shape[axis])), self.pick(1, 2)
        size = -(-(shape[axis] - start) // step)
        numbers = [self.constant(np.array([n])) for n in (start, shape[axis], axis + 1, step)]
        self.add("Slice", [x, *numbers], [(*shape[:axis], size, *shape[axis + 1 :])])

    def reshape(self) -> None:
        x = self.value()
        shape = list(self.values[x])
        if len(shape) > 1 and self.pick(0, 1):
            at = self.pick(*range(len(shape) - 1))
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        else:
            at = self.pick(*range(len(shape)))
            factor = 2 if shape[at] % 2 == 0 else 1
            shape[at : at + 1] = [factor, shape[at] // factor]
        if len(shape) <= 4:
            self.add("Reshape", [x, self.constant(np.array([0, *shape]))], [tuple(shape)])

    def transpose(self) -> None:
        x = self.value()
        order = [int(i) for i in self.rng.permutation(len(self.values[x]))]
        self.add("Transpose", [x], [tuple(self.values[x][i] for i in order)], perm=[0, *(i + 1 for i in order)])

    def pad(self) -> None:
        x = self.value()
        shape = self.values[x]
        if len(shape) < 2:
            return
        pads = [0, 1, *[0] * (len(shape) - 1), 0, 2, *[0] * (len(shape) - 1)]
        self.add("Pad", [x, self.constant(np.array(pads))], [(shape[0] + 3, *shape[1:])])

    def model(self) -> onnx.ModelProto:
        makers = [
            self.unary, self.softmax, self.product, self.product, self.sum, self.concat, self.concat, self.concat,
            self.branches, self.residual, self.split, self.slice, self.reshape, self.transpose, self.pad,
        ]  # fmt: skip
        while len(self.nodes) < 14:
            makers[self.pick(*range(len(makers)))]()
        used = {i for n in self.nodes for i in n.input}
        made = [o for n in self.nodes for o in n.output]
        results = [v for v in made if v not in used or self.pick(0, 0, 0, 1)]
        given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n", *self.values[n])) for n in ("x", "u")]
        found = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in results]
        graph = helper.make_graph(self.nodes, "g", given, found, self.held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def check(model: onnx.ModelProto, folder: Path, target: str, check: SemanticCheck | None = None) -> None:
    """Compiles once and runs with one row and with several, on one thread and on two."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    hooks = Hooks() if check is None else Hooks(verify_each="semantic", semantic=check)
    compile(path, output=folder / "model.hrm", target=target, hooks=hooks)
    expect = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows in (1, 3, 0):
        rng = np.random.default_rng(rows)
        feeds = {}
        for given in model.graph.input:
            shape = (rows, *(d.dim_value for d in given.type.tensor_type.shape.dim[1:]))
            feeds[given.name] = rng.standard_normal(shape).astype(np.float32)
        wanted = dict(zip((o.name for o in model.graph.output), expect.run(None, feeds), strict=True))
        for threads in (1, 2):
            found = load(folder / "model.hrm", threads=threads).run(feeds)
            for name, array in wanted.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("seed", range(16))
def test_random_graphs_of_parts(seed: int, tmp_path: Path) -> None:
    check(Growing(seed).model(), tmp_path, "host")
