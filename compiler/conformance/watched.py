"""A driver may end the process that it runs in.  In: what gives answers one by one.  Out: the answers, or how it died.

The process is a fork; all that touches a driver has to happen in it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import tempfile
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
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        yield from _watched(work, folder)


def _watched(work: Callable[[Tell], Iterator[Any]], folder: str) -> Iterator[Any]:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        tempfile.tempdir = folder  # so that nothing is left behind, however it ends
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
                    break
    except BaseException:  # nobody wants the rest
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise
    _, status = os.waitpid(process, 0)
    if status == 0:
        return
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
    raise HeadraceError(f"the driver has ended the process ({how}) at: {at}")


def _child(work: Callable[[Tell], Iterator[Any]], writing: int) -> None:
    faulthandler.disable()  # a process that dies is an answer here
    status = 1
    with open(writing, "wb", closefd=False) as answers:

        def send(kind: str, content: Any = None) -> None:
            answers.write(pickle.dumps((kind, content)))
            answers.flush()

        try:
            for answer in work(lambda at: send("at", at)):
                send("answer", answer)
            send("end")
            status = 0
        except Exception as problem:
            send("raised", problem)
        finally:
            os._exit(status)  # what else may be under way is the parent's
