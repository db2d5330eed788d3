"""`python -m benchmarks.compile` measures a compilation; how long it takes is nothing that a test could ask."""

import subprocess
import sys
from pathlib import Path

from headrace.compiler.demo_data import model_path

ROOT = Path(__file__).parents[2]


def test_a_row_for_each_model() -> None:
    command = [sys.executable, "-m", "benchmarks.compile", model_path()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    head, row = done.stdout.splitlines()
    assert head.split() == ["model", "seconds", "at", "most", "peak", "MB", "at", "most"]
    name, seconds, peak, limit = row.split()
    assert name == Path(model_path()).stem
    assert float(seconds) > 0
    assert 50 < float(peak) <= float(limit)
