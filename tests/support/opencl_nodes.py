"""Which of ONNX's node tests stand for all of them on OpenCL, and what of them runs there.

    python conformance.py --adapter headrace.testing:run_onnx --select 'node/*' --json cpu.json
    python tests/support/opencl_nodes.py cpu.json > chosen.txt
    python conformance.py --adapter headrace.testing:run_onnx_opencl $(sed 's/^/--select /' chosen.txt) --json opencl.json
    python tests/support/opencl_nodes.py cpu.json --where

In: what a run on the CPU gave.  Out: the names of the tests with the lowest SHA-256 of their name, among those that
passed; with `--where` a line for each: how many kernels its model has for the device, or why it has none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onnx.backend.test.loader import load_model_tests

from headrace.compiler.driver import compile, read_model
from headrace.compiler.placement import divide, machines
from headrace.testing import tensors_of

TARGET = "opencl"


def chosen(statuses: dict[str, Any], count: int) -> list[str]:
    """`node/test_...` of those that passed, the lowest SHA-256 of `test_...` first."""
    passed = [name for name, result in statuses.items() if result["status"] == "passed"]
    return sorted(passed, key=lambda name: hashlib.sha256(name.removeprefix("node/").encode()).hexdigest())[:count]


def where(names: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """(name, kernels for the device, what there is in place of them) of each test's model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases: dict[str, Any] = {f"node/{case.name}": case for case in load_model_tests(kind="node")}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for name in names:
            case = cases[name]
            path.write_bytes(case.model.SerializeToString())
            inputs = dict(zip((i.name for i in case.model.graph.input), case.data_sets[0][0], strict=False))
            _, shapes = tensors_of(str(path), inputs, shapes="static")
            kernels = compile(path, output=Path(folder) / "m.hrm", target=TARGET, shapes=shapes).kernels
            yield name, kernels, "" if kernels else _reason(path, shapes)


def _reason(path: Path, shapes: Any) -> str:
    """Why a model needs no kernel."""
    (machine,) = machines(TARGET)
    _, placements = divide(read_model(path, shapes), machine, None)
    left = sorted({p.operation for p in placements if p.operation})
    if not left:
        return "its results are inputs, or known while compiling"
    return f"the host moves or counts only: {', '.join(left)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="what conformance.py wrote with --json, of a run on the CPU")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--where", action="store_true", help="compile each, and say what runs on the device")
    options = parser.parse_args()
    names = chosen(json.loads(options.results.read_text())["results"]["static"], options.count)
    if not options.where:
        print("\n".join(names))
        return
    found = list(where(names))
    for name, kernels, reason in found:
        print(f"{name}: {f'{kernels} kernels' if kernels else reason}")
    print(f"{sum(1 for _, kernels, _ in found if kernels)} of {len(found)} on {TARGET}")


if __name__ == "__main__":
    main()
