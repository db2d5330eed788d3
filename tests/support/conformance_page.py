"""docs/conformance.md: on which element types each operation was run and found right, on each driver at hand.

    PYTHONPATH=tests/support python tests/support/conformance_page.py     runs all for a quarter of an hour, and writes it

It is what `headrace conform` prints for `cpu`, for the null driver and for `opencl`, in one table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from null_driver import build_null
from operators_page import listed

from headrace.compiler.conformance.operators import Cell, Place, check_operators
from headrace.ir.types import DTYPES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
DRIVERS = ("cpu", "null", "opencl")
Cells = Mapping[str, Sequence[Cell]]  # by driver


def run(driver: str, names: Sequence[str] = ()) -> list[Cell]:
    """All operations, or those of these names, on one of `DRIVERS`."""
    if driver != "null":
        return list(check_operators(Place("host" if driver == "cpu" else driver, driver), names))
    with tempfile.TemporaryDirectory() as folder:
        return list(check_operators(Place("host", driver, [build_null(Path(folder))]), names))


def page(cells: Cells) -> str:
    """The whole text."""
    return "".join(_lines(cells))


def claims(text: str) -> dict[tuple[str, str], set[str]]:
    """What a page says: by operation and driver, the element types that are right."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in text.splitlines():
        if line.startswith("| graph."):
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            for driver, words in zip(DRIVERS, cells, strict=True):
                found[name, driver] = {
                    d.name for w in words.split(", ") for d in DTYPES.values() if w in (d.name, d.kind)
                }
    return found


def right(cells: Sequence[Cell], name: str) -> set[str]:
    """The element types on which an operation was right."""
    return {c.dtype for c in cells if c.operation == name and c.outcome == "ok"}


def _lines(cells: Cells) -> Iterator[str]:
    yield f"""# Operations by driver

Every operation of the graph dialect that draws instances of itself, on every element type of its first operand (of the
result, where there is none) that its declaration takes: compiled, run and compared with the interpreter. Sizes are
primes, so that no tile divides them. `float` is f16, bf16, f32 and f64, `int` and `uint` are 8 to 64 bits wide.

{", ".join(_summary(driver, cells[driver]) for driver in DRIVERS)}. What is not right is refused with its reason.

`null` is the driver of `examples/driver`, which has memory of its own and runs the CPU's code on it. `headrace conform`
prints the same for one driver, with the reasons; this page is written by `tests/support/conformance_page.py`, and a
test runs some of it again.

| operation | {" | ".join(DRIVERS)} |
| --- | {" | ".join("---" for _ in DRIVERS)} |
"""
    for name in dict.fromkeys(c.operation for c in cells[DRIVERS[0]]):
        yield f"| {name} | {' | '.join(listed(right(cells[driver], name)) or '-' for driver in DRIVERS)} |\n"


def _summary(driver: str, cells: Sequence[Cell]) -> str:
    wrong = sum(c.outcome == "wrong" for c in cells)
    assert not wrong, f"{driver}: {wrong} results are wrong; `headrace conform {driver}` shows them"
    return f"`{driver}`: {sum(c.outcome == 'ok' for c in cells)} of {len(cells)} right"


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        PAGE.write_text(page(dict(zip(DRIVERS, pool.map(run, DRIVERS), strict=True))))
