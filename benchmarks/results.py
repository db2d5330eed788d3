"""Tables of benchmarks/results.md.  In: what `headrace bench --json` printed, a file each.  Out: Markdown.

python -m benchmarks.results DIR/*.json               prints the tables
python -m benchmarks.results DIR/*.json --write NAME  puts them into results.md, between its marks for NAME
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.md")

Found = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--write", metavar="NAME")
    options = parser.parse_args()
    found = [json.loads(path.read_text()) for path in options.files]
    text = "\n".join(_tables(found)) + "\n"
    if not options.write:
        print(text, end="")
        return 0
    return _write(options.write, text)


def _write(name: str, text: str) -> int:
    page = RESULTS.read_text()
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    place = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    changed, count = place.subn(lambda _: text, page)
    if count != 1:
        print(f"{RESULTS.name}: has no marks for {name!r}: {begin.strip()} and {end.strip()}", file=sys.stderr)
        return 2
    RESULTS.write_text(changed)
    return 0


def _tables(found: Sequence[Found]) -> Iterator[str]:
    """One table for all; where and when it was measured goes above it, once for each machine and set of versions."""
    for where in dict.fromkeys(_where(f) for f in found):
        yield f"{where}."
    yield ""
    peers = list(dict.fromkeys(e["engine"] for f in found for e in f["engines"][1:]))
    head = ["model", "threads", "headrace ms", "spread"]
    head += [word for peer in peers for word in (f"{peer} ms", "spread", "ratio")]
    yield _row([*head, "error", "load ms", "memory MB", "allocations in a second run"])
    yield _row(["---", *["---:"] * (len(head) + 3)])
    for f in sorted(found, key=lambda f: (f["artefact"], f["threads"])):
        yield _row(_cells(f, peers))


def _where(f: Found) -> str:
    versions = ", ".join(f"{e['engine']} {e['version']}" for e in f["engines"])
    return f"{f['date']}, {f['machine']}, code for {f['target']}; {versions}"


def _cells(f: Found, peers: Sequence[str]) -> list[str]:
    by_name = {e["engine"]: e for e in f["engines"]}
    own = by_name["headrace"]
    cells = [f["artefact"].removesuffix(".hrm"), str(f["threads"]), *_time(own)]
    for peer in peers:
        other = by_name.get(peer)
        ratio = "" if other is None else f"{own['median'] / other['median']:.2f}"
        cells += [*(_time(other) if other else ("", "")), ratio]
    error = "" if f["error"] is None else f"{f['error']:.0e}"
    memory = f"{f['memory']['measured'] / 1e6:.1f}"
    if f["memory"]["planned"] not in (None, f["memory"]["measured"]):
        memory += f" (planned {f['memory']['planned'] / 1e6:.1f})"
    return [*cells, error, f"{f['load']['median'] * 1e3:.2f}", memory, str(f["second_run_allocations"])]


def _time(e: Found) -> tuple[str, str]:
    return f"{e['median'] * 1e3:.3g}", f"{(e['high'] - e['low']) / e['median']:.1%}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
