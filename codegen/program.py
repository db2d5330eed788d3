"""The host's program as the artefact holds it.

In: a planned `program.func`, its kernels as loops, and a function that evaluates constants.  Out: signature,
segments and constants of `headrace.codegen.artefact.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headrace.codegen.artefact import model
from headrace.ir.access import SymbolRef
from headrace.ir.constants import Array, ConstantRef
from headrace.ir.core import Operation, Value, walk
from headrace.ir.dims import Dim, dim_max
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import Check as KernelCheck
from headrace.ir.kernel.tasks import task_count
from headrace.ir.program.ops.program import (
    Alloc,
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


def encode_program(
    program: ProgramFunc, kernels: Mapping[str, tuple[int, KernelFunc]], pool: ConstantPool, source: ConstantSource
) -> model.Program:
    """`kernels` gives the number of each kernel.  Raises CodegenError for an operation that has no bytecode."""
    return _Encoder(program, kernels, pool, source).encode()


class _Encoder:
    """Walks the program once, cutting it into segments at the reads and around loops."""

    def __init__(
        self,
        program: ProgramFunc,
        kernels: Mapping[str, tuple[int, KernelFunc]],
        pool: ConstantPool,
        source: ConstantSource,
    ) -> None:
        self.program = program
        self.kernels = kernels
        self.pool = pool
        self.source = source
        self.numbers: dict[Value, int] = {}
        self.described: list[model.Buffer] = []
        self.done: list[model.Segment] = []
        self.states = 0
        self._open()

    def _open(self) -> None:
        self.first = len(self.described)
        self.checks: list[model.Check] = []
        self.steps: list[model.Step] = []
        self.reads: list[model.Read | model.Set] = []
        self.ends: list[Dim] = []

    def _close(self) -> None:
        arena = self.program.known.simplify(dim_max(*self.ends)) if self.ends else Dim.constant(0)
        buffers = tuple(self.described[self.first :])
        self.done.append(model.Segment(tuple(self.checks), buffers, arena, tuple(self.steps), tuple(self.reads)))
        self._open()

    def encode(self) -> model.Program:
        for place, parameter in enumerate(self.program.inputs):
            self._describe(parameter, model.Base("input", place), Dim.constant(0), _bytes(parameter))
        self._encode_block(self.program.block.operations)
        self._close()
        return model.Program(tuple(self.done), self.states)

    def _encode_block(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if self.reads and not isinstance(operation, Read):
                self._close()
            self._encode(operation)

    def _encode_loop(self, loop: Loop) -> None:
        """A segment that sets the symbols, one that decides whether another turn is due, then the body's."""
        self.reads += [model.Set(s, d) for s, d in zip(loop.symbols, loop.starts, strict=True)]
        self._close()
        head = len(self.done)
        self.done.append(model.Segment())
        self._encode_block(loop.body.block.body)
        if self.reads:
            self._close()
        self.reads += [model.Set(s, d) for s, d in zip(loop.symbols, loop.next.values, strict=True)]
        self._close()
        turn = model.Loop(loop.limit, loop.condition, len(self.done) - head - 1)
        self.done[head] = model.Segment(loop=turn)

    def _describe(self, value: Value, base: model.Base, offset: Dim, size: Dim) -> None:
        self.numbers[value] = len(self.described)
        self.described.append(model.Buffer(base, offset, size))

    def _number(self, value: Value) -> int:
        """The number of a buffer; a result's is given at its first use, when the symbols in its dims are known."""
        if value not in self.numbers:
            place = list[Value](self.program.written).index(value)
            self._describe(value, model.Base("output", place), Dim.constant(0), _bytes(value))
        return self.numbers[value]

    def _encode(self, operation: Operation) -> None:
        match operation:
            case Constant():
                kind = operation.type
                value = operation.value
                place = self.pool.place(
                    self.source.key(value),
                    kind.bytes.value,
                    lambda: self.source.evaluate(value).tobytes(),
                    ", ".join(operation.location.nodes),  # names of values are the text's, and no part of the program
                )
                self._describe(operation.result, model.Base("constant", place), Dim.constant(0), kind.bytes)
            case Alloc():
                if operation.offset is None:
                    raise CodegenError(f"program.alloc at {operation.location} has no offset; run program.plan-memory")
                arena = model.Base("arena", len(self.done))
                self._describe(operation.result, arena, operation.offset, bytes_of(operation))
                self.ends.append(operation.offset + bytes_of(operation))
            case State():
                self._describe(
                    operation.result, model.Base("state", self.states), Dim.constant(0), operation.type.bytes
                )
                self.states += 1
            case Loop():
                self._encode_loop(operation)
            case View():
                below = self.described[self._number(operation.x)]
                self._describe(operation.result, below.base, below.offset + operation.offset, bytes_of(operation))
            case Launch():
                self.steps.append(self._launch(operation))
            case Copy():
                source, target = self._number(operation.source), self._number(operation.target)
                self.steps.append(model.Copy(source, target, operation.when, operation.location.nodes))
            case Read():
                self.reads.append(self._read(operation))
            case Check():
                for formula in operation.where:
                    self.checks.append(model.Check(formula, _about(operation, operation.message)))
            case _:
                raise CodegenError(f"{operation.name} at {operation.location} has no bytecode")

    def _launch(self, launch: Launch) -> model.Launch:
        number, kernel = self.kernels[launch.kernel.name]
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


def describe_kernel(kernel: KernelFunc, entry: int, scratch_bytes: Dim, text: str) -> model.Kernel:
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
        sites=sites,
        work=model.Work(*kernel.work) if kernel.work else None,
        text=text,
    )
