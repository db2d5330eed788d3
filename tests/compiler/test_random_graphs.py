"""Random graphs of all operations, compiled for each x86-64 target in turn that the machine runs, against the interpreter.

`python -m random_graphs --seeds 0:10000` in tests/support runs as many as one likes, and names the seeds that fail.
"""

from __future__ import annotations

import platform

import pytest
from random_graphs.against_onnxruntime import check_onnx, onnx_graph
from random_graphs.differential import check, target_of

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the graphs are compiled for x86-64")


@pytest.mark.parametrize("first", range(0, 80, 20))
def test_graphs_compute_what_they_mean(first: int) -> None:
    for seed in range(first, first + 20):
        wrong = check(seed)
        assert wrong is None, f"seed {seed}: {wrong}"


def test_onnx_models_give_what_onnxruntime_gives() -> None:
    """Twenty of them; `--onnx` runs as many as one likes."""
    for seed in range(20):
        wrong = check_onnx(onnx_graph(seed), target_of(seed))
        assert wrong is None, f"seed {seed}: {wrong}"
