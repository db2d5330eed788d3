"""Many seeds, in processes that may die.  Prints each failure and, at the end, how many there were."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from headrace.errors import HeadraceError
from headrace.ir.text import print_op
from random_graphs.differential import check, target_of
from random_graphs.graphs import random_graph
from random_graphs.growing import operations_of


def main() -> int:
    arguments = _arguments()
    if arguments.print is not None:
        print(print_op(random_graph(arguments.print).module), end="")
        return 0
    first, _, last = arguments.seeds.partition(":")
    seeds = range(int(first), int(last) if last else int(first) + 1)
    started = time.perf_counter()
    failures = done = 0
    kinds: Counter[str] = Counter()
    for seed, wrong, names in _checked(seeds, arguments.jobs, started + arguments.seconds):
        done += 1
        kinds.update(names)
        if wrong is not None:
            failures += 1
            print(f"seed {seed}: {wrong}", flush=True)
    seconds = time.perf_counter() - started
    print(
        f"seeds {seeds.start} to {seeds.start + done - 1}: {done} graphs, {kinds.total()} operations of {len(kinds)} kinds, "
        f"{failures} failures, {seconds:.0f} s"
    )
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m random_graphs", description=__doc__)
    parser.add_argument("--seeds", default="0:100", metavar="FIRST:END")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further graph after that")
    parser.add_argument("--print", type=int, metavar="SEED", help="print one graph, and that is all")
    return parser.parse_args()


def _checked(seeds: range, jobs: int, until: float) -> Iterator[tuple[int, str | None, list[str]]]:
    """Results in order of seeds; a process that dies is a failure of its seed."""
    todo = list(seeds)
    while todo:
        with ProcessPoolExecutor(jobs) as pool:
            while todo:
                if time.perf_counter() > until:
                    return
                batch, todo = todo[:jobs], todo[jobs:]
                futures = [pool.submit(_one, seed) for seed in batch]
                try:
                    found = [future.result() for future in futures]
                except BrokenProcessPool:
                    break
                yield from ((seed, *result) for seed, result in zip(batch, found, strict=True))
            else:
                return
        yield from ((seed, *_alone(seed)) for seed in batch)


def _alone(seed: int) -> tuple[str | None, list[str]]:
    with ProcessPoolExecutor(1) as pool:
        try:
            return pool.submit(_one, seed).result()
        except BrokenProcessPool:
            return f"{target_of(seed)}: the process dies", []


def _one(seed: int) -> tuple[str | None, list[str]]:
    try:
        random_graph(seed)
    except HeadraceError as error:
        return f"no graph: {error}", []
    names = [o.name for o in operations_of(random_graph(seed).main.block)]
    return check(seed), names


if __name__ == "__main__":
    sys.exit(main())
