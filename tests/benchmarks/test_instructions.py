"""Kernels take no more instructions than the committed figures say: a guard of speed that no other load disturbs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = 77  # nothing could be counted on this machine


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "tools"),
    [
        ("x86-64-v2", ["valgrind"]),
        ("x86-64-v3", ["valgrind"]),
        ("aarch64", ["qemu-aarch64", "gcc", "aarch64-linux-gnu-gcc"]),
    ],
)
def test_no_kernel_takes_more(preset: str, tools: list[str], require_tool: Callable[[str], str]) -> None:
    for tool in tools:
        require_tool(tool)
    command = [sys.executable, "-m", "benchmarks.instructions", "--preset", preset]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
