"""The driver of examples/driver, built as its first lines say.  In: a folder.  Out: a shared library to load."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
NULL = ROOT / "examples/driver/null.c"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fvisibility=hidden")


def build_null(folder: Path, *flags: str) -> Path:
    """`flags`: such as -DNULL_ABI=7u, for a driver that is made for something else."""
    library = folder / "libnull.so"
    include = f"-I{ROOT / 'runtime/include'}"
    command = ["gcc", *FLAGS, "-shared", "-fPIC", include, *flags, NULL, "-o", library]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library
