"""A driver may end the process that it runs in.  In: what gives answers one by one.  Out: the answers, or how it died.

The process is a fork; all that touches a driver has to happen in it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from headrace.ir.errors import HeadraceError

Tell = Callable[[str], None]


def nobody(at: str) -> None:
    """Is told, and does nothing about it."""


def watched(work: Callable[[Tell], Iterator[Any]]) -> Iterator[Any]:
    """What `work` yields in a process of its own, as it comes; it tells what it is about to look at.

    Raises what it raises, and HeadraceError, with what it told last, if the process ends before.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    at = ""
    try:
        with open(reading, "rb") as answers, suppress(EOFError):
            while True:
                kind, content = pickle.load(answers)
                if kind == "at":
                    at = content
                elif kind == "answer":
                    yield content
                elif kind == "raised":
                    raise content
                else:
                    return
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    raise HeadraceError(f"the driver has ended the process ({how}) at: {at}")


def _child(work: Callable[[Tell], Iterator[Any]], writing: int) -> None:
    faulthandler.disable()  # a process that dies is an answer here
    with open(writing, "wb") as answers:

        def send(kind: str, content: Any = None) -> None:
            answers.write(pickle.dumps((kind, content)))
            answers.flush()

        try:
            for answer in work(lambda at: send("at", at)):
                send("answer", answer)
            send("end")
        except KeyboardInterrupt:
            pass  # the parent has been interrupted, too
        except Exception as problem:
            send("raised", problem)
    os._exit(0)
