"""What a `.hrm` file holds, as frozen dataclasses: the compiler builds an `Artefact`, the reader gives one back.

    Artefact
    ├── signature: Signature          names, dtypes and dims of the inputs and outputs
    ├── variants: Variant ...         one a target preset, over the same constants
    │   ├── program: Program          what the host does
    │   │   └── segments: Segment ... plan (checks, buffers, arena), then steps, then what ends it: reads, a loop
    │   ├── kernels: Kernel ...       entries into the image, with what each needs
    │   └── image: bytes              position-independent machine code
    ├── constants: Constant ...       produced one at a time while the file is written
    └── metadata                      key, value

Every size, offset and count is a formula (`Dim`).  Formulas of a program are over *symbols*: those in the dims of
the inputs, and those that a `Read` or `Set` of an earlier segment binds.  A symbol is bound by the first input dim that
is that bare symbol; all other input dims are checked against their formulas when the model runs.
Formulas of a kernel are over its own scalars, by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from headrace.ir.dims import Dim
from headrace.ir.types import DType

Machine = Literal["x86-64", "aarch64", "any"]
ValueKind = Literal["tensor", "strings", "sequence", "optional"]
BaseKind = Literal["input", "output", "constant", "arena", "state"]
Bytes = bytes | bytearray | memoryview

INT64_MAX = 2**63 - 1
ANY_TASKS = Dim.constant(INT64_MAX)


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.  Format 1 can name every kind of value; its runtime runs tensors."""

    name: str
    dtype: DType
    dims: tuple[Dim, ...]
    kind: ValueKind = "tensor"


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class KernelBuffer:
    """One buffer parameter: the bytes that the kernel may touch, over the kernel's scalars."""

    bytes: Dim
    written: bool


@dataclass(frozen=True, slots=True)
class Site:
    """An error that a kernel can report: what is wrong, and which of the launch's nodes it is about."""

    message: str
    node: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """How much one launch does: arithmetic operations, and bytes of its buffers touched, over the scalars."""

    flops: Dim
    bytes: Dim


@dataclass(frozen=True, slots=True)
class Kernel:
    """An entry of the image.  A result of n > 0 means `sites[n - 1]`."""

    name: str
    entry: int  # byte offset in its device's image
    buffers: tuple[KernelBuffer, ...]
    scalars: tuple[str, ...] = ()
    scratch: Dim = field(default_factory=lambda: Dim.constant(0))  # bytes for each thread, over the scalars
    scratch_alignment: int = 64  # a power of two, at most 4096
    tasks: Dim = ANY_TASKS  # of a launch at most, over the scalars
    requires: tuple[Dim, ...] = ()  # formulas over the scalars that the kernel relies on to be at least 0
    device: int = 0  # whose image it is in
    sites: tuple[Site, ...] = ()
    work: Work | None = None  # for profiles
    text: str = ""  # the kernel as .hir, for `inspect`, or nothing


@dataclass(frozen=True, slots=True)
class Base:
    """What a buffer lies in: input, output or constant `index` of the artefact, the arena of segment `index`, or state
    `index` of the program, which grows as buffers ask for it and keeps what it holds."""

    kind: BaseKind
    index: int


@dataclass(frozen=True, slots=True)
class Buffer:
    """`bytes` from `offset` on within `base`.  Both must lie inside; the plan checks it."""

    base: Base
    offset: Dim
    bytes: Dim


@dataclass(frozen=True, slots=True)
class Check:
    """The plan fails with `message` (which names the ONNX node) unless `value >= 0`."""

    value: Dim
    message: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Run a kernel on [0, tasks).  Buffers are indices into the program's buffers, those of all segments in order."""

    kernel: int
    buffers: tuple[int, ...]
    scalars: tuple[Dim, ...]
    tasks: Dim
    grain: Dim = field(default_factory=lambda: Dim.constant(1))  # fewest tasks worth a thread of their own
    when: Dim | None = None  # launched only where this is >= 0: chooses among guarded kernels
    nodes: tuple[str, ...] = ()  # the ONNX nodes that it computes, for messages and profiles


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy one whole buffer to another of the same size; they may not overlap."""

    source: int
    target: int
    when: Dim | None = None
    nodes: tuple[str, ...] = ()


Step = Launch | Copy


@dataclass(frozen=True, slots=True)
class Read:
    """Bind `symbol`, for later segments, to an integer element of a buffer; outside [low, high] is an error."""

    symbol: str
    buffer: int
    element: Dim
    dtype: DType  # an integer type or bool
    low: Dim
    high: Dim = field(default_factory=lambda: Dim.constant(INT64_MAX))
    message: str = ""  # names the ONNX node


@dataclass(frozen=True, slots=True)
class Set:
    """Bind `symbol`, for later segments, to a formula; a symbol of a loop, once more at the end of its body."""

    symbol: str
    value: Dim


@dataclass(frozen=True, slots=True)
class Loop:
    """The next `segments` segments, and then this one again, while `condition` >= 0; `limit` times at most."""

    limit: Dim
    condition: Dim
    segments: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A plan, evaluated once for each set of symbols, and the steps that follow it.

    Checks come first and in order: a formula that divides is evaluated after the checks before it.  A buffer may
    be used by its own segment and by every later one; `arena` is how large the segment's arena is.  Launches run on
    `device`, where the segment's arena and the constants among its buffers lie; inputs, outputs and states lie on
    device 0.  A copy may lead from device 0 to another, or back.

    A segment with a loop holds nothing but formulas.  What it and the loop's body define is unknown behind the loop.
    """

    checks: tuple[Check, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    arena: Dim = field(default_factory=lambda: Dim.constant(0))
    steps: tuple[Step, ...] = ()
    reads: tuple[Read | Set, ...] = ()  # not in the last segment
    device: int = 0
    loop: Loop | None = None


@dataclass(frozen=True, slots=True)
class Program:
    segments: tuple[Segment, ...]
    states: int = 0

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffers of all segments, as `Launch` numbers them."""
        return tuple(buffer for segment in self.segments for buffer in segment.buffers)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Those that reads and sets bind, in order."""
        return tuple(dict.fromkeys(bound.symbol for segment in self.segments for bound in segment.reads))

    @property
    def launches(self) -> tuple[Launch, ...]:
        return tuple(step for segment in self.segments for step in segment.steps if isinstance(step, Launch))


@dataclass(frozen=True, slots=True)
class Device:
    """A machine that runs some of the kernels: its driver, and the code as that takes it."""

    driver: str
    image: bytes


@dataclass(frozen=True, slots=True)
class Variant:
    """The model for one target.  `features` are LLVM's names without + (see `features`); the driver runs it.

    `devices` are those beside the one of `driver` and `image`, which is number 0 and holds inputs and outputs.
    """

    preset: str  # what users type: x86-64-v3
    machine: Machine
    features: tuple[str, ...]
    program: Program
    kernels: tuple[Kernel, ...]
    image: bytes
    driver: str = "cpu"
    devices: tuple[Device, ...] = ()

    def image_of(self, device: int) -> bytes:
        return self.devices[device - 1].image if device else self.image


@dataclass(frozen=True)
class Constant:
    """A blob in the layout that kernels read.  `produce` is called once, when its turn to be written comes."""

    size: int
    produce: Callable[[], Bytes]
    label: str = ""  # what it is, for `inspect`: conv1.weight


@dataclass(frozen=True)
class Artefact:
    """A whole file.  Variants may come in any order: the writer puts the most demanding first, as loaders want them."""

    signature: Signature
    variants: tuple[Variant, ...]
    constants: tuple[Constant, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()  # compiler, options, source digest, licences; sorted by the writer
