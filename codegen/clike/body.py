"""The body of a kernel in a language of the C family: loops, conditions, arithmetic, loads and stores.

In: the operations of one kernel as loops.  Out: lines of text.  What surrounds them, where buffers lie and what runs in
parallel differs from language to language: `emit_c` and `opencl` say so in a subclass.  What no language has raises
CodegenError here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from headrace.codegen.clike.arithmetic import expression_in, lane_expression
from headrace.codegen.clike.formulas import c_formula
from headrace.codegen.clike.halves import rounded, widened
from headrace.codegen.clike.helpers import Helpers
from headrace.codegen.clike.types import c_type, identifier, literal
from headrace.ir.access import Access, Axis
from headrace.ir.core import Block, Operation, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import control, convert, lookup, matrix, memory, scalar
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.naming import FreshNames
from headrace.ir.types import F32, BufferType, DType, element_dtype, lanes_of

CONCURRENT = ("task", "grid", "thread")  # axis kinds that are no loops in the text


@dataclass(slots=True)
class Body:
    """Prints the operations of one kernel."""

    function: KernelFunc
    helpers: Helpers
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    names: dict[Value, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    fresh_names: FreshNames = field(default_factory=FreshNames)

    # ---- what differs from language to language ----------------------------------------------------------

    def _device(self, operation: Operation) -> None:
        """What not every language has.  Raises CodegenError."""
        language = self.helpers.language
        raise CodegenError(
            f"{operation.name} at {operation.location} has no {language.name} form; expected {language.takes}"
        )

    def _concurrent(self, operation: control.Parallel) -> None:
        """A loop over grid, thread or task axes.  Raises CodegenError."""
        kinds = ", ".join(f"{a.name}: {a.kind}" for a in operation.axes)
        raise CodegenError(f"a loop over {kinds} inside the kernel has no {self.helpers.language.name} form")

    def _alloc(self, alloc: memory.Alloc) -> None:
        """A buffer; this one gives a register buffer its array.  Raises CodegenError."""
        if alloc.type.space != "register":
            raise CodegenError(f"a buffer in {alloc.type.space} memory needs a device")
        self._array("", alloc)

    def _failed(self, check: lookup.Check) -> None:
        """What a check does whose condition does not hold."""
        raise NotImplementedError

    # ---- statements --------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _unique(self, wish: str) -> str:
        return self.fresh_names.fresh(identifier(wish, self.helpers.language.reserved))

    def _axis(self, axis: Axis) -> str:
        self.symbols[axis.name] = self._unique(axis.name)
        return self.symbols[axis.name]

    def _decode(self, axes: Sequence[Axis], number: str, rest: str) -> None:
        """The values of axes from a flat number, the last axis fastest; `rest`: a free name."""
        self._line(f"int64_t {rest} = {number};")
        for axis in reversed(axes):
            name = self._axis(axis)
            extent = c_formula(axis.extent, self.symbols)
            if axis is axes[0]:
                self._line(f"const int64_t {name} = {rest};")
            else:
                self._line(f"const int64_t {name} = {rest} % ({extent});")
                self._line(f"{rest} /= {extent if extent.isalnum() else f'({extent})'};")
            self._line(f"(void){name};")

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
            case matrix.Mma():
                language = self.helpers.language.name
                raise CodegenError(
                    f"{operation.name} at {operation.location} has no {language} form; kernel.expand-mma writes it out"
                )
            case _:
                self._device(operation)

    def _loops(self, operation: control.For | control.Parallel) -> None:
        if isinstance(operation, control.Parallel) and any(a.kind in CONCURRENT for a in operation.axes):
            self._concurrent(operation)
            return
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
        with self._deeper():
            self._failed(check)
        self._line("}")

    def _let(self, let: lookup.Let) -> None:
        self._line("{")
        with self._deeper():
            self._line(f"const int64_t {self._axis(let.axis)} = {self.names[let.index]};")
            self._line(f"(void){self.symbols[let.axis.name]};")
            self._block(let.body.block)
        self._line("}")

    def _indented(self, block: Block) -> None:
        with self._deeper():
            self._block(block)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    def _array(self, qualifier: str, alloc: memory.Alloc) -> None:
        """Declares a buffer of constant size here."""
        name = self.names[alloc.result] = self._unique(alloc.result.hint or "buffer")
        self._line(f"{qualifier}{self._element(alloc.type.dtype)} {name}[{max(alloc.type.elements.value, 1)}];")
        if not any(isinstance(user, memory.Load) for user in alloc.result.users):
            self._line(f"(void){name};")  # or compilers warn of what is only written

    def _element(self, dtype: DType) -> str:
        """The type of an element in memory."""
        return self.helpers.language.bool_element if dtype.kind == "bool" else c_type(dtype)

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
        first, each, summed = f"{source}[0]", f"{source}[lane]", dtype
        if dtype.is_half:  # rounded once, at the end
            first, each, summed = widened(first, dtype, self.helpers), widened(each, dtype, self.helpers), F32
        self._line(f"{c_type(summed)} {name} = {first};")
        self._line(f"for (int lane = 1; lane < {lanes_of(reduce.x.type)}; lane++)")
        self._line(f"    {name} = {_fold(reduce, name, each, summed, self.helpers)};")
        if dtype.is_half:
            self._define(reduce, lambda lane: rounded(name, dtype, self.helpers))
        else:
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
    text = expression_in(dtype, step, [left, right], helpers)
    step.drop()
    return text
