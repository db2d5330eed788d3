"""The process's pool: workers stay for the next compilation, and a forked child has its own."""

from __future__ import annotations

import os

from headrace.codegen.workers import Job, shared_pool

JOB = Job("f", "define hidden i32 @f() { ret i32 1 }", "x86_64-unknown-linux-gnu", "x86-64-v2")


def test_workers_stay() -> None:
    first = shared_pool().run([JOB])
    workers = [w.pid for w in shared_pool().workers]
    assert shared_pool().run([JOB]) == first
    assert [w.pid for w in shared_pool().workers] == workers


def test_a_forked_child_has_workers_of_its_own() -> None:
    (expected,) = shared_pool().run([JOB])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"same" if shared_pool().run([JOB]) == [expected] else b"other")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"same"
    os.waitpid(child, 0)
    assert shared_pool().run([JOB]) == [expected]
