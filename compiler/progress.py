"""Progress on stderr: only after a second, only where stderr is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.ir.module import Module
    from headrace.ir.pipeline import Step

PATIENCE = 1.0  # seconds before anything is shown


@contextmanager
def progress(title: str) -> Iterator[Callable[[Step, Module], None] | None]:
    """Gives what to call after each pass; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    status = Console(stderr=True).status(title)
    timer = threading.Timer(PATIENCE, status.start)  # one pass, or the import before the first, may take longer
    timer.daemon = True

    def observe(step: Step, module: Module) -> None:
        status.update(f"{title}: {step.name} done")

    timer.start()
    try:
        yield observe
    finally:
        timer.cancel()
        timer.join()  # it may be starting the status at this moment
        status.stop()
