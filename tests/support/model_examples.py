"""Models for whole compilations: the demo's, and real ones where HEADRACE_MODELS names their folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from headrace.compiler.demo_data import held_back, model_path, preprocess

Array = np.ndarray[Any, Any]
REAL = ("mnist", "dnsmos_model_v8")
LARGER = ("magika_standard_v3_3", "minilm_l6_int8w")


@dataclass(frozen=True)
class Example:
    """A model, and inputs for it; `batch` is how many samples, where the model leaves that open."""

    name: str
    path: Path
    inputs: Callable[[int], dict[str, Array]]
    batches: tuple[int, ...]

    def expected(self, inputs: dict[str, Array]) -> list[Array]:
        """What ONNX Runtime gives with its optimisations off."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        return [np.asarray(y) for y in session.run(None, inputs)]


def assert_close(found: Array, expected: Array) -> None:
    """Equal shapes, and no element off by more than 1e-4 of the largest magnitude."""
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= 1e-4 * float(np.abs(expected).max())


def _digits() -> Example:
    images, _ = held_back()
    return Example("digits", model_path(), lambda n: {"image": preprocess(images[:n])}, (1, 3, 7))


def _real(name: str) -> Example:
    folder = os.environ.get("HEADRACE_MODELS")
    if folder is None:
        pytest.skip("HEADRACE_MODELS names no folder with real models")
    path = Path(folder) / f"{name}.onnx"
    rng = np.random.default_rng(0)
    if name == "mnist":
        return Example(name, path, lambda n: {"image": rng.random((1, 1, 28, 28), np.float32)}, (1,))
    if name == "magika_standard_v3_3":
        return Example(name, path, lambda n: {"bytes": rng.integers(0, 257, (n, 2048), np.int32)}, (1, 3))
    if name == "minilm_l6_int8w":
        return Example(name, path, lambda n: _sentences(rng, n, 10 + n), (1, 3))
    return Example(name, path, lambda n: {"input_1": rng.random((n, 900, 120), np.float32)}, (1, 3))


def _sentences(rng: np.random.Generator, count: int, length: int) -> dict[str, Array]:
    """Words, of which the last two are padding."""
    words = rng.integers(1000, 20000, (count, length))
    return {"input_ids": words, "attention_mask": np.where(np.arange(length) < length - 2, 1, 0 * words)}


def example_named(name: str) -> Example:
    """`digits`, or one of REAL and LARGER; skips the test where that is not to be had."""
    return _digits() if name == "digits" else _real(name)
