"""The parent's side: starts workers, hands out jobs, turns deaths into errors.

In: jobs.  Out: objects in the order of the jobs, whatever worker made them.  Raises CodegenError naming job, CPU and
features, with what the worker said last; the dead worker is replaced at the next job.
"""

from __future__ import annotations

import atexit
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import IO, Any

from headrace.codegen.workers.job import IGNORED, Host, Job, receive, send
from headrace.ir.errors import CodegenError

TIMEOUT = 300.0  # seconds for one job


class Worker:
    """One child process."""

    def __init__(self) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._heard = 0  # where in it the last message's answer begins
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headrace.codegen.workers.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, header: dict[str, Any], payload: bytes, timeout: float) -> tuple[dict[str, Any], bytes] | None:
        """Sends one message and waits for the answer; None if the child died or took too long."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._heard = os.fstat(self._said.fileno()).st_size
        timer = threading.Timer(timeout, self._process.kill)
        timer.start()
        try:
            send(self._process.stdin, header, payload)  # type: ignore[arg-type]
            return receive(self._process.stdout)  # type: ignore[arg-type]
        except OSError:
            return None
        finally:
            timer.cancel()

    def last_words(self) -> str:
        """How it ended, and the line that it wrote to stderr about why."""
        code = self._process.wait()
        self._said.seek(self._heard)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        telling = next((line for line in lines if IGNORED in line), lines[-1] if lines else "")
        return f"{how}{': ' + telling if telling else ''}"

    def close(self) -> None:
        """Ends the process; it has nothing to save."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):  # it died with a message half sent
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._said.close()


class WorkerPool:
    """At most `size` workers (default: one for each CPU that this process may use), started when needed."""

    def __init__(self, size: int | None = None, timeout: float = TIMEOUT) -> None:
        self.size = size or len(os.sched_getaffinity(0))
        self.timeout = timeout
        self.workers: list[Worker] = []
        self._lock = threading.Lock()  # one run at a time: a worker answers whoever asked last

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all workers; a later run starts new ones."""
        for worker in self.workers:
            worker.close()
        self.workers.clear()

    def run(self, jobs: Sequence[Job]) -> list[bytes]:
        """The objects, in order.  Raises the CodegenError of the first job that failed."""
        with self._lock:
            return self._run(jobs)

    def _run(self, jobs: Sequence[Job]) -> list[bytes]:
        results: list[bytes | CodegenError | None] = [None] * len(jobs)
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(jobs)):
            waiting.put(number)
        while len(self.workers) < min(self.size, len(jobs)):
            self.workers.append(Worker())
        shared = (jobs, waiting, results)
        threads = [threading.Thread(target=self._serve, args=(i, *shared)) for i in range(len(self.workers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        objects = []
        for result in results:
            if not isinstance(result, bytes):
                raise result or CodegenError("a job was lost")
            objects.append(result)
        return objects

    def _serve(
        self,
        place: int,
        jobs: Sequence[Job],
        waiting: queue.SimpleQueue[int],
        results: list[bytes | CodegenError | None],
    ) -> None:
        """Hands jobs to worker `place` until none is left."""
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            job = jobs[number]
            answer = self.workers[place].ask(job.header(), job.text.encode(), self.timeout)
            if answer is None:
                results[number] = _failed(job, f"the code generator died: {self.workers[place].last_words()}")
                self.workers[place].close()
                self.workers[place] = Worker()
            elif "error" in answer[0]:
                results[number] = _failed(job, answer[0]["error"])
            else:
                results[number] = answer[1]


def _failed(job: Job, what: str) -> CodegenError:
    features = f" with {','.join(job.features)}" if job.features else ""
    return CodegenError(f"{job.name} for {job.triple}, {job.cpu}{features}: {what}")


def shared_pool() -> WorkerPool:
    """This process's pool: it lives as long as the process, so that a second compilation finds workers that run."""
    return _pool_of(os.getpid())  # a forked child must not talk into its parent's pipes


@cache
def _pool_of(pid: int) -> WorkerPool:
    pool = WorkerPool()
    atexit.register(pool.close)
    return pool


@cache
def host() -> Host:
    """This machine.  Raises CodegenError if the worker cannot be started."""
    worker = Worker()
    try:
        answer = worker.ask({"ask": "host"}, b"", TIMEOUT)
        if answer is None:
            raise CodegenError(f"the code generator does not start: {worker.last_words()}")
        found = answer[0]
        return Host(found["triple"], found["cpu"], tuple(found["features"]))
    finally:
        worker.close()
