"""Refuse an `Artefact` that the runtime would refuse.  In: an artefact.  Out: nothing, or an `ArtefactError`.

What depends on shapes (that buffers lie in their bases, that sizes suffice) is checked by the plan at run time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from headrace.codegen.artefact.features import FEATURES
from headrace.codegen.artefact.layout import (
    DTYPES,
    KINDS,
    MAX_BUFFERS,
    MAX_LOOPS,
    MAX_RANK,
    MAX_SCALARS,
    MAX_SCRATCH_ALIGNMENT,
)
from headrace.codegen.artefact.model import (
    INT64_MAX,
    Artefact,
    Buffer,
    Copy,
    Kernel,
    Launch,
    Port,
    Read,
    Segment,
    Set,
    Variant,
)
from headrace.ir.errors import ArtefactError, nearest
from headrace.ir.types import BOOL


def check(artefact: Artefact) -> None:
    """Raises ArtefactError, one line that starts with the place."""
    for side, ports in (("input", artefact.signature.inputs), ("output", artefact.signature.outputs)):
        _refuse_twice(f"{side}s", (port.name for port in ports))
        for port in ports:
            _check_port(f"{side} {port.name!r}", port)
    if not artefact.variants:
        raise ArtefactError("artefact: has no variant")
    _refuse_twice("targets", (variant.preset for variant in artefact.variants))
    _refuse_twice("metadata", (key for key, _ in artefact.metadata))
    for variant in artefact.variants:
        _check_variant(artefact, variant)


def _refuse_twice(place: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ArtefactError(f"{place}: {name!r} is there {count} times")


def _check_port(place: str, port: Port) -> None:
    if port.dtype.name not in DTYPES:
        raise ArtefactError(f"{place}: the format has no dtype {port.dtype}")
    if port.kind not in KINDS:
        raise ArtefactError(f"{place}: the format has no kind {port.kind!r}")
    if len(port.dims) > MAX_RANK:
        raise ArtefactError(f"{place}: has {len(port.dims)} dims, at most {MAX_RANK} are possible")
    for dim in port.dims:
        if dim.is_constant and not 0 <= dim.value <= INT64_MAX:
            raise ArtefactError(f"{place}: a dim is {dim}, expected a number from 0 that fits 64 bits")


def _check_variant(artefact: Artefact, variant: Variant) -> None:
    known = FEATURES.get(variant.machine)
    if known is None:
        hint = nearest(variant.machine, FEATURES)
        raise ArtefactError(f"{variant.preset}: unknown machine {variant.machine!r}{hint}")
    drivers = {name.partition(":")[0] for name in (variant.driver, *(d.driver for d in variant.devices))}
    for feature in variant.features:
        driver, colon, _ = feature.partition(":")
        if colon and driver not in drivers:
            raise ArtefactError(f"{variant.preset}: needs {feature!r}, but runs on no device of the driver {driver!r}")
        if not colon and feature not in known:
            hint = nearest(feature, known)
            raise ArtefactError(f"{variant.preset}: the runtime does not know the feature {feature!r}{hint}")
    for kernel in variant.kernels:
        _check_kernel(f"{variant.preset}: kernel {kernel.name!r}", kernel, variant)
    segments = variant.program.segments
    if not segments:
        raise ArtefactError(f"{variant.preset}: the program has no segment")
    buffers: list[Buffer | None] = []  # None: of a loop that is closed
    closed: set[int] = set()  # segments of such loops
    loops: list[tuple[int, int, int]] = []  # that are open: the last segment of the body, the loop's own, first buffer
    for number, segment in enumerate(segments):
        place = f"{variant.preset}: segment {number}"
        for buffer in segment.buffers:
            _check_base(place, artefact, variant, buffer, number)
            if buffer.base.kind == "arena" and buffer.base.index in closed:
                raise ArtefactError(f"{place}: a buffer lies in arena {buffer.base.index}, of a loop that is closed")
        if (segment.reads or segment.loop) and number == len(segments) - 1:
            raise ArtefactError(f"{place}: ends with {len(segment.reads)} reads or a loop, but nothing follows")
        if not 0 <= segment.device <= len(variant.devices):
            raise ArtefactError(f"{place}: runs on device {segment.device}, there are {len(variant.devices) + 1}")
        if segment.loop is not None:
            _check_loop(place, segments, number, [last for last, _, _ in loops])
            loops.append((number + segment.loop.segments, number, len(buffers)))
        buffers += segment.buffers
        _check_steps(place, variant, segment, buffers)
        while loops and loops[-1][0] == number:
            _, own, first = loops.pop()
            closed.update(range(own, number + 1))
            buffers[first:] = [None] * (len(buffers) - first)


def _check_kernel(place: str, kernel: Kernel, variant: Variant) -> None:
    if not 0 <= kernel.device <= len(variant.devices):
        raise ArtefactError(f"{place}: is for device {kernel.device}, there are {len(variant.devices) + 1}")
    image_bytes = len(variant.image_of(kernel.device))
    if not 0 <= kernel.entry < image_bytes:
        raise ArtefactError(f"{place}: entry {kernel.entry} is outside the image of {image_bytes} bytes")
    if len(kernel.buffers) > MAX_BUFFERS:
        raise ArtefactError(f"{place}: has {len(kernel.buffers)} buffers, at most {MAX_BUFFERS} are possible")
    if len(kernel.scalars) > MAX_SCALARS:
        raise ArtefactError(f"{place}: has {len(kernel.scalars)} scalars, at most {MAX_SCALARS} are possible")
    alignment = kernel.scratch_alignment
    if not 0 < alignment <= MAX_SCRATCH_ALIGNMENT or alignment & (alignment - 1):
        raise ArtefactError(
            f"{place}: scratch alignment is {alignment}, expected a power of two up to {MAX_SCRATCH_ALIGNMENT}"
        )


def _check_loop(place: str, segments: Sequence[Segment], number: int, ends: Sequence[int]) -> None:
    segment = segments[number]
    assert segment.loop is not None
    if segment.steps or segment.reads or segment.buffers:
        raise ArtefactError(f"{place}: holds more than its loop")
    before = segments[number - 1] if number else Segment()
    if not before.reads or not all(isinstance(bound, Set) for bound in before.reads):
        raise ArtefactError(f"{place}: what its loop starts with is not set before it")
    last = number + segment.loop.segments
    if last == number or last >= min(ends, default=len(segments) - 1) or len(ends) == MAX_LOOPS:
        raise ArtefactError(f"{place}: the body of its loop would end with segment {last}")


def _check_base(place: str, artefact: Artefact, variant: Variant, buffer: Buffer, segment: int) -> None:
    counts = {
        "input": len(artefact.signature.inputs),
        "output": len(artefact.signature.outputs),
        "constant": len(artefact.constants),
        "arena": segment + 1,
        "state": variant.program.states,
    }
    base = buffer.base
    if not 0 <= base.index < counts[base.kind]:
        raise ArtefactError(f"{place}: a buffer lies in {base.kind} {base.index}, there are {counts[base.kind]}")


def _check_steps(place: str, variant: Variant, segment: Segment, buffers: Sequence[Buffer | None]) -> None:
    for step in segment.steps:
        if isinstance(step, Copy):
            _check_use(f"{place}: copy", buffers, step.source, written=False)
            _check_use(f"{place}: copy", buffers, step.target, written=True)
        else:
            _check_launch(place, variant, step, segment.device, buffers)
    for read in [bound for bound in segment.reads if isinstance(bound, Read)]:
        where = f"{place}: read of {read.symbol!r}"
        _check_use(where, buffers, read.buffer, written=False)
        if not (read.dtype.is_integer or read.dtype == BOOL):
            raise ArtefactError(f"{where}: dtype is {read.dtype}, expected an integer type or bool")


def _check_launch(place: str, variant: Variant, launch: Launch, device: int, buffers: Sequence[Buffer | None]) -> None:
    if not 0 <= launch.kernel < len(variant.kernels):
        raise ArtefactError(f"{place}: launches kernel {launch.kernel}, there are {len(variant.kernels)}")
    kernel = variant.kernels[launch.kernel]
    where = f"{place}: launch of {kernel.name!r}"
    if kernel.device != device:
        raise ArtefactError(f"{where}: is for device {kernel.device}, the segment for {device}")
    for what, found, expected in (
        ("buffers", len(launch.buffers), len(kernel.buffers)),
        ("scalars", len(launch.scalars), len(kernel.scalars)),
    ):
        if found != expected:
            raise ArtefactError(f"{where}: passes {found} {what}, expected {expected}")
    for buffer, parameter in zip(launch.buffers, kernel.buffers, strict=True):
        _check_use(where, buffers, buffer, parameter.written)


def _check_use(place: str, buffers: Sequence[Buffer | None], index: int, written: bool) -> None:
    if not 0 <= index < len(buffers):
        raise ArtefactError(f"{place}: uses buffer {index}, there are {len(buffers)} so far")
    buffer = buffers[index]
    if buffer is None:
        raise ArtefactError(f"{place}: uses buffer {index}, which is of a loop that is closed")
    base = buffer.base
    if written and base.kind in ("input", "constant"):
        raise ArtefactError(f"{place}: writes to buffer {index}, which lies in {base.kind} {base.index}")
