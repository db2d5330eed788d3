"""Counts, and compares with the committed figures.  Exit code 1 where a count rose too far, 77 where none can be taken.

python -m benchmarks.instructions                     every preset that can be counted here
python -m benchmarks.instructions --preset aarch64    one; also --model NAME
python -m benchmarks.instructions --write             the figures become what is counted now
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.instructions.count import PRESETS, NotHere, counter, instructions
from benchmarks.instructions.models import MODELS

FIGURES = Path(__file__).with_name("figures.json")
MOST = 1.03  # times the committed figure
REFRESH = "if that is meant, refresh the figures: python -m benchmarks.instructions --write"
SKIPPED = 77

Figures = dict[str, dict[str, int]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions")
    parser.add_argument("--preset", choices=PRESETS, action="append")
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    figures: Figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    counted = risen = 0
    for preset in options.preset or PRESETS:
        for name, found in _counted(preset, options.model or list(MODELS)):
            counted += 1
            risen += _show(preset, name, found, figures.get(preset, {}).get(name))
            figures.setdefault(preset, {})[name] = found
    if options.write:
        FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        return 0
    if risen:
        print(f"{risen} of {counted} take over {MOST - 1:.0%} more instructions than committed; {REFRESH}")
    return 1 if risen else 0 if counted else SKIPPED


def _counted(preset: str, names: list[str]) -> Iterator[tuple[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            count = counter(preset, Path(folder))
        except NotHere as reason:
            print(f"{preset}: not counted: {reason}")
            return
        for name in names:
            yield name, instructions(MODELS[name](), preset, count, Path(folder))


def _show(preset: str, name: str, found: int, committed: int | None) -> bool:
    """Prints a line; whether the count is too high, or was never committed."""
    change = "new" if committed is None else f"{found / committed - 1:+.2%}"
    risen = committed is None or found > MOST * committed
    print(f"{preset:10} {name:18} {found:12,} {change:>8}{'  <-' if risen else ''}", flush=True)
    return risen


if __name__ == "__main__":
    sys.exit(main())
