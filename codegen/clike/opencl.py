"""Kernels in OpenCL C 1.2: one function each, for one-dimensional ranges of work.

In: kernels as loops.  Out: the text of one program.  `kernel.parallel` over grid axes is the range of workgroups, over
thread axes the work-items of one; both are counted flat, the last axis fastest.

    kernel void kernel_f(global uchar *base0, long at0, ..., long n, ..., global uchar *scratch, global long *report,
                         int launch)

Parameters are memory objects, each with the byte offset of the buffer in it; then the scalars; then scratch memory, as
many bytes as `scratch_bytes` says for each workgroup of the range; then three integers, the first of them 0: where a
`kernel.check` failed, the site of one that did, in the upper half `launch`, and its values.  A launch has `task_count`
workgroups of `group_size` work-items; it may be split into several with offsets.

Between two loops over threads stands a barrier, as the dialect has it: the first is over before the second begins.
What stands beside these loops runs once for a workgroup; here every work-item does it, so it must be loops,
conditions, formulas and reads of inputs.  Without any loop over threads a workgroup is one work-item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from headrace.codegen.clike.arithmetic import muladd
from headrace.codegen.clike.body import Body
from headrace.codegen.clike.formulas import HELPERS
from headrace.codegen.clike.helpers import Helpers
from headrace.codegen.clike.language import OPENCL
from headrace.codegen.clike.types import c_type, kernel_name, literal
from headrace.codegen.scratch import check_sites, scratch_bytes, scratch_offsets
from headrace.ir.access import Access
from headrace.ir.core import Operation, Value, contains, producer, walk
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import control, convert, lookup, memory, scalar
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import grid_axes
from headrace.ir.types import BufferType, element_dtype, lanes_of

PRELUDE = """\
#pragma OPENCL FP_CONTRACT OFF
typedef char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
#define INT8_MIN CHAR_MIN
#define INT8_MAX CHAR_MAX
#define UINT8_MAX UCHAR_MAX
#define INT16_MIN SHRT_MIN
#define INT16_MAX SHRT_MAX
#define UINT16_MAX USHRT_MAX
#define INT32_MIN INT_MIN
#define INT32_MAX INT_MAX
#define UINT32_MAX UINT_MAX
#define INT64_MIN LONG_MIN
#define INT64_MAX LONG_MAX
#define UINT64_MAX ULONG_MAX
#define INT64_C(x) x##L
#define UINT64_C(x) x##UL
"""
FENCE = "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);"


def emit_opencl(functions: Sequence[KernelFunc]) -> str:
    """One program with a kernel for each function, in order.  Raises CodegenError."""
    helpers = Helpers(OPENCL)
    bodies = [_text(f, helpers) for f in functions]
    return "\n".join([PRELUDE, HELPERS, *helpers.texts.values(), *bodies])


VECTORS = (2, 4, 8, 16)  # lanes of the language's own
_VECTOR_OF = {
    "float": "float", "double": "double", "int64_t": "long", "int32_t": "int", "int16_t": "short", "int8_t": "char",
    "uint64_t": "ulong", "uint32_t": "uint", "uint16_t": "ushort", "uint8_t": "uchar",
}  # fmt: skip
_WHOLE: dict[type[Operation], str] = {
    scalar.Add: "{} + {}",
    scalar.Sub: "{} - {}",
    scalar.Mul: "{} * {}",
    scalar.Div: "{} / {}",
    scalar.Neg: "-{}",
    scalar.Abs: "fabs({})",
    scalar.Sqrt: "sqrt({})",
    scalar.Floor: "floor({})",
    scalar.Ceil: "ceil({})",
    scalar.Round: "rint({})",
    scalar.Fma: "fma({}, {}, {})",
    scalar.Max: "((({0} > {1}) | ({0} != {0})) ? {0} : {1})",  # NaN where one is
    scalar.Min: "((({0} < {1}) | ({0} != {0})) ? {0} : {1})",
}


def group_size(function: KernelFunc) -> int:
    """Work-items of a workgroup: as many as the widest loop over threads has.  Raises CodegenError."""
    return max((_threads(p) for p in _thread_loops(function)), default=1)


def _whole(name: str) -> str:
    """The vector that a name of lanes stands for."""
    return name.removesuffix(".s") + ".v"


def _thread_loops(function: KernelFunc) -> list[control.Parallel]:
    return [p for p in walk(function, control.Parallel) if p.axes and p.axes[0].kind == "thread"]


def _threads(loop: control.Parallel) -> int:
    if not all(a.extent.is_constant for a in loop.axes):
        found = ", ".join(str(a) for a in loop.axes)
        raise CodegenError(f"a loop over {found}; the extent of a thread axis must be a constant")
    return prod(a.extent.value for a in loop.axes)


def _text(function: KernelFunc, helpers: Helpers) -> str:
    try:
        return _Function(function, helpers).text()
    except CodegenError as error:
        raise CodegenError(f"kernel @{function.function_name}: {error}") from None


@dataclass
class _Function(Body):
    """Prints one kernel."""

    spaces: dict[Value, str] = field(default_factory=dict)  # of a buffer, as a pointer to it says

    def text(self) -> str:
        function = self.function
        parameters, self.size = list[str](), group_size(function)
        self.in_threads = self.size == 1 and not _thread_loops(function)
        for place, parameter in enumerate(function.parameters):
            name = self.names[parameter] = self._unique(parameter.hint or f"p{place}")
            parameters += [f"global uchar *base{place}", f"long at{place}"]
            constness = "" if parameter in function.written else "const "
            self.spaces[parameter] = f"global {constness}"
            kind = f"{self.spaces[parameter]}{self._element(element_dtype(parameter.type))} *"
            self._line(f"{kind}const {name} = ({kind})(base{place} + at{place});")
        for symbol in function.scalars:
            self.symbols[symbol] = self._unique(symbol)
            parameters.append(f"long {self.symbols[symbol]}")
        for alloc in walk(function, memory.Alloc):
            if alloc.type.space == "shared":  # the language wants these at the top
                self.spaces[alloc.result] = "local "
                self._array("local ", alloc)
        self._line(f"const int64_t group = get_global_offset(0) / {self.size} + get_group_id(0);")
        self._line("const int64_t thread = get_local_id(0);")
        axes = grid_axes(function)
        if axes:
            self._decode(axes, "group", "rest")
        self._block(function.block.operations[0].regions[0].block if axes else function.block)
        head = f"void {kernel_name(function.function_name)}"
        size = f"kernel __attribute__((reqd_work_group_size({self.size}, 1, 1)))"
        given = ", ".join([*parameters, "global uchar *scratch", "global long *report", "int launch"])
        return "\n".join([size, f"{head}({given}) {{", *self.lines, "}", ""])

    # ---- what runs where ---------------------------------------------------------------------------------

    def _concurrent(self, operation: control.Parallel) -> None:
        if operation.axes[0].kind != "thread" or (self.in_threads):
            super()._concurrent(operation)
        threads = _threads(operation)
        if threads < self.size and contains(operation, control.Barrier):
            raise CodegenError(f"a barrier among {threads} of the {self.size} threads of a workgroup")
        self._line(f"if (thread < {threads}) {{" if threads < self.size else "{")
        self.in_threads = True
        with self._deeper():
            self._decode(operation.axes, "thread", "rest")
            self._block(operation.body.block)
        self.in_threads = False
        self._line("}")
        if not self._is_last(operation):
            self._line(FENCE)

    def _is_last(self, operation: Operation) -> bool:
        """Whether nothing of the kernel follows."""
        while operation is not self.function:
            block, above = operation.parent, operation.parent_op
            assert block is not None
            assert above is not None
            if block.operations[-1] is not operation or isinstance(above, control.For):
                return False
            operation = above
        return True

    def _device(self, operation: Operation) -> None:
        match operation:
            case control.Barrier():
                self._line(FENCE)
            case memory.CopyAsync():
                self._copy(operation)
            case memory.Wait():
                pass  # the copy was done where it was started
            case _:
                super()._device(operation)

    def _copy(self, copy: memory.CopyAsync) -> None:
        """By the work-item that asks for it; OpenCL's own asynchronous copies are asked for by a whole workgroup."""
        name = self._unique("each")
        self._line(f"for (int64_t {name} = 0; {name} < {self._formula(copy.count)}; {name}++)")
        steps = [0] * (len(copy.source.map.indices) - 1) + [1]
        source, target = (self._place(a, steps, name) for a in (copy.source, copy.target))
        self._line(f"    {target} = {source};")

    def _operation(self, operation: Operation) -> None:
        if not self.in_threads:
            writes = isinstance(operation, memory.Store | memory.CopyAsync | control.Barrier)
            reads = isinstance(operation, memory.Load) and not self._is_input(operation.source.value)
            if writes or reads:
                raise CodegenError(f"{operation.name} at {operation.location} stands outside of a loop over threads")
        super()._operation(operation)

    def _is_input(self, buffer: Value) -> bool:
        return buffer in self.function.inputs

    def _loops(self, operation: control.For | control.Parallel) -> None:
        if operation.axes and operation.axes[0].kind == "unroll":
            self.lines.append("#pragma unroll")  # register buffers become registers only where indices are constants
        super()._loops(operation)

    # ---- vectors -----------------------------------------------------------------------------------------

    def _define(self, operation: Operation, expression: Callable[[str], str]) -> None:
        """A vector that the language has is computed as a whole where the operation allows it, else lane by lane."""
        kind = operation.result.type
        if lanes_of(kind) not in VECTORS or element_dtype(kind).kind == "bool":
            super()._define(operation, expression)
            return
        name, whole = self._vector(operation), self._as_a_whole(operation)
        if whole is not None:
            self._line(f"{name}.v = {whole};")
            return
        self.lines.append("#pragma unroll")
        self._line(f"for (int lane = 0; lane < {lanes_of(kind)}; lane++)")
        self._line(f"    {name}.s[lane] = {expression('lane')};")

    def _vector(self, operation: Operation) -> str:
        """Declares the result, a union of a vector and its lanes; gives the union's name."""
        dtype, lanes = element_dtype(operation.result.type), lanes_of(operation.result.type)
        union, kind = f"hr_{dtype}x{lanes}", _VECTOR_OF[c_type(dtype)]
        self.helpers.use(
            union, lambda: f"typedef union {{\n    {kind}{lanes} v;\n    {kind} s[{lanes}];\n}} {union};\n"
        )
        name = self._unique(operation.result.hint or "v")
        self._line(f"{union} {name};")
        self.names[operation.result] = f"{name}.s"
        return name

    def _as_a_whole(self, operation: Operation) -> str | None:
        """An expression on vectors; None where only lanes have one."""
        dtype, lanes = element_dtype(operation.result.type), lanes_of(operation.result.type)
        if not dtype.is_float or dtype.is_half:
            return None
        kind = f"{_VECTOR_OF[c_type(dtype)]}{lanes}"
        match operation:
            case convert.Constant():
                return f"({kind})({literal(operation.value, dtype)})"
            case convert.Broadcast():
                return f"({kind})({self.names[operation.x]})"
            case scalar.MulAdd():
                name = muladd(self.helpers, f"{dtype}x{lanes}", kind)
                return f"{name}({', '.join(_whole(self.names[o]) for o in operation.operands)})"
        form = _WHOLE.get(type(operation))
        if form is None:
            return None
        return form.format(*(_whole(self.names[o]) for o in operation.operands))

    # ---- memory ------------------------------------------------------------------------------------------

    def _alloc(self, alloc: memory.Alloc) -> None:
        space = alloc.type.space
        if space == "shared":
            return  # declared already
        if space == "register" or (space == "stack" and self.size > 1 and self.in_threads):
            if not all(d.is_constant for d in alloc.type.dims):
                raise CodegenError(f"{alloc.type} at {alloc.location} is a thread's own, but not of constant size")
            self.spaces[alloc.result] = ""
            self._array("", alloc)
            return
        if space != "stack":
            super()._alloc(alloc)
        self.spaces[alloc.result] = "global "
        kind, name = f"global {self._element(alloc.type.dtype)} *", self._unique(alloc.result.hint or "buffer")
        self.names[alloc.result] = name
        offset = self._formula(scratch_offsets(self.function)[alloc])
        bytes_ = self._formula(scratch_bytes(self.function))
        self._line(f"{kind}const {name} = ({kind})(scratch + get_group_id(0)*({bytes_}) + {offset});")

    def _load(self, load: memory.Load) -> None:
        test = self._test_of_all(load.mask)
        if test is None or not self._is_vector(load.source.value, load.lanes, load.lane_steps):
            super()._load(load)
            return
        place = self._vector_at(load.source, load.lane_steps, load.lanes)
        if load.mask is not None:
            dtype = element_dtype(load.result.type)
            place = f"{test} ? {place} : ({_VECTOR_OF[c_type(dtype)]}{load.lanes})({literal(load.otherwise, dtype)})"
        self._line(f"{self._vector(load)}.v = {place};")

    def _store(self, store: memory.Store) -> None:
        test = self._test_of_all(store.mask)
        if test is None or not self._is_vector(store.target.value, store.lanes, store.lane_steps):
            super()._store(store)
            return
        place = self._vector_at(store.target, store.lane_steps, store.lanes)
        guard = "" if store.mask is None else f"if ({test}) "
        self._line(f"{guard}{place} = {_whole(self.names[store.value])};")

    def _test_of_all(self, mask: Value | None) -> str | None:
        """What decides for all lanes; None where each has a mask of its own."""
        if mask is None:
            return "true"
        spread = producer(mask, convert.Broadcast)
        return None if spread is None else self.names[spread.x]

    def _vector_at(self, access: Access, steps: Sequence[int], lanes: int) -> str:
        """Neighbouring elements as one vector.

        As the language's own vload and vstore, but one access to whoever optimises it: these are functions, written in
        parts, and then so are the registers that they fill.
        """
        buffer = access.value
        dtype = element_dtype(buffer.type)
        name, kind = f"hr_{dtype}x{lanes}_at", _VECTOR_OF[c_type(dtype)]
        attributes = f"__attribute__((packed, aligned({dtype.bytes})))"
        self.helpers.use(name, lambda: f"typedef struct {attributes} {{\n    {kind}{lanes} v;\n}} {name};\n")
        return f"(({self.spaces[buffer]}{name} *)&{self._place(access, steps, '0')})->v"

    def _is_vector(self, buffer: Value, lanes: int, steps: Sequence[int]) -> bool:
        """Whether one of the language's vectors holds these neighbouring elements."""
        kind = buffer.type
        assert isinstance(kind, BufferType)
        in_line = lanes > 1 and kind.element_strides[-1] == 1 and not any(steps[:-1]) and steps[-1] == 1
        return in_line and lanes in VECTORS and kind.dtype.kind != "bool"

    def _failed(self, check: lookup.Check) -> None:
        if self.in_threads and contains(self.function, control.Barrier):
            raise CodegenError(f"a check at {check.location} that some threads of a workgroup may not come back from")
        self._line(
            f"if (atomic_cmpxchg((volatile global int *)report, 0, {check_sites(self.function)[check]}) == 0) {{"
        )
        self._line("    ((global int *)report)[1] = launch;")
        for number, value in enumerate(check.values, 1):
            self._line(f"    report[{number}] = {self.names[value]};")
        self._line("}")
        self._line("return;")
