"""The process's pool: workers stay for the next compilation, and a forked child has its own."""

from __future__ import annotations

import os

import pytest

from headrace.codegen.workers import Job, shared_pool
from headrace.ir.errors import CodegenError

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


IR = "define hidden i32 @f() { ret i32 1 }"


@pytest.mark.parametrize(
    ("cpu", "features", "message"),
    [
        ("x86-64-v3", ("+avx3",), r"f for .*x86-64-v3 with \+avx3: '\+avx3' is not a recognized feature"),
        ("x86-65", (), "f for .*x86-65: .*'x86-65' is not a recognized processor"),
    ],
)
def test_what_llvm_would_ignore_is_an_error(cpu: str, features: tuple[str, ...], message: str) -> None:
    with pytest.raises(CodegenError, match=message):
        shared_pool().run([Job("f", IR, "x86_64-unknown-linux-gnu", cpu, features)])


def test_jobs_are_checked() -> None:
    with pytest.raises(CodegenError, match="f: triple 'armv7-linux-gnueabihf': expected arch-vendor-system-environment"):
        Job("f", IR, "armv7-linux-gnueabihf", "generic")
    with pytest.raises(CodegenError, match=r"f: feature 'neon': expected '\+' or '-' before its name"):
        Job("f", IR, "aarch64-unknown-linux-gnu", "generic", ("neon",))
