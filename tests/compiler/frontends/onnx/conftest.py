"""How these tests get from a model to a module, and run that in the graph interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from headrace.compiler.frontends.onnx import import_model
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.verify import verify

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Module, Mapping[str, Array]], list[Array]]


def _evaluate(module: Module, inputs: Mapping[str, Array]) -> list[Array]:
    function = module.function("main")
    assert isinstance(function, GraphFunc)
    return run_graph(function, [inputs[name] for name in function.input_names])


@pytest.fixture
def evaluate() -> Evaluate:
    return _evaluate


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Module]:
    """`imported(model)`: the module of a model, by way of a file `model.onnx`; verified."""

    def run(model: onnx.ModelProto | bytes, shapes: Mapping[str, Sequence[int | str | None]] | None = None) -> Module:
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        module = import_model(path, shapes)
        verify(module)
        return module

    return run
