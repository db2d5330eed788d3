"""Compiles damaged ONNX models by the command line.

    python tests/fuzz/fuzz_models.py --count 20000 [--seed 1]

Number i of a seed is always the same model; `damaged_models` makes it.  Each ends in a compiled artefact or a message,
within 10 seconds and 2 GB; exit status 1 where one does not.  The models to begin with are ONNX's own tests of
operators and those of `odd_models` and `fuzz_artefacts`; `--first N --count 1 --keep FILE.onnx` writes one down.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import fuzz_artefacts
import odd_models
from damaged_models import damaged

from headrace.compiler.cli import main as headrace

SECONDS = 10  # of this process, however busy the machine is; code generators have a clock of their own
MEGABYTES = 2048


@dataclass(frozen=True)
class Finding:
    number: int
    what: str


class TooLate(BaseException):
    """No Exception, let alone an OSError as TimeoutError is: these have handlers on the way."""


@dataclass
class Outcome:
    """What some models came to; `slowest` is seconds and a number, `megabytes` the most any process has held."""

    findings: list[Finding] = field(default_factory=list)
    compiled: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    megabytes: int = 0

    def add(self, other: Outcome) -> None:
        self.findings += other.findings
        self.compiled += other.compiled
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.megabytes = max(self.megabytes, other.megabytes)


def try_numbers(originals: Sequence[bytes], seed: int, numbers: range, folder: Path) -> Outcome:
    """Compiles these models.  Runs in a process of its own, which a memory limit may end."""
    path, outcome = folder / f"{os.getpid()}.onnx", Outcome()
    odd_models.write_beside(folder)
    for number in numbers:
        path.write_bytes(damaged(originals, seed, number))
        started = time.process_time()
        what, done = _compile(path)
        took = time.process_time() - started
        found = [] if what is None else [Finding(number, what)]
        outcome.add(Outcome(found, int(done), took, (took, number), _most_megabytes()))
        if outcome.megabytes > MEGABYTES:
            outcome.findings.append(Finding(number, f"{outcome.megabytes} MB"))
            break
    return outcome


def _most_megabytes() -> int:
    """The most that this process or one of its workers has held."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    most = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]
    for child in children:
        lines = Path(f"/proc/{child}/status").read_text().splitlines()
        most += [int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")]
    return max(most)


def _compile(path: Path) -> tuple[str | None, bool]:
    """What is wrong with how this ends, and whether it ends in an artefact."""

    def late(*_: object) -> None:
        raise TooLate(f"{SECONDS} seconds")

    said = io.StringIO()
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = headrace(["compile", str(path), "-o", str(path.with_suffix(".hrm")), "--target", "x86-64-v3"])
    except BaseException:
        return traceback.format_exc(limit=-6), False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    lines = said.getvalue().splitlines()
    if code == 0:
        return None, True
    listed = len(lines) > 1 and all(line.startswith(("  ", "headrace: ")) for line in lines)
    return (None if code == 2 and (len(lines) == 1 or listed) else f"exit {code}: {said.getvalue()}"), False


def small_models() -> tuple[bytes, ...]:
    """Those of `fuzz_artefacts` and `odd_models`."""
    models = (*fuzz_artefacts.models().values(), *odd_models.models().values())
    return tuple(m.SerializeToString() for m in models)


def operator_models() -> tuple[bytes, ...]:
    """ONNX's own tests of single operators."""
    from onnx.backend.test.case.node import collect_testcases

    cases = collect_testcases("")
    return tuple(data for c in cases if c.model is not None and len(data := c.model.SerializeToString()) < 100_000)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", default=20_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--first", default=0, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Where to write the first model.")
@click.option("--jobs", default=2, show_default=True)
def main(count: int, seed: int, first: int, keep: Path | None, jobs: int) -> None:
    """Damage models, and see that each compiles or is refused in good order."""
    originals = (*small_models() * 20, *operator_models())  # few beside many
    if keep:
        keep.write_bytes(damaged(originals, seed, first))
    ranges = [range(n, min(n + 100, first + count)) for n in range(first, first + count, 100)]
    total = Outcome()
    with TemporaryDirectory() as name, ProcessPoolExecutor(jobs, get_context("fork")) as pool:
        tried = [pool.submit(try_numbers, originals, seed, numbers, Path(name)) for numbers in ranges]
        for task in tried:
            outcome = task.result()
            total.add(outcome)
            for finding in outcome.findings:
                click.echo(f"{finding.number}: {finding.what}")
    slowest, number = total.slowest
    click.echo(
        f"{count} models of seed {seed}: {total.compiled} compiled, {len(total.findings)} findings; "
        f"{total.seconds / count:.3f} s each, at most {slowest:.1f} s (number {number}) and {total.megabytes} MB"
    )
    sys.exit(bool(total.findings))


if __name__ == "__main__":
    main()
