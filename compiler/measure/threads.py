"""The same work on several threads at once.  In: a function, how many threads.  Out: what each call returned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def on_threads(work: Callable[[], T], threads: int) -> list[T]:
    """All begin together: what is measured is what a thread gets while the others are busy too."""
    together = threading.Barrier(threads)

    def begin() -> T:
        together.wait()
        return work()

    with ThreadPoolExecutor(threads) as pool:
        return [f.result() for f in [pool.submit(begin) for _ in range(threads)]]
