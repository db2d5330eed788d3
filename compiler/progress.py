"""Progress on stderr: only after a second, only where stderr is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

    console = Console(stderr=True)
    started = time.monotonic()
    with console.status(title) as status:
        status.stop()

        def observe(step: Step, module: Module) -> None:
            if time.monotonic() - started > PATIENCE:
                status.start()
                status.update(f"{title}: {step.name}")

        yield observe
