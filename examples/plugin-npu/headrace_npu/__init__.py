"""A made-up NPU: a scratchpad, a unit that multiplies matrices and one for vectors.  `DRIVER` is its simulator."""

from pathlib import Path

DRIVER = Path(__file__).parent / "libnpu.so"
