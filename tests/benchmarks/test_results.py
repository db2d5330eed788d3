"""Tables from what `headrace bench --json` prints."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def _engine(name: str, median: float) -> dict[str, Any]:
    return {"engine": name, "version": "1", "median": median, "low": median, "high": median * 1.1, "best": median}


def _found(name: str, threads: int, *engines: dict[str, Any]) -> dict[str, Any]:
    return {
        "artefact": name,
        "target": "x86-64-v3",
        "threads": threads,
        "date": "2026-01-02",
        "machine": "Some CPU",
        "engines": [*engines],
        "error": 1e-6 if len(engines) > 1 else None,
        "load": _engine("", 2e-3),
        "memory": {"planned": 3_000_000, "measured": 3_000_000},
        "second_run_allocations": 0,
    }


def test_a_row_for_each_file(tmp_path: Path) -> None:
    both = _found("b.hrm", 2, _engine("headrace", 5e-3), _engine("onnxruntime", 10e-3))
    alone = _found("a.hrm", 1, _engine("headrace", 1.2345e-3))
    for number, found in enumerate((both, alone)):
        (tmp_path / f"{number}.json").write_text(json.dumps(found))
    command = [sys.executable, "-m", "benchmarks.results", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "2026-01-02, Some CPU, code for x86-64-v3; headrace 1, onnxruntime 1.",
        "2026-01-02, Some CPU, code for x86-64-v3; headrace 1.",
        "",
        "| model | threads | headrace ms | spread | onnxruntime ms | spread | ratio | error | load ms | memory MB | allocations in a second run |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a | 1 | 1.23 | 10.0% |  |  |  |  | 2.00 | 3.0 | 0 |",
        "| b | 2 | 5 | 10.0% | 10 | 10.0% | 0.50 | 1e-06 | 2.00 | 3.0 | 0 |",
    ]


def test_a_missing_mark_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(_found("a.hrm", 1, _engine("headrace", 1e-3))))
    command = [sys.executable, "-m", "benchmarks.results", str(tmp_path / "a.json"), "--write", "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("results.md: has no marks for 'nothing'")
