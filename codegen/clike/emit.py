"""The structure of a kernel in C: function, task loop, loops, conditions, loads and stores.

In: kernels as loops.  Out: one C11 file.  A structured operation, or one that needs a device (grid, barrier,
asynchronous copy), raises CodegenError: only what a CPU runs has a place in plain C.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headrace.codegen.clike.arithmetic import Helpers, lane_expression
from headrace.codegen.clike.formulas import HELPERS, c_formula
from headrace.codegen.clike.types import c_type, identifier, kernel_name, literal
from headrace.codegen.scratch import check_sites, scratch_offsets
from headrace.ir.access import Access, Axis
from headrace.ir.core import Block, Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import control, convert, lookup, memory, scalar
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import task_axes
from headrace.ir.types import BufferType, DType, element_dtype, lanes_of

INCLUDES = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n"
PARAMETERS = "void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end"


def emit_c(functions: Sequence[KernelFunc]) -> str:
    """One file with a function for each kernel, in order.  Raises CodegenError."""
    helpers = Helpers()
    bodies = [_text(f, helpers) for f in functions]
    parts = [INCLUDES, HELPERS, *helpers.texts.values(), *bodies]
    return "\n".join(parts)


def _text(function: KernelFunc, helpers: Helpers) -> str:
    try:
        return _Function(function, helpers).text()
    except CodegenError as error:
        raise CodegenError(f"kernel @{function.function_name}: {error}") from None


@dataclass(slots=True)
class _Function:
    """Prints one kernel."""

    function: KernelFunc
    helpers: Helpers
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    names: dict[Value, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def text(self) -> str:
        function = self.function
        given = {}  # the declaration of each scalar and parameter, by its name
        for place, symbol in enumerate(function.scalars):
            name = self.symbols[symbol] = self._unique(symbol)
            given[name] = f"    const int64_t {name} = scalars[{place}];"
        for place, parameter in enumerate(function.parameters):
            name = self.names[parameter] = self._unique(parameter.hint or f"p{place}")
            constness = "" if parameter in function.written else "const "
            kind = c_type(element_dtype(parameter.type))
            given[name] = f"    {constness}{kind} *const {name} = buffers[{place}];"
        self._body()
        words = set(re.findall(r"\w+", "\n".join(self.lines)))
        declared = [line for name, line in given.items() if name in words]
        opening = "\n".join(declared)
        unused = [f"    (void){p};" for p in ("buffers", "scalars") if p not in opening]
        unused += ["    (void)scratch;"] * ("scratch" not in words)
        head = f"int32_t {kernel_name(function.function_name)}({PARAMETERS})"
        return "\n".join([f"{head};", f"{head} {{", *unused, *declared, *self.lines, "    return 0;", "}", ""])

    def _body(self) -> None:
        axes = task_axes(self.function)
        self._line("for (int64_t task = begin; task < end; task++) {")
        self.depth += 1
        if axes:
            self._decode(axes)
            (outer,) = self.function.block.operations
            self._block(outer.regions[0].block)
        else:
            self._block(self.function.block)
        self.depth -= 1
        self._line("}")

    def _decode(self, axes: Sequence[Axis]) -> None:
        """The values of the task axes from the flat task number, the last fastest."""
        self._line("int64_t rest = task;")
        for axis in reversed(axes):
            name = self._axis(axis)
            extent = c_formula(axis.extent, self.symbols)
            if axis is axes[0]:
                self._line(f"const int64_t {name} = rest;")
            else:
                self._line(f"const int64_t {name} = rest % ({extent});")
                self._line(f"rest /= {extent if extent.isalnum() else f'({extent})'};")
            self._line(f"(void){name};")

    # ---- statements --------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _unique(self, wish: str) -> str:
        base = identifier(wish)
        name, number = base, 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name

    def _axis(self, axis: Axis) -> str:
        self.symbols[axis.name] = self._unique(axis.name)
        return self.symbols[axis.name]

    def _block(self, block: Block) -> None:
        for operation in block.operations:
            self._operation(operation)

    def _operation(self, operation: Operation) -> None:
        match operation:
            case control.For() | control.Parallel():
                self._loops(operation)
            case control.If():
                self._if(operation)
            case lookup.Check():
                self._check(operation)
            case lookup.Let():
                self._let(operation)
            case memory.Alloc():
                self._alloc(operation)
            case memory.Load():
                self._load(operation)
            case memory.Store():
                self._store(operation)
            case memory.Prefetch():
                pass  # a hint that C has no word for
            case convert.Constant():
                self._define(operation, lambda lane: literal(operation.value, element_dtype(operation.result.type)))
            case convert.Index():
                self._index(operation)
            case convert.Mask():
                lower, upper = self._formula(operation.lower), self._formula(operation.upper)
                self._define(operation, lambda lane: f"{lower} <= {lane} && {lane} < {upper}")
            case convert.Holds():
                test = self._conditions(operation.where)
                self._define(operation, lambda lane: test)
            case convert.Broadcast():
                self._define(operation, lambda lane: self.names[operation.x])
            case convert.TakeLanes():
                self._define(operation, lambda lane: f"{self.names[operation.x]}[{_moved(lane, operation.start)}]")
            case convert.ReduceLanes():
                self._reduce_lanes(operation)
            case scalar.Pointwise() | scalar.Select() | scalar.Compare() | convert.Cast() | convert.Bitcast():
                self._define(
                    operation,
                    lambda lane: lane_expression(
                        operation, [self._lane(o, lane) for o in operation.operands], self.helpers
                    ),
                )
            case _:
                raise CodegenError(f"{operation.name} at {operation.location} has no C form; expected loops for a CPU")

    def _loops(self, operation: control.For | control.Parallel) -> None:
        if any(a.kind in ("grid", "thread", "task") for a in operation.axes):
            kinds = ", ".join(f"{a.name}: {a.kind}" for a in operation.axes)
            raise CodegenError(f"a loop over {kinds} inside the kernel has no C form")
        for axis in operation.axes:
            extent = self._formula(axis.extent)
            name = self._axis(axis)
            self._line(f"for (int64_t {name} = 0; {name} < {extent}; {name}++) {{")
            self.depth += 1
        self._block(operation.regions[0].block)
        for _ in operation.axes:
            self.depth -= 1
            self._line("}")

    def _if(self, operation: control.If) -> None:
        tests = [] if operation.condition is None else [self.names[operation.condition]]
        tests += [self._conditions(operation.where)] if operation.where or not tests else []
        self._line(f"if ({' && '.join(tests)}) {{")
        self._indented(operation.then.block)
        if operation.otherwise.block.operations:
            self._line("} else {")
            self._indented(operation.otherwise.block)
        self._line("}")

    def _check(self, check: lookup.Check) -> None:
        self._line(f"if (!{self.names[check.condition]}) {{")
        self.depth += 1
        for number, value in enumerate(check.values):
            self._line(f"((int64_t *)scratch)[{number}] = {self.names[value]};")
        self._line(f"return {check_sites(self.function)[check]};")
        self.depth -= 1
        self._line("}")

    def _let(self, let: lookup.Let) -> None:
        self._line("{")
        self.depth += 1
        self._line(f"const int64_t {self._axis(let.axis)} = {self.names[let.index]};")
        self._line(f"(void){self.symbols[let.axis.name]};")
        self._block(let.body.block)
        self.depth -= 1
        self._line("}")

    def _indented(self, block: Block) -> None:
        self.depth += 1
        self._block(block)
        self.depth -= 1

    def _alloc(self, alloc: memory.Alloc) -> None:
        kind, name = c_type(alloc.type.dtype), self._unique(alloc.result.hint or "buffer")
        self.names[alloc.result] = name
        if alloc.type.space == "register":
            self._line(f"{kind} {name}[{max(alloc.type.elements.value, 1)}];")
        elif alloc.type.space == "stack":
            offset = scratch_offsets(self.function)[alloc]
            self._line(f"{kind} *const {name} = ({kind} *)((char *)scratch + {self._formula(offset)});")
        else:
            raise CodegenError(f"a buffer in {alloc.type.space} memory needs a device")
        if not any(isinstance(user, memory.Load) for user in alloc.result.users):
            self._line(f"(void){name};")  # or compilers warn of what is only written

    # ---- values ------------------------------------------------------------------------------------------

    def _formula(self, dim: Dim) -> str:
        return c_formula(dim, self.symbols)

    def _conditions(self, where: Sequence[Dim]) -> str:
        return " && ".join(f"{self._formula(w)} >= 0" for w in where) or "true"

    def _lane(self, value: Value, lane: str) -> str:
        return self.names[value] if lanes_of(value.type) == 1 else f"{self.names[value]}[{lane}]"

    def _define(self, operation: Operation, expression: Callable[[str], str]) -> None:
        """Declares the result and sets each of its lanes."""
        result = operation.result
        kind, lanes = c_type(element_dtype(result.type)), lanes_of(result.type)
        name = self._unique(result.hint or "v")
        if lanes == 1:
            self._line(f"const {kind} {name} = {expression('0')};")
        else:
            self._line(f"{kind} {name}[{lanes}];")
            self._line(f"for (int lane = 0; lane < {lanes}; lane++)")
            self._line(f"    {name}[lane] = {expression('lane')};")
        if not result.uses:
            self._line(f"(void){name};")
        self.names[result] = name

    def _index(self, index: convert.Index) -> None:
        value, kind = self._formula(index.value), c_type(index.dtype)
        step = "" if index.lanes == 1 else f" + lane*{index.step}"
        self._define(index, lambda lane: f"({kind})({value}{step})")

    def _reduce_lanes(self, reduce: convert.ReduceLanes) -> None:
        name = self._unique(reduce.result.hint or "v")
        source, dtype = self.names[reduce.x], element_dtype(reduce.x.type)
        self._line(f"{c_type(dtype)} {name} = {source}[0];")
        self._line(f"for (int lane = 1; lane < {lanes_of(reduce.x.type)}; lane++)")
        self._line(f"    {name} = {_fold(reduce, name, f'{source}[lane]', dtype, self.helpers)};")
        self.names[reduce.result] = name

    # ---- memory ------------------------------------------------------------------------------------------

    def _place(self, access: Access, steps: Sequence[int], lane: str) -> str:
        """The element of one lane."""
        kind = access.value.type
        assert isinstance(kind, BufferType)
        strides = kind.element_strides
        offset = sum((i * s for i, s in zip(access.map.indices, strides, strict=True)), start=Dim.constant(0))
        step = sum((s * t for s, t in zip(strides, steps, strict=True)), start=Dim.constant(0))
        text = self._formula(offset)
        if lane != "0" and step != 0:
            text += f" + {lane}" + ("" if step == 1 else f"*({self._formula(step)})")
        return f"{self.names[access.value]}[{text}]"

    def _load(self, load: memory.Load) -> None:
        other = literal(load.otherwise, element_dtype(load.result.type))

        def element(lane: str) -> str:
            place = self._place(load.source, load.lane_steps, lane)
            return place if load.mask is None else f"{self._lane(load.mask, lane)} ? {place} : {other}"

        self._define(load, element)

    def _store(self, store: memory.Store) -> None:
        if store.lanes == 1:
            guard = "" if store.mask is None else f"if ({self.names[store.mask]}) "
            self._line(f"{guard}{self._place(store.target, store.lane_steps, '0')} = {self.names[store.value]};")
            return
        self._line(f"for (int lane = 0; lane < {store.lanes}; lane++)")
        guard = "" if store.mask is None else f"if ({self._lane(store.mask, 'lane')}) "
        self._line(
            f"    {guard}{self._place(store.target, store.lane_steps, 'lane')} = {self.names[store.value]}[lane];"
        )


def _moved(lane: str, start: int) -> str:
    return lane if not start else str(start) if lane == "0" else f"{lane} + {start}"


def _fold(reduce: convert.ReduceLanes, left: str, right: str, dtype: DType, helpers: Helpers) -> str:
    """One step of a fold over lanes, by the operation of that name."""
    if dtype.kind == "bool":
        if reduce.kind not in ("min", "max"):
            raise CodegenError(f"kernel.reduce_lanes of kind {reduce.kind} on bool; expected min or max")
        return f"{left} {'&&' if reduce.kind == 'min' else '||'} {right}"
    kinds = {"add": scalar.Add, "mul": scalar.Mul, "min": scalar.Min, "max": scalar.Max}
    step = kinds[reduce.kind](reduce.result, reduce.result)
    text = lane_expression(step, [left, right], helpers)
    step.drop()
    return text
