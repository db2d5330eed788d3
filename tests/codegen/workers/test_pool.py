"""Workers: jobs in, objects out, and one line for each way in which LLVM may refuse or die."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from headrace.codegen.workers import Job, WorkerPool, host
from headrace.ir.errors import CodegenError

TRIPLE = "x86_64-unknown-linux-gnu"
GOOD = "define hidden i32 @f() nounwind {\n ret i32 1\n}"
# LLVM has no instruction for it on this CPU, and ends the process.
DEADLY = (
    "declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <64 x i8>, <64 x i8>)\n"
    "define hidden void @f(ptr %p) nounwind {\n %a = load <16 x i32>, ptr %p\n %b = load <64 x i8>, ptr %p\n"
    " %r = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %a, <64 x i8> %b, <64 x i8> %b)\n"
    " store <16 x i32> %r, ptr %p\n ret void\n}"
)


def job(name: str, text: str, cpu: str = "x86-64", features: tuple[str, ...] = ()) -> Job:
    return Job(name, text, TRIPLE, cpu, features)


def straight_line(steps: int) -> str:
    """A function that takes LLVM a while: its time grows faster than its length."""
    body = "\n".join(
        f" %p{i} = getelementptr float, ptr %p, i64 {i}\n %v{i} = load <4 x float>, ptr %p{i}, align 4\n"
        f" %w{i} = fmul <4 x float> %v{i}, %v{max(i - 1, 0)}\n store <4 x float> %w{i}, ptr %p{i}, align 4"
        for i in range(steps)
    )
    return f"define hidden void @f(ptr %p) nounwind {{\n{body}\n ret void\n}}"


def test_objects_come_in_job_order_and_do_not_depend_on_the_number_of_workers() -> None:
    jobs = [job(f"k{i}", GOOD.replace("i32 1", f"i32 {i}")) for i in range(12)]
    with WorkerPool(1) as one, WorkerPool(2) as two:
        expected = one.run(jobs)
        assert two.run(jobs) == expected
    assert len(set(expected)) == len(jobs)
    assert all(data[:4] == b"\x7fELF" for data in expected)


def test_no_more_workers_than_jobs() -> None:
    with WorkerPool(8) as pool:
        pool.run([job("k", GOOD)])
        assert len(pool.workers) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("this is no IR", "expected top-level entity"), ("define i32 @f() {\n ret i64 1\n}", "i64")],
)
def test_wrong_ir_gives_one_line(text: str, message: str) -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(CodegenError, match=message) as caught:
            pool.run([job("k", text)])
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"k for {TRIPLE}, x86-64: ")
        assert len(pool.run([job("k", GOOD)])) == 1


def test_an_abort_of_llvm_is_one_line_and_the_next_job_succeeds() -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(CodegenError, match="killed by SIGABRT") as caught:
            pool.run([job("dots", DEADLY, features=("+sse4.2",))])
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"dots for {TRIPLE}, x86-64 with +sse4.2: the code generator died: ")
        assert len(pool.run([job("k", GOOD)])) == 1


def test_a_worker_killed_midway_is_one_line_and_the_next_job_succeeds() -> None:
    with WorkerPool(1) as pool:
        pool.run([job("warm", GOOD)])
        victim = pool.workers[0].pid
        timer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
        timer.start()
        with pytest.raises(CodegenError, match=r"^slow for .*: the code generator died: killed by SIGKILL"):
            pool.run([job("slow", straight_line(8000))])
        timer.join()
        assert len(pool.run([job("k", GOOD)])) == 1
        assert pool.workers[0].pid != victim


def test_a_job_that_takes_too_long_ends() -> None:
    began = time.monotonic()
    with WorkerPool(1, timeout=0.3) as pool, pytest.raises(CodegenError, match=r"^slow for "):
        pool.run([job("slow", straight_line(8000))])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("size", [1, 2])
def test_the_first_failed_job_is_the_one_reported(size: int) -> None:
    jobs = [job("a", GOOD), job("b", "no IR"), job("c", DEADLY)]
    with WorkerPool(size) as pool, pytest.raises(CodegenError, match=r"^b for "):
        pool.run(jobs)


def test_workers_end_with_the_pool_and_with_the_parent() -> None:
    program = (
        "from headrace.codegen.workers import Job, WorkerPool\nimport os\n"
        f"pool = WorkerPool(1)\npool.run([Job('k', {GOOD!r}, {TRIPLE!r}, 'x86-64')])\n"
        "print(pool.workers[0].pid, flush=True)\nos._exit(0)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    _wait_until_gone(int(out.stdout))
    with WorkerPool(1) as pool:
        pool.run([job("k", GOOD)])
        pid = pool.workers[0].pid
    _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":  # ended; nobody collects it in this container
                return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


def test_the_parent_does_not_load_llvmlite() -> None:
    program = (
        "import sys\nfrom headrace.codegen.workers import WorkerPool, Job\n"
        f"with WorkerPool(1) as pool: pool.run([Job('k', {GOOD!r}, {TRIPLE!r}, 'x86-64')])\n"
        "assert not any(name.startswith('llvmlite') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_host_is_a_machine_that_compiles() -> None:
    found = host()
    assert found.triple.count("-") == 3
    assert list(found.features) == sorted(found.features)
    features = tuple(f"+{name}" for name in found.features)
    with WorkerPool(1) as pool:
        assert len(pool.run([Job("k", GOOD, found.triple, found.cpu, features)])) == 1
