"""What `headrace bench` says.  In: measurements.  Out: lines of text, or one dict for JSON."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.compiler.measure.loading import MemoryUse
from headrace.compiler.measure.profile import KernelTime, LaunchTime, Profile
from headrace.compiler.measure.roofline import Roofline
from headrace.compiler.measure.rounds import Times


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that was measured of one artefact.  `engines` is headrace first; `error` is that of the last."""

    artefact: Path
    target: str
    threads: int
    shapes: Mapping[str, tuple[int, ...]]
    engines: Sequence[tuple[str, str, Times]]  # name, version
    error: float | None
    loads: Times
    memory: MemoryUse
    profile: Profile | None
    roofline: Roofline | None


def lines(bench: Bench) -> Iterator[str]:
    """The report for people."""
    shapes = "  ".join(f"{name} {list(shape)}" for name, shape in bench.shapes.items())
    yield f"{bench.artefact} for {bench.target}, {_counted(bench.threads, 'thread')}: {shapes}"
    yield ""
    yield f"{'engine':24} {'median ms':>10} {'spread':>8} {'best':>10} {'rounds':>7}"
    for name, version, times in bench.engines:
        spread = times.spread / times.median
        title = f"{name} {version}"
        yield f"{title:24} {_ms(times.median)} {spread:8.1%} {_ms(times.best)} {times.rounds:7}"
    if bench.error is not None:
        ratio = bench.engines[0][2].median / bench.engines[1][2].median
        yield f"ratio {ratio:.3f} (below 1: headrace is faster); largest error {bench.error:.1e} of the largest output"
    yield ""
    yield f"load: median {bench.loads.median * 1e3:.2f} ms of {bench.loads.rounds}, best {bench.loads.best * 1e3:.2f}"
    planned = "unknown before it runs" if bench.memory.planned is None else f"{bench.memory.planned:,} bytes"
    yield f"memory: planned {planned}, measured {bench.memory.measured:,}"
    yield f"second run: {_counted(bench.memory.second_run_allocations, 'allocation')}"
    if bench.profile is not None:
        yield ""
        yield from _profile_lines(bench.profile, bench.roofline)


def _profile_lines(profile: Profile, roof: Roofline | None) -> Iterator[str]:
    if roof is not None:
        rates = ", ".join(f"{rate:.0f} at {_size(size)}" for size, rate in roof.gbytes.items())
        yield f"roofline: {roof.gflops:.1f} GFLOP/s; GB/s read: {rates}"
    yield f"{_counted(profile.runs, 'run')}, median {profile.seconds * 1e3:.3f} ms, {_outside(profile)}"
    yield ""
    head = f"{'ms':>9} {'share':>6} {'GFLOP/s':>8} {'GB/s':>7} {'roof':>6}  "
    yield f"{head}{'calls':>5}  kernel: nodes"
    for row in profile.kernels:
        yield f"{_rates(row, row.launches, profile, roof)}  {len(row.launches):5}  {row.kernel}: {_cut(row.nodes)}"
    yield ""
    yield f"{head}{'thr':>3} {'tasks':>7}  launch"
    for launch in profile.launches:
        about = f"{launch.threads:3} {launch.tasks:7}  {launch.launch} {launch.kernel}: {_cut(launch.nodes)}"
        yield f"{_rates(launch, [launch], profile, roof)}  {about}"


def _outside(profile: Profile) -> str:
    return f"{profile.outside * 1e3:.3f} ms ({profile.outside / profile.seconds:.1%}) in no kernel"


def _rates(
    row: KernelTime | LaunchTime, launches: Sequence[LaunchTime], profile: Profile, roof: Roofline | None
) -> str:
    share = row.seconds / profile.seconds
    gflops = "-" if row.flops is None else f"{row.flops / row.seconds / 1e9:.1f}"
    gbytes = "-" if row.bytes is None else f"{row.bytes / row.seconds / 1e9:.1f}"
    part = _of_roof(launches, roof)
    return f"{row.seconds * 1e3:9.4f} {share:6.1%} {gflops:>8} {gbytes:>7} {'-' if part is None else f'{part:.1%}':>6}"


def _of_roof(launches: Sequence[LaunchTime], roof: Roofline | None) -> float | None:
    """The least time possible over the time taken."""
    if roof is None:
        return None
    least = 0.0
    for launch in launches:
        if launch.flops is None or launch.bytes is None:
            return None
        least += roof.least_seconds(launch.flops, launch.bytes)
    return least / sum(launch.seconds for launch in launches)


def as_dict(bench: Bench) -> dict[str, Any]:
    """The same for programs; times in seconds."""
    found: dict[str, Any] = {
        "artefact": bench.artefact.name,
        "target": bench.target,
        "threads": bench.threads,
        "date": datetime.date.today().isoformat(),
        "machine": cpu_name(),
        "shapes": {name: list(shape) for name, shape in bench.shapes.items()},
        "engines": [{"engine": name, "version": version, **_times(t)} for name, version, t in bench.engines],
        "error": bench.error,
        "load": _times(bench.loads),
        "memory": {"planned": bench.memory.planned, "measured": bench.memory.measured},
        "second_run_allocations": bench.memory.second_run_allocations,
    }
    roof = bench.roofline
    if roof is not None:
        found["roofline"] = {"gflops": roof.gflops, "gbytes": {str(size): rate for size, rate in roof.gbytes.items()}}
    if bench.profile is not None:
        found["profile"] = {
            "runs": bench.profile.runs,
            "seconds": bench.profile.seconds,
            "outside": bench.profile.outside,
            "kernels": [_kernel(row, roof) for row in bench.profile.kernels],
            "launches": [_launch(launch, roof) for launch in bench.profile.launches],
        }
    return found


def _times(times: Times) -> dict[str, Any]:
    return {
        "median": times.median,
        "low": times.low,
        "high": times.high,
        "best": times.best,
        "rounds": times.rounds,
    }


def _kernel(row: KernelTime, roof: Roofline | None) -> dict[str, Any]:
    return {
        "kernel": row.kernel,
        "calls": len(row.launches),
        "seconds": row.seconds,
        "flops": row.flops,
        "bytes": row.bytes,
        "of_roof": _of_roof(row.launches, roof),
        "nodes": row.nodes,
    }


def _launch(launch: LaunchTime, roof: Roofline | None) -> dict[str, Any]:
    return {
        "launch": launch.launch,
        "kernel": launch.kernel,
        "nodes": launch.nodes,
        "seconds": launch.seconds,
        "tasks": launch.tasks,
        "threads": launch.threads,
        "flops": launch.flops,
        "bytes": launch.bytes,
        "of_roof": _of_roof([launch], roof),
    }


def cpu_name() -> str:
    """As the operating system calls it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:10.3f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(size: int) -> str:
    return f"{size >> 20} MB" if size >= 2**20 else f"{size >> 10} KB"


def _cut(nodes: str) -> str:
    return nodes if len(nodes) <= 80 else f"{nodes[:77]}..."
