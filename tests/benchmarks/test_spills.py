"""Hot loops of contractions and windows hold what they need in registers."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_hot_loops_hold_no_spills(preset: str) -> None:
    command = [sys.executable, "-m", "benchmarks.kernels.spills", "--preset", preset]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
