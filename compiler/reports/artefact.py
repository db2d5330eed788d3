"""What `headrace inspect` says.  In: the contents of a `.hrm`.  Out: lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.codegen.artefact.model import Port, Variant
from headrace.codegen.artefact.reader import Contents
from headrace.ir.dims import Dim
from headrace.ir.errors import OptionError


def describe(contents: Contents, *, kernels_as_text: bool, every_byte: bool) -> Iterator[str]:
    """Signature, making, each target with its kernels and memory, sizes; more on request.  Raises OptionError."""
    artefact = contents.artefact
    if kernels_as_text and not any(k.text for v in artefact.variants for k in v.kernels):
        raise OptionError("the file holds no kernels as text: compile it with --keep-ir")
    yield "inputs"
    yield from (f"  {_port(p)}" for p in artefact.signature.inputs)
    yield "outputs"
    yield from (f"  {_port(p)}" for p in artefact.signature.outputs)
    yield "made"
    yield from (f"  {name}: {value}" for name, value in artefact.metadata)
    for variant in artefact.variants:
        yield from _variant(variant)
        if kernels_as_text:
            for kernel in variant.kernels:
                yield from kernel.text.splitlines()
    yield "sizes"
    total = sum(region.size for region in contents.regions)
    yield f"  constants: {len(artefact.constants)} of {sum(c.size for c in artefact.constants):,} bytes"
    yield f"  file: {total:,} bytes"
    if every_byte:
        yield "bytes"
        yield from (f"  {r.offset:>10} {r.size:>10}  {r.owner}" for r in contents.regions)


def _port(port: Port) -> str:
    return f"{port.name}: {port.dtype}[{', '.join(str(d) for d in port.dims)}]"


def _variant(variant: Variant) -> Iterator[str]:
    program = variant.program
    drivers = [variant.driver, *(device.driver for device in variant.devices)]
    yield f"target {variant.preset} ({variant.machine}, driver{'s' * (len(drivers) > 1)} {', '.join(drivers)})"
    yield f"  needs: {', '.join(variant.features) or 'nothing beyond the machine'}"
    yield f"  code: {len(variant.image):,} bytes, {len(variant.kernels)} kernels"
    for place, segment in enumerate(program.segments):
        yield f"  arena{'' if len(program.segments) == 1 else f' of segment {place}'}: {_bytes(segment.arena)}"
    scratch = [k.scratch for k in variant.kernels if k.scratch != 0]
    if scratch:
        yield f"  scratch a thread: {', '.join(_bytes(s) for s in dict.fromkeys(scratch))}"
    for launch in program.launches:
        nodes = ", ".join(launch.nodes) or "no node"
        kernel = variant.kernels[launch.kernel]
        where = f" on {drivers[kernel.device]}" if kernel.device else ""
        yield f"  {kernel.name}: {nodes} ({launch.tasks} tasks){where}"


def _bytes(size: Dim) -> str:
    return f"{size.value:,} bytes" if size.is_constant else f"{size} bytes"
