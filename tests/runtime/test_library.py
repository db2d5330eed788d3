"""The C library, driven from C under sanitizers (the folder driver)."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rehash = Callable[[bytearray], None]


@pytest.mark.parametrize(
    "command",
    [
        "allocations",
        "second-run",
        "recovery",
        "same-bits",
        "concurrent",
        "own-threads",
        "profile",
        "misuse",
        "environment",
    ],
)
def test_under_address_and_undefined_sanitizers(command: Any, maker: Any, asan: Any) -> None:
    asan(command, maker.write(maker.scale_squares()))


@pytest.mark.parametrize("command", ["allocations", "second-run", "recovery", "same-bits", "concurrent"])
def test_a_loop_under_address_and_undefined_sanitizers(command: Any, maker: Any, asan: Any) -> None:
    asan(command, maker.write(maker.row_by_row()))


@pytest.mark.parametrize("command", ["same-bits", "concurrent", "own-threads", "profile"])
def test_under_thread_sanitizer(command: Any, maker: Any, tsan: Any) -> None:
    tsan(command, maker.write(maker.scale_squares()))


def test_some_runs_of_a_shared_session_are_refused_as_busy(maker: Any, build_driver: Any) -> None:
    told = build_driver("plain")("concurrent", maker.write(maker.scale_squares()))
    assert told.endswith("runs were refused as busy\n")


@pytest.mark.parametrize("model", ["scale_squares", "row_by_row"])
def test_every_allocation_is_failed_once(model: Any, maker: Any, asan: Any) -> None:
    told = asan("allocations", maker.write(getattr(maker, model)()))
    counts = [int(line.split()[0]) for line in told.splitlines()]
    assert len(counts) == 2
    assert min(counts) > 20


def test_a_file_cut_anywhere_is_refused(maker: Any, asan: Any) -> None:
    path = maker.write(maker.scale_squares())
    assert asan("truncate", path) == f"{path.stat().st_size} lengths\n"


def test_a_changed_bit_anywhere_is_found(maker: Any, asan: Any) -> None:
    path = maker.write(maker.scale_squares())
    assert asan("flip", path) == f"{path.stat().st_size} bytes\n"


@pytest.mark.parametrize("model", ["scale_squares", "gather", "compact", "guarded", "row_by_row"])
def test_damage_behind_right_hashes_never_leads_out_of_bounds(
    model: Any, maker: Any, asan: Any, rehash: Rehash, tmp_path: Path
) -> None:
    """Changed words in every section, hashes made right: refused or planned, but no read or write out of bounds."""
    original = maker.write(getattr(maker, model)()).read_bytes()
    draw = random.Random(7)
    paths = []
    for number in range(150):
        data = bytearray(original)
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(16, len(data) // 4) * 4
            word = draw.choice((0, 1, 2, 3, 5, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 64, draw.getrandbits(32)))
            data[at : at + 4] = word.to_bytes(4, "little")
        rehash(data)
        paths.append(tmp_path / f"{number}.hrm")
        paths[-1].write_bytes(data)
    told = asan("plan", *paths).splitlines()
    assert len(told) == len(paths)
    # Both ends are met: some damage is refused by the loader, some is let through to the plan.
    assert any(line.startswith("refused 3") for line in told)
    assert any(line.startswith("planned") for line in told)


def test_a_device_with_memory_of_its_own(maker: Any, asan: Any) -> None:
    paths = []
    for artefact in (maker.scale_squares(), maker.gather()):
        variant = dataclasses.replace(artefact.variants[0], driver="far:7")
        paths.append(maker.write(dataclasses.replace(artefact, variants=(variant,)), f"{len(paths)}.hrm"))
    asan("device", *paths)


def test_a_loop_on_a_device_with_memory_of_its_own(maker: Any, asan: Any) -> None:
    paths = []
    for artefact in (maker.row_by_row(), maker.gather()):
        variant = dataclasses.replace(artefact.variants[0], driver="far:7")
        paths.append(maker.write(dataclasses.replace(artefact, variants=(variant,)), f"{len(paths)}.hrm"))
    asan("device", *paths)


def _cgroup(root: Path, lines: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "90000 100000\n"}),
        ("0::/a\n", {"a/cpu.max": "100000 100000\n"}),
        ("0::/\n", {"cpu.max": "100 100000\n"}),
        ("4:cpu,cpuacct:/c\n", {"cpu/c/cpu.cfs_quota_us": "50000\n", "cpu/c/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_a_quota_of_one_cpu_or_less_gives_one_thread(lines: Any, files: Any, asan: Any, tmp_path: Path) -> None:
    asan("quota", _cgroup(tmp_path, lines, files), 1)


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("", {}),
        ("nonsense\n:\n::\n", {}),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}),
        ("0::/a\n", {"a/cpu.max": "word\n"}),
        ("0::/a\n", {"a/cpu.max": "99999999999999999999 1\n"}),
        ("4:cpuset:/c\n3:cpu:/c\n", {"cpu/c/cpu.cfs_quota_us": "-1\n", "cpu/c/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_no_quota_gives_as_many_threads_as_cpus(lines: Any, files: Any, asan: Any, tmp_path: Path) -> None:
    import os

    asan("quota", _cgroup(tmp_path, lines, files), len(os.sched_getaffinity(0)))
