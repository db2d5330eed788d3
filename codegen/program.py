"""The host's program as the artefact holds it.

In: a planned `program.func`, its kernels as loops, and a function that evaluates constants.  Out: signature,
segments and constants of `headrace.codegen.artefact.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headrace.codegen.artefact import model
from headrace.codegen.artefact.layout import ALIGNMENT
from headrace.ir.access import SymbolRef
from headrace.ir.constants import Array, ConstantRef
from headrace.ir.core import Operation, Value, walk
from headrace.ir.dims import Dim, ceildiv, dim_max
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import Check as KernelCheck
from headrace.ir.kernel.tasks import task_count
from headrace.ir.program.ops.program import (
    Alloc,
    Call,
    Check,
    Constant,
    Copy,
    Launch,
    Loop,
    ProgramFunc,
    Read,
    State,
    View,
    bytes_of,
)
from headrace.ir.types import BufferType
from headrace.passes.program.plan_memory import arena_bytes

Evaluate = Callable[[ConstantRef | SymbolRef], Array]


class ConstantPool:
    """The artefact's constants, shared by all variants: equal ones are one."""

    def __init__(self) -> None:
        self.constants: list[model.Constant] = []
        self._places: dict[str, int] = {}

    def place(self, key: str, size: int, produce: Callable[[], model.Bytes], label: str) -> int:
        """The number of the constant with that key; added if new."""
        if key not in self._places:
            self._places[key] = len(self.constants)
            self.constants.append(model.Constant(size, produce, label))
        return self._places[key]


@dataclass(frozen=True, slots=True)
class ConstantSource:
    """How to name and evaluate the constants of one module.  Equal keys mean equal bytes."""

    key: Callable[[ConstantRef | SymbolRef], str]
    evaluate: Evaluate


def signature_of(program: ProgramFunc) -> model.Signature:
    """Names, dtypes and dims of the parameters."""
    return model.Signature(
        tuple(_port(n, p.type) for n, p in zip(program.input_names, program.inputs, strict=True)),
        tuple(_port(n, p.type) for n, p in zip(program.output_names, program.written, strict=True)),
    )


def _port(name: str, kind: object) -> model.Port:
    assert isinstance(kind, BufferType)
    return model.Port(name, kind.dtype, kind.dims)


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """What a `program.call` runs: a planned program without reads, its kernels' numbers, the constants' source."""

    device: int  # from 1 on
    program: ProgramFunc
    kernels: Mapping[str, tuple[int, KernelFunc]]
    source: ConstantSource


def encode_program(
    program: ProgramFunc,
    kernels: Mapping[str, tuple[int, KernelFunc]],
    pool: ConstantPool,
    source: ConstantSource,
    called: Mapping[str, DeviceProgram] | None = None,
) -> model.Program:
    """`kernels` gives the number of each kernel, `called` the functions of other devices.

    Raises CodegenError for an operation that has no bytecode.
    """
    return _Encoder(DeviceProgram(0, program, kernels, source), pool, called or {}).encode()


@dataclass(slots=True)
class _Segment:
    """A segment under construction, and the ends of all that lies in its arena, also of later segments' buffers."""

    device: int
    checks: list[model.Check] = field(default_factory=list)
    buffers: list[model.Buffer] = field(default_factory=list)
    steps: list[model.Step] = field(default_factory=list)
    reads: list[model.Read | model.Set] = field(default_factory=list)
    ends: list[Dim] = field(default_factory=list)
    loop: model.Loop | None = None


class _Encoder:
    """Walks the program once, cutting it into segments at the reads, around loops and where another device goes on."""

    def __init__(self, host: DeviceProgram, pool: ConstantPool, called: Mapping[str, DeviceProgram]) -> None:
        self.host = host
        self.pool = pool
        self.called = called
        self.numbers: dict[Value, int] = {}
        self.described: list[model.Buffer] = []
        self.segments: list[_Segment] = []
        self.homes: dict[int, int] = {}  # of each device: the segment in whose arena its buffers lie
        self.states = 0
        self._open(host)

    def _open(self, running: DeviceProgram) -> None:
        self.running = running
        self.homes.setdefault(running.device, len(self.segments))
        self.segments.append(_Segment(running.device))

    @property
    def _now(self) -> _Segment:
        return self.segments[-1]

    def encode(self) -> model.Program:
        for place, parameter in enumerate(self.host.program.inputs):
            self._describe(parameter, model.Base("input", place), Dim.constant(0), _bytes(parameter))
        self._encode_block(self.host.program.block.operations)
        return model.Program(tuple(self._closed(s) for s in self.segments), self.states)

    def _closed(self, s: _Segment) -> model.Segment:
        arena = self.host.program.known.simplify(dim_max(*s.ends)) if s.ends else Dim.constant(0)
        return model.Segment(tuple(s.checks), tuple(s.buffers), arena, tuple(s.steps), tuple(s.reads), s.device, s.loop)

    def _read_ends(self) -> None:
        """Begins a segment in which what was read is known: earlier arenas cannot hold what is of such a size."""
        self.homes.clear()
        self._open(self.host)

    def _encode_block(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if self._now.reads and not isinstance(operation, Read):
                self._read_ends()
            self._encode(operation)

    def _encode_loop(self, loop: Loop) -> None:
        """A segment that sets the symbols, one that decides whether another turn is due, then the body's."""
        self._now.reads += [model.Set(s, d) for s, d in zip(loop.symbols, loop.starts, strict=True)]
        self._read_ends()
        head = len(self.segments) - 1
        self._read_ends()
        self._encode_block(loop.body.block.body)
        if self._now.reads:
            self._read_ends()
        self._now.reads += [model.Set(s, d) for s, d in zip(loop.symbols, loop.next.values, strict=True)]
        self.segments[head].loop = model.Loop(loop.limit, loop.condition, len(self.segments) - head - 1)
        self._read_ends()

    def _describe(self, value: Value, base: model.Base, offset: Dim, size: Dim) -> None:
        self.numbers[value] = len(self.described)
        buffer = model.Buffer(base, offset, size)
        self.described.append(buffer)
        self._now.buffers.append(buffer)

    def _place(self, value: Value, offset: Dim, size: Dim) -> None:
        """A buffer in the arena of the device that runs."""
        home = self.homes[self.running.device]
        self._describe(value, model.Base("arena", home), offset, size)
        self.segments[home].ends.append(offset + size)

    def _number(self, value: Value) -> int:
        """The number of a buffer; a result's is given at its first use, when the symbols in its dims are known."""
        if value not in self.numbers:
            place = list[Value](self.host.program.written).index(value)
            self._describe(value, model.Base("output", place), Dim.constant(0), _bytes(value))
        return self.numbers[value]

    def _encode(self, operation: Operation) -> None:
        match operation:
            case Constant():
                kind, source = operation.type, self.running.source
                value = operation.value
                place = self.pool.place(
                    source.key(value),
                    kind.bytes.value,
                    lambda: source.evaluate(value).tobytes(),
                    ", ".join(operation.location.nodes),  # names of values are the text's, and no part of the program
                )
                self._describe(operation.result, model.Base("constant", place), Dim.constant(0), kind.bytes)
            case Alloc():
                if operation.offset is None:
                    raise CodegenError(f"program.alloc at {operation.location} has no offset; run program.plan-memory")
                self._place(operation.result, operation.offset, bytes_of(operation))
            case State():
                state = model.Base("state", self.states)
                self._describe(operation.result, state, Dim.constant(0), operation.type.bytes)
                self.states += 1
            case Loop():
                self._encode_loop(operation)
            case View():
                below = self.described[self._number(operation.x)]
                self._describe(operation.result, below.base, below.offset + operation.offset, bytes_of(operation))
            case Launch():
                self._now.steps.append(self._launch(operation))
            case Copy():
                source_number, target = self._number(operation.source), self._number(operation.target)
                self._now.steps.append(model.Copy(source_number, target, operation.when, operation.location.nodes))
            case Read():
                self._now.reads.append(self._read(operation))
            case Check():
                for formula in operation.where:
                    self._now.checks.append(model.Check(formula, _about(operation, operation.message)))
            case Call():
                self._call(operation)
            case _:
                raise CodegenError(f"{operation.name} at {operation.location} has no bytecode")

    def _call(self, call: Call) -> None:
        """A segment of the other device: its parameters behind its own buffers, copies to and from them around."""
        given = [self._number(b) for b in call.buffers]
        called = self.called[call.function.name]
        program, nodes = called.program, call.location.nodes
        self._open(called)
        end = arena_bytes(program)
        for parameter in program.parameters:
            self._place(parameter, end, _bytes(parameter))
            end = end + ceildiv(_bytes(parameter), ALIGNMENT) * ALIGNMENT
        own = [self.numbers[p] for p in program.parameters]
        count = len(program.inputs)
        self._now.steps += [model.Copy(g, o, nodes=nodes) for g, o in zip(given[:count], own, strict=False)]
        for operation in program.block.operations:
            self._encode(operation)
        self._now.steps += [model.Copy(o, g, nodes=nodes) for g, o in zip(given[count:], own[count:], strict=True)]
        self._open(self.host)

    def _launch(self, launch: Launch) -> model.Launch:
        number, kernel = self.running.kernels[launch.kernel.name]
        values = dict(zip(kernel.scalars, launch.scalars, strict=True))
        return model.Launch(
            number,
            tuple(self._number(b) for b in launch.buffers),
            launch.scalars,
            task_count(kernel).substitute(values),
            when=launch.when,
            nodes=launch.location.nodes,
        )

    def _read(self, read: Read) -> model.Read:
        kind = read.x.type
        assert isinstance(kind, BufferType)
        high = Dim.constant(model.INT64_MAX) if read.upper is None else read.upper
        message = _about(read, f"{read.symbol} is out of its range")
        number = self._number(read.x)
        return model.Read(read.symbol, number, Dim.constant(read.element), kind.dtype, read.lower, high, message)


def _sizes(parameter: Value) -> tuple[Dim, ...]:
    """The dims of a buffer, and its strides where these are not of its dims."""
    kind = parameter.type
    assert isinstance(kind, BufferType)
    return (*kind.dims, *(kind.strides or ()))


def _bytes(value: Value) -> Dim:
    assert isinstance(value.type, BufferType)
    return value.type.bytes


def _about(operation: Operation, message: str) -> str:
    """A message that names the ONNX node."""
    nodes = ", ".join(operation.location.nodes)
    return f"node {nodes!r}: {message}" if nodes else message


def describe_kernel(kernel: KernelFunc, entry: int, scratch_bytes: Dim, text: str, device: int = 0) -> model.Kernel:
    """What the runtime must know of a kernel."""
    outputs = len(kernel.parameters) - kernel.outputs
    buffers = []
    for place, parameter in enumerate(kernel.parameters):
        kind = parameter.type
        assert isinstance(kind, BufferType)
        buffers.append(model.KernelBuffer(kind.bytes, place >= outputs))
    sizes = [d for p in kernel.parameters for d in _sizes(p)]
    required = dict.fromkeys([*kernel.known.formulas(kernel.scalars), *sizes, *kernel.requires])
    sites = tuple(model.Site(check.message, check.node) for check in walk(kernel, KernelCheck))
    return model.Kernel(
        kernel.function_name,
        entry,
        tuple(buffers),
        kernel.scalars,
        scratch_bytes,
        tasks=task_count(kernel),
        requires=tuple(d for d in required if not d.is_constant),
        device=device,
        sites=sites,
        work=model.Work(*kernel.work) if kernel.work else None,
        text=text,
    )
