"""Symbols at 0, at 1 and far above the tiles of any device, on PoCL: what this machine's CPU gives, by the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from operator_models import MODELS, inputs_of

from headrace.compiler.driver import compile
from headrace.runtime.python import HeadraceRuntimeError, Session, load
from headrace.targets import find_target

pytestmark = pytest.mark.usefixtures("opencl")

DEVICE = "opencl:Portable Computing Language"
LARGE = {"m": 257, "b": 2, "k": 131, "n": 67, "h": 37, "w": 41, "l": 211, "steps": 31}


def outcome(session: Session, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | str:
    """Results, or why there are none: a window may be larger than what it goes over."""
    try:
        return session.run(inputs)
    except HeadraceRuntimeError as error:
        return str(error)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a cpu"])
@pytest.mark.parametrize("name", MODELS)
def test_sizes_far_apart(name: str, beside: bool, tmp_path: Path) -> None:
    cpu, _ = find_target("host")
    target = f"opencl+{cpu}" if beside else "opencl"
    model = MODELS[name]()
    (tmp_path / "m.onnx").write_bytes(model.model())
    compile(tmp_path / "m.onnx", output=tmp_path / "m.hrm", target=[target, cpu])
    sessions = [load(tmp_path / "m.hrm", device=device) for device in (DEVICE, "cpu")]
    symbols = {s for dims in model.inputs.values() for s in dims if isinstance(s, str)}
    empty = [LARGE | {s: 0} for s in sorted(symbols)]
    ran = 0
    for sizes in [dict.fromkeys(LARGE, 1), *empty, dict.fromkeys(LARGE, 0), LARGE]:
        inputs = inputs_of(model, sizes)
        found, expected = (outcome(s, inputs) for s in sessions)
        if isinstance(expected, str) or isinstance(found, str):
            assert isinstance(expected, str) and isinstance(found, str), (sizes, found, expected)
            continue
        ran += 1
        for output, y in expected.items():
            np.testing.assert_allclose(found[output], y, rtol=1e-4, atol=1e-4, err_msg=f"{output} {sizes}")
    assert ran > 1
