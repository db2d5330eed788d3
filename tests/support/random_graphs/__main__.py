"""Many seeds, in processes that may die.  Prints each failure and, at the end, how many there were."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from headrace.errors import HeadraceError
from headrace.ir.text import print_op
from random_graphs.differential import check, target_of
from random_graphs.graphs import RandomGraph, random_graph

NOT_COMPARED = "not compared"
Kind = tuple[Callable[[int], RandomGraph], Callable[[int, str], str | None]]


def main() -> int:
    arguments = _arguments()
    if arguments.print is not None:
        grow, _ = _kind(arguments.onnx)
        print(print_op(grow(arguments.print).module), end="")
        return 0
    first, _, last = arguments.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    started = time.perf_counter()
    failures = skipped = done = 0
    kinds: Counter[str] = Counter()
    for seed, wrong, names in _checked(seeds, arguments, started + arguments.seconds):
        done += 1
        kinds.update(names)
        if wrong is not None:
            print(f"seed {seed}: {wrong}", flush=True)
            skipped += wrong.startswith(NOT_COMPARED)
            failures += not wrong.startswith(NOT_COMPARED)
    seconds = time.perf_counter() - started
    print(
        f"seeds {seeds.start} to {seeds.start + done - 1}: {done - skipped} graphs, {kinds.total()} operations of {len(kinds)} kinds, "
        f"{failures} failures, {skipped} not compared, {seconds:.0f} s"
    )
    return 1 if failures else 0


def _kind(onnx: bool) -> Kind:
    """How a seed's graph grows, and what compares it.  ONNX Runtime is imported only where it is asked for."""
    if not onnx:
        return random_graph, check
    from random_graphs.against_onnxruntime import NotCompared, check_onnx, onnx_graph

    def compare(seed: int, target: str) -> str | None:
        try:
            return check_onnx(onnx_graph(seed), target)
        except NotCompared as reason:
            return f"{NOT_COMPARED}: onnxruntime: {reason}"

    return onnx_graph, compare


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m random_graphs", description=__doc__)
    parser.add_argument("--seeds", default="0:100", metavar="FIRST:END")
    parser.add_argument("--onnx", action="store_true", help="as ONNX models, against ONNX Runtime")
    parser.add_argument("--target", help="instead of each x86-64 target in turn; `opencl`, `opencl+x86-64-v3`")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further graph after that")
    parser.add_argument("--print", type=int, metavar="SEED", help="print one graph, and that is all")
    return parser.parse_args()


def _checked(seeds: range, arguments: argparse.Namespace, until: float) -> Iterator[tuple[int, str | None, list[str]]]:
    """Results in order of seeds; a process that dies is a failure of its seed."""
    todo, jobs = [(seed, arguments.target or target_of(seed), arguments.onnx) for seed in seeds], arguments.jobs
    while todo:
        with ProcessPoolExecutor(jobs) as pool:
            while todo:
                if time.perf_counter() > until:
                    return
                batch, todo = todo[:jobs], todo[jobs:]
                futures = [pool.submit(_one, *one) for one in batch]
                try:
                    found = [future.result() for future in futures]
                except BrokenProcessPool:
                    break
                yield from ((seed, *result) for (seed, _, _), result in zip(batch, found, strict=True))
            else:
                return
        yield from ((one[0], *_alone(*one)) for one in batch)


def _alone(seed: int, target: str, onnx: bool) -> tuple[str | None, list[str]]:
    with ProcessPoolExecutor(1) as pool:
        try:
            return pool.submit(_one, seed, target, onnx).result()
        except BrokenProcessPool:
            return f"{target}: the process dies", []


def _one(seed: int, target: str, onnx: bool) -> tuple[str | None, list[str]]:
    grow, compare = _kind(onnx)
    try:
        names = [o.name for o in grow(seed).operations]
    except HeadraceError as error:
        return f"no graph: {error}", []
    return compare(seed, target), names


if __name__ == "__main__":
    sys.exit(main())
