"""What compiling takes: seconds, and the memory of the compiler and its workers together.

In: ONNX models.  Out: for each the wall-clock time of `headrace compile` in a fresh process, nothing cached, and the
most that it and all its children had in memory at one time, beside what the project promises: 2.2 times the model file
and 500 MB.  Exit status 1 where a promise is not kept.

python -m benchmarks.compile MODEL.onnx ... [--shape INPUT=DIM,...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = {"resnet50": 12, "bert_base_128": 20}  # at most, with two cores
EVERY = 0.002  # seconds between two looks at the memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=DIM,...")
    options = parser.parse_args()
    kept = True
    print(f"{'model':20} {'seconds':>8} {'at most':>8} {'peak MB':>8} {'at most':>8}")
    for model in options.models:
        seconds, peak = _measure(model, [word for shape in options.shape for word in ("--shape", shape)])
        time_limit, limit = SECONDS.get(model.stem), 2.2 * model.stat().st_size + 500e6
        kept = kept and seconds <= (time_limit or seconds) and peak <= limit
        print(f"{model.stem:20} {seconds:8.2f} {time_limit or '':>8} {peak / 1e6:8.0f} {limit / 1e6:8.0f}")
    return 0 if kept else 1


def _measure(model: Path, shapes: list[str]) -> tuple[float, int]:
    """Seconds and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headrace", "compile", str(model), "-o", f"{folder}/m.hrm", *shapes]
        begin, peak = time.perf_counter(), 0
        environment = os.environ | {"XDG_CACHE_HOME": folder}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as process:
            while process.poll() is None:
                peak = max(peak, _resident(process.pid))
                time.sleep(EVERY)
        seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(process.returncode)
    return seconds, peak


def _resident(session: int) -> int:
    """Bytes in memory of all processes of a session; what two of them share counts twice."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _text(folder / "stat").rpartition(")")[2].split()
        if len(fields) > 3 and int(fields[3]) == session and (pages := _text(folder / "statm").split()):
            total += int(pages[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended
        return ""


if __name__ == "__main__":
    sys.exit(main())
