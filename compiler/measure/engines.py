"""What is measured: this runtime, and onnxruntime where the user asks for it.

In: a model, its inputs, how many threads.  Out: an `Engine`: a call that runs the model into memory that stays, and
what it computed.  Inputs and outputs are bound once, so that a call costs what inference costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.compiler.version import VERSION
from headrace.ir.errors import OptionError
from headrace.runtime.python import Session

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """`run` overwrites what `outputs` gives."""

    name: str
    version: str
    run: Callable[[], object]
    outputs: Callable[[], Mapping[str, Array]]


def headrace(session: Session, inputs: Mapping[str, Array]) -> Engine:
    """Raises HeadraceRuntimeError where the model does not take the inputs."""
    results = dict(session.run(inputs))
    return Engine("headrace", VERSION, lambda: session.run(inputs, outputs=results), lambda: results)


def onnxruntime(model: Path, inputs: Mapping[str, Array], threads: int) -> Engine:
    """The CPU provider with all optimisations.  Raises OptionError where it is missing or refuses the model."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime as ort
    except ImportError:
        raise OptionError("--against onnxruntime: it is not installed; pip install onnxruntime") from None
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_outputs()]
        first = session.run(names, dict(inputs))
    except Exception as error:  # its exceptions have no common base but this
        raise OptionError(f"--against onnxruntime: {model}: {error}") from None
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    kept = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in zip(names, first, strict=True)}
    for name, value in kept.items():
        binding.bind_ortvalue_output(name, value)
    return Engine(
        "onnxruntime",
        ort.__version__,
        lambda: session.run_with_iobinding(binding),
        lambda: {name: value.numpy() for name, value in kept.items()},
    )


PEERS: dict[str, Callable[[Path, Mapping[str, Array], int], Engine]] = {"onnxruntime": onnxruntime}


def largest_error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest difference relative to the largest magnitude of its output; infinite where shapes differ."""
    worst = 0.0
    for name, want in expected.items():
        got = found.get(name)
        if got is None or got.shape != want.shape:
            return float("inf")
        a, b = got.astype(np.float64), want.astype(np.float64)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return float("inf")
        finite = np.isfinite(b)
        scale = float(np.abs(b[finite]).max(initial=1e-30))
        worst = max(worst, float(np.abs(a[finite] - b[finite]).max(initial=0.0)) / scale)
    return worst
