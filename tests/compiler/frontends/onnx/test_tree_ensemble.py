"""ai.onnx.ml.TreeEnsemble against trees walked down one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace as hr

Array = np.ndarray[Any, Any]
TESTS: list[Callable[[float, Any], bool]] = [
    lambda a, b: a <= b, lambda a, b: a < b, lambda a, b: a >= b, lambda a, b: a > b, lambda a, b: a == b,
    lambda a, b: a != b, lambda a, b: a in b,
]  # fmt: skip


class Forest:
    """Random trees, as the operator's attributes and as a function."""

    def __init__(self, seed: int, modes: list[int], targets: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.modes, self.targets = modes, targets
        self.nodes: list[dict[str, Any]] = []
        self.leaves: list[tuple[int, float]] = []
        self.roots = [self._inner(0) for _ in range(3)]

    def _inner(self, depth: int) -> int:
        number = len(self.nodes)
        self.nodes.append({})
        mode = int(self.rng.choice(self.modes))
        split = [float(v) for v in self.rng.choice(9, 3, replace=False)] if mode == 6 else float(self.rng.integers(9))
        branches = [self._branch(depth + 1) for _ in range(2)]
        self.nodes[number] = {
            "feature": int(self.rng.integers(4)), "mode": mode, "split": split, "branches": branches,
            "nan": bool(self.rng.integers(2)),
        }  # fmt: skip
        return number

    def _branch(self, depth: int) -> tuple[bool, int]:
        if depth > 4 or self.rng.random() < 0.2 * depth:
            self.leaves.append((int(self.rng.integers(self.targets)), float(self.rng.normal())))
            return True, len(self.leaves) - 1
        return False, self._inner(depth)

    def attributes(self) -> dict[str, Any]:
        members = [m for n in self.nodes if n["mode"] == 6 for m in (*n["split"], np.nan)]
        splits = [0.0 if n["mode"] == 6 else n["split"] for n in self.nodes]
        sides = {
            f"nodes_{side}{what}s": [int(n["branches"][i][1 - j]) for n in self.nodes]
            for i, side in enumerate(("true", "false"))
            for j, what in enumerate(("nodeid", "leaf"))
        }
        arrays = {
            "nodes_splits": np.array(splits, np.float32), "leaf_weights": np.array([w for _, w in self.leaves], np.float32),
            "nodes_modes": np.array([n["mode"] for n in self.nodes], np.uint8),
        }  # fmt: skip
        arrays |= {"membership_values": np.array(members, np.float32)} if members else {}
        return {
            "n_targets": self.targets, "tree_roots": self.roots, "leaf_targetids": [t for t, _ in self.leaves],
            "nodes_featureids": [n["feature"] for n in self.nodes],
            "nodes_missing_value_tracks_true": [int(n["nan"]) for n in self.nodes],
        } | sides | {k: numpy_helper.from_array(a, k) for k, a in arrays.items()}  # fmt: skip

    def leaf(self, x: Array, node: int) -> tuple[int, float]:
        n = self.nodes[node]
        value = float(x[n["feature"]])
        yes = TESTS[n["mode"]](value, n["split"]) or (n["nan"] and np.isnan(value))
        is_leaf, number = n["branches"][0 if yes else 1]
        return self.leaves[number] if is_leaf else self.leaf(x, number)

    def predict(self, x: Array, how: int) -> Array:
        found = np.zeros((len(x), self.targets), np.float32)
        for row, out in zip(x, found, strict=True):
            hits = [self.leaf(row, r) for r in self.roots]
            for t in range(self.targets):
                own = [w for target, w in hits if target == t]
                out[t] = [sum(own) / len(hits), sum(own), min(own, default=0.0), max(own, default=0.0)][how]
        return found


def loaded(tmp_path: Path, **attributes: Any) -> Any:
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets), tmp_path / "m.onnx")
    hr.compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm")
    return hr.load(tmp_path / "m.hrm")


@pytest.mark.parametrize("how", [0, 1, 2, 3])
@pytest.mark.parametrize("modes", [[0], [1, 3], [4, 5, 2], [6], list(range(7))])
def test_every_mode(tmp_path: Path, modes: list[int], how: int) -> None:
    forest = Forest(len(modes) + how, modes, targets=3)
    x = np.random.default_rng(1).integers(0, 9, (50, 4)).astype(np.float32)
    x[::7, 1] = np.nan
    model = loaded(tmp_path, aggregate_function=how, **forest.attributes())
    np.testing.assert_allclose(model.run({"x": x})["y"], forest.predict(x, how), rtol=1e-5, atol=1e-6)


def test_targets_without_leaves_take_no_memory(tmp_path: Path) -> None:
    forest = Forest(5, [0], targets=2)
    targets = 1 << 31
    model = loaded(tmp_path, **forest.attributes() | {"n_targets": targets})
    assert model.outputs[0].shape == ("n", targets)
    assert (tmp_path / "m.hrm").stat().st_size < 1 << 20


def test_softmax_and_logistic(tmp_path: Path) -> None:
    forest = Forest(3, [0], targets=3)
    x = np.random.default_rng(2).normal(4, 3, (20, 4)).astype(np.float32)
    plain = forest.predict(x, 1)
    powers = np.exp(plain)
    wanted = {1: powers / powers.sum(1, keepdims=True), 2: powers / (1 + powers)}
    for how, expected in wanted.items():
        found = loaded(tmp_path, post_transform=how, **forest.attributes()).run({"x": x})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"nodes_falsenodeids": [0], "nodes_falseleafs": [0]}, hr.errors.UnsupportedModelError, "leads back to a node"),
        ({"nodes_falsenodeids": [7]}, hr.errors.ModelError, "a branch leads to none of the 1 nodes and 2 leaves"),
        ({"post_transform": 4}, hr.errors.UnsupportedModelError, "post_transform is 4, expected 0"),
        ({"leaf_targetids": [0, 5]}, hr.errors.ModelError, "2 weights for 2 leaves of 1 targets"),
        ({"nodes_featureids": [0, 1]}, hr.errors.ModelError, r"nodes_\* have .* elements, expected as many each"),
    ],
)
def test_what_is_refused(tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str) -> None:
    stump: dict[str, Any] = {
        "tree_roots": [0], "leaf_targetids": [0, 0], "nodes_featureids": [1], "nodes_truenodeids": [0],
        "nodes_trueleafs": [1], "nodes_falsenodeids": [1], "nodes_falseleafs": [1],
        "nodes_splits": numpy_helper.from_array(np.array([1.0], np.float32)),
        "nodes_modes": numpy_helper.from_array(np.array([0], np.uint8)),
        "leaf_weights": numpy_helper.from_array(np.array([1.0, 2.0], np.float32)),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        loaded(tmp_path, **stump | changed)
