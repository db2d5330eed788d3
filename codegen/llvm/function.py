"""One kernel as an LLVM function: its arguments, its tasks, its control flow.

In: a kernel as loops.  Out: the text of the function, and declarations of the intrinsics that it calls.

    i32 @NAME(ptr buffers, ptr scalars, ptr scratch, i64 begin, i64 end)

runs the tasks [begin, end) of the flattened task axes, the last axis fastest, and returns 0, or the site of a check
that failed, whose values it leaves in scratch.  The last task axis is a loop of its own, so that what depends on the
others alone stands outside it:

    (a, b) of begin; do { for b in what is left of this row, at most to end: body; next a; b = 0 } while tasks are left
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from headrace.codegen.llvm import lanes, memory
from headrace.codegen.llvm.arithmetic import compute
from headrace.codegen.llvm.code import Code
from headrace.codegen.llvm.memory import Place
from headrace.codegen.llvm.registers import Piece, Registers, flat_index, is_register
from headrace.codegen.llvm.text import Block as Text
from headrace.codegen.scratch import check_sites, scratch_offsets
from headrace.ir.access import Axis
from headrace.ir.core import Block, Operation, Value, walk
from headrace.ir.dims import Dim
from headrace.ir.errors import CodegenError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.control import Barrier, For, If, Parallel, Yield
from headrace.ir.kernel.ops.convert import Constant, Holds, Index, Mask
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.lookup import Check, Let
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.ops.memory import Alloc, CopyAsync, Load, Prefetch, Store, Wait
from headrace.ir.kernel.ops.structured import Structured
from headrace.ir.kernel.tasks import task_axes
from headrace.ir.types import BufferType

ARGUMENTS = "ptr %buffers, ptr %scalars, ptr %scratch, i64 %begin, i64 %end"


class FunctionEmitter:
    """Prints one kernel."""

    def __init__(self, function: KernelFunc, target: TargetFacts) -> None:
        self.function = function
        self.code = Code(function.function_name, target, function.known)
        self.registers = Registers(function)
        self.scratch = scratch_offsets(function)
        self.written = {o.target.value for o in walk(function, Store)}
        self.sites = check_sites(function)
        self.values: dict[Value, str] = {}
        self.pointers: dict[Value, str] = {}
        self.unrolled: dict[str, Dim] = {}  # what the symbols of unrolled loops and of kernel.let stand for
        self._flat: dict[Operation, tuple[Dim, Dim]] = {}

    def emit(self) -> str:
        """The function's text."""
        axes, code = task_axes(self.function), self.code
        runs = code.add("icmp slt i64 %begin, %end")
        if not axes:
            first = code.add("icmp eq i64 %begin, 0")
            runs = code.add(f"and i1 {runs}, {first}")
        entry, work = code.block, code.open_block()
        code.scopes[-1].block = work
        self._arguments()
        if axes:
            (parallel,) = self.function.block.operations
            self._tasks(axes, parallel.regions[0].block)
        else:
            self._block(self.function.block)
        last, leave = code.block, code.open_block()
        entry.end = f"br i1 {runs}, label %{work.name}, label %{leave.name}"
        last.end = f"br label %{leave.name}"
        leave.end = "ret i32 0"
        body = "\n".join(block.text() for block in code.blocks)
        return f'define hidden i32 @"{self.function.function_name}"({ARGUMENTS}) #0 {{\n{body}\n}}'

    def _arguments(self) -> None:
        """Buffers and scalars are loaded once; they are known at level 0."""
        code = self.code
        for place, parameter in enumerate(self.function.parameters):
            slot = code.add(f"getelementptr ptr, ptr %buffers, i64 {place}")
            self.pointers[parameter] = code.add(f"load ptr, ptr {slot}, align 8")
        for place, name in enumerate(self.function.scalars):
            slot = code.add(f"getelementptr i64, ptr %scalars, i64 {place}")
            code.symbols[name] = code.add(f"load i64, ptr {slot}, align 8")
            code.levels[name] = 0

    # ---- tasks -------------------------------------------------------------------------------------------

    def _tasks(self, axes: Sequence[Axis], body: Block) -> None:
        if len(axes) == 1:
            self._loop(axes[0], "%begin", "%end", runs=True, carried=[], body=lambda: self._block(body))
            return
        code = self.code
        extents = [code.divisor(a.extent) for a in axes]
        rest = "%begin"
        first: list[str] = []
        for extent in reversed(extents[1:]):
            first.insert(0, code.add(f"urem i64 {rest}, {extent}"))
            rest = code.add(f"udiv i64 {rest}, {extent}")
        first.insert(0, rest)
        all_ = code.add("sub i64 %end, %begin")
        entry, rows = code.block, code.open_block()
        entry.end = f"br label %{rows.name}"
        with code.scope(code.level + 1, rows) as scope, ExitStack() as stack:
            outer = [code.phi("i64", [(v, entry.name)]) for v in first[:-1]]
            start = code.phi("i64", [(first[-1], entry.name)])
            left = code.phi("i64", [(all_, entry.name)])
            for axis, phi in zip(axes[:-1], outer, strict=True):
                stack.enter_context(code.symbol(axis.name, phi.name, code.level, axis.extent))
            row = code.add(f"sub i64 {extents[-1]}, {start.name}")
            count = code.call("llvm.smin.i64", "i64", [("i64", row), ("i64", left.name)])
            stop = code.add(f"add i64 {start.name}, {count}")
            self._loop(axes[-1], start.name, stop, runs=True, carried=[], body=lambda: self._block(body))
            remaining = code.add(f"sub i64 {left.name}, {count}")
            latch = code.block.name
            left.sources.append((remaining, latch))
            start.sources.append(("0", latch))
            for phi, value in zip(outer, self._next([p.name for p in outer], extents), strict=True):
                phi.sources.append((value, latch))
            more = code.add(f"icmp sgt i64 {remaining}, 0")
            done = code.open_block()
            scope.block.end = f"br i1 {more}, label %{rows.name}, label %{done.name}"
        code.scopes[-1].block = done

    def _next(self, axes: Sequence[str], extents: Sequence[str]) -> list[str]:
        """The values of all axes but the last one row on: an addition with carry."""
        code = self.code
        found: list[str] = []
        carry = "1"
        for place in reversed(range(len(axes))):
            more = code.add(f"add i64 {axes[place]}, {carry}")
            if place == 0:
                return [more, *found]
            wraps = code.add(f"icmp eq i64 {more}, {extents[place]}")
            found.insert(0, code.add(f"select i1 {wraps}, i64 0, i64 {more}"))
            carry = code.add(f"zext i1 {wraps} to i64")
        return found

    # ---- control flow ------------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        for operation in block.operations:
            self._operation(operation)
        self.registers.release(block.operations)

    def _operation(self, operation: Operation) -> None:
        match operation:
            case For():
                self._axes(operation, operation.axes)
            case Parallel():
                if operation.axes and operation.axes[0].kind in ("grid", "thread"):
                    raise self._refuse(operation, f"axes of kind {operation.axes[0].kind} need a device target")
                self._axes(operation, operation.axes)
            case If():
                self._if(operation)
            case Check():
                self._check(operation)
            case Let():
                self._let(operation)
            case Alloc():
                self._alloc(operation)
            case Load():
                self.values[operation.result] = self._load(operation)
            case Store():
                self._store(operation)
            case Prefetch():
                memory.prefetch(self.code, self._place_of_prefetch(operation))
            case Index():
                value = operation.value.substitute(self.unrolled)
                self.values[operation.result] = lanes.index(
                    self.code, value, operation.dtype, operation.lanes, operation.step
                )
            case Mask():
                lower, upper = (d.substitute(self.unrolled) for d in (operation.lower, operation.upper))
                self.values[operation.result] = lanes.mask(self.code, lower, upper, operation.lanes)
            case Holds():
                self.values[operation.result] = self.code.holds([w.substitute(self.unrolled) for w in operation.where])
            case Barrier() | CopyAsync() | Wait():
                raise self._refuse(operation, "needs a device target")
            case Structured():
                raise self._refuse(operation, "is structured, expected loops; run kernel.realize")
            case Mma():
                raise self._refuse(operation, "needs a matrix unit, expected loops; run kernel.expand-mma")
            case Yield():
                raise self._refuse(operation, "stands outside a structured operation")
            case _:
                self.values[operation.result] = self._computed(operation)

    def _computed(self, operation: Operation) -> str:
        """Rows of an unrolled tile compute some things alike (the weights of a column as floats): once is enough."""
        operands = [self.values[o] for o in operation.operands]
        if isinstance(operation, Constant):
            return self._compute(operation, operands)
        types = tuple(str(v.type) for v in (*operation.results, *operation.operands))
        key = (operation.name, types, *operands, *(f"{k}={v}" for k, v in operation.attributes.items()))
        return self.code.once(key, self.code.level, self._compute, operation, operands)

    def _compute(self, operation: Operation, operands: list[str]) -> str:
        found = compute(self.code, operation, operands)
        if found is None:
            raise self._refuse(operation, "is not known to this code generator")
        return found

    def _refuse(self, operation: Operation, why: str) -> CodegenError:
        return CodegenError(f"kernel @{self.function.function_name}: {operation.name} at {operation.location}: {why}")

    def _axes(self, operation: For | Parallel, axes: Sequence[Axis]) -> None:
        """One loop inside the other."""
        if not axes:
            self._block(operation.body.block)
            return
        axis, rest = axes[0], axes[1:]
        extent = axis.extent.substitute(self.unrolled)
        if axis.kind == "unroll" or (extent.is_constant and extent.value <= 1):
            for number in range(extent.value):
                self.unrolled[axis.name] = Dim.constant(number)
                self._axes(operation, rest)
            self.unrolled.pop(axis.name, None)
            return
        runs = self.code.facts.less(0, extent) is True
        stop = self.code.value(extent)
        carried = self.registers.changed_in(operation)
        inner = Axis(axis.name, axis.kind, extent)
        self._loop(inner, "0", stop, runs=runs, carried=carried, body=lambda: self._axes(operation, rest))

    def _loop(
        self, axis: Axis, start: str, stop: str, *, runs: bool, carried: Sequence[Piece], body: Callable[[], None]
    ) -> None:
        """A loop with its test at the end; `runs`: start is known to be below stop; `carried`: registers it changes."""
        code, registers = self.code, self.registers
        inside, after = code.open_block(), code.open_block()
        before = code.block
        entered = dict(registers.state)
        if runs:
            before.end = f"br label %{inside.name}"
        else:
            some = code.add(f"icmp slt i64 {start}, {stop}")
            before.end = f"br i1 {some}, label %{inside.name}, label %{after.name}"
        with code.scope(code.level + 1, inside) as scope:
            index = code.phi("i64", [(start, before.name)])
            phis = {
                p: code.phi(registers.piece_type(p), [(entered.get(p, "poison"), before.name)]) for p in carried
            }
            registers.state |= {p: phi.name for p, phi in phis.items()}
            with code.symbol(axis.name, index.name, code.level, axis.extent):
                body()
            following = code.add(f"add nuw nsw i64 {index.name}, 1")
            latch = scope.block
            index.sources.append((following, latch.name))
            for piece, phi in phis.items():
                phi.sources.append((registers.state[piece], latch.name))
            more = code.add(f"icmp slt i64 {following}, {stop}")
            latch.end = f"br i1 {more}, label %{inside.name}, label %{after.name}"
        code.scopes[-1].block = after
        if not runs:
            registers.merge(code, (entered, before.name), (registers.state, latch.name))

    def _if(self, operation: If) -> None:
        code, registers = self.code, self.registers
        condition = code.holds([w.substitute(self.unrolled) for w in operation.where])
        if operation.condition is not None:
            given = self.values[operation.condition]
            condition = given if condition == "true" else code.add(f"and i1 {condition}, {given}")
        if condition in ("true", "false"):
            self._block(operation.then.block if condition == "true" else operation.otherwise.block)
            return
        before, entered = code.block, dict(registers.state)
        then_end, then = self._branch(operation.then.block)
        then_state, registers.state = registers.state, dict(entered)
        if operation.otherwise.block.operations:
            else_end, otherwise = self._branch(operation.otherwise.block)
        else:
            else_end, otherwise = None, None
        after = code.open_block()
        before.end = f"br i1 {condition}, label %{then.name}, label %{(otherwise or after).name}"
        then_end.end = f"br label %{after.name}"
        if else_end is not None:
            else_end.end = f"br label %{after.name}"
        code.scopes[-1].block = after
        registers.merge(code, (then_state, then_end.name), (registers.state, (else_end or before).name))

    def _branch(self, block: Block) -> tuple[Text, Text]:
        """(last block, first block) of a branch."""
        first = self.code.open_block()
        with self.code.scope(self.code.level, first) as scope:
            self._block(block)
            return scope.block, first

    def _check(self, operation: Check) -> None:
        """A branch to a block that returns."""
        code, scope = self.code, self.code.scopes[-1]
        before, fail, after = scope.block, code.open_block(), code.open_block()
        before.end = f"br i1 {self.values[operation.condition]}, label %{after.name}, label %{fail.name}"
        with code.scope(code.level, fail):
            for number, value in enumerate(operation.values):
                slot = code.add(f"getelementptr i64, ptr %scratch, i64 {number}")
                code.run(f"store i64 {self.values[value]}, ptr {slot}, align 8")
        fail.end = f"ret i32 {self.sites[operation]}"
        scope.block = after

    def _let(self, operation: Let) -> None:
        """Under another name each time: in an unrolled loop its value differs from copy to copy."""
        axis, code = operation.axis, self.code
        name = f"{axis.name}__{code.fresh()[1:]}"
        self.unrolled[axis.name] = Dim.symbol(name)
        extent = axis.extent.substitute(self.unrolled)
        with code.symbol(name, self.values[operation.index], code.level, extent):
            self._block(operation.body.block)
        del self.unrolled[axis.name]

    # ---- memory ------------------------------------------------------------------------------------------

    def _alloc(self, operation: Alloc) -> None:
        match operation.type.space:
            case "stack":
                self.pointers[operation.result] = self.code.once(("stack", operation), 0, self._in_scratch, operation)
            case "shared":
                raise self._refuse(operation, "a buffer in space shared needs a device target")

    def _in_scratch(self, operation: Alloc) -> str:
        return self.code.add(f"getelementptr i8, ptr %scratch, i64 {self.code.value(self.scratch[operation])}")

    def _flat_index(self, operation: Load | Store) -> tuple[Dim, Dim]:
        if operation not in self._flat:
            self._flat[operation] = flat_index(operation)
        start, step = self._flat[operation]
        return start.substitute(self.unrolled), step.substitute(self.unrolled)

    def _place(self, operation: Load | Store, buffer: Value) -> Place:
        start, step = self._flat_index(operation)
        assert isinstance(buffer.type, BufferType)
        return Place(self.pointers[buffer], buffer.type.dtype, start, step, operation.lanes)

    def _load(self, operation: Load) -> str:
        buffer = operation.source.value
        mask = None if operation.mask is None else self.values[operation.mask]
        if not is_register(buffer):
            place = self._place(operation, buffer)
            if mask is None and buffer not in self.written:
                # Unrolled code reads an element more than once (the taps of a convolution share their inputs).
                return self.code.once(("load", place), self.code.level, memory.load, self.code, place, None, 0)
            return memory.load(self.code, place, mask, operation.otherwise)
        if mask is not None:
            raise self._refuse(operation, "a masked load of a register buffer")
        start, step = self._flat_index(operation)
        return self.registers.load(self.code, buffer, start, step, operation.lanes)

    def _place_of_prefetch(self, operation: Prefetch) -> Place:
        buffer = operation.source.value
        assert isinstance(buffer.type, BufferType)
        start = buffer.type.element_at(operation.source.map.indices).substitute(self.unrolled)
        return Place(self.pointers[buffer], buffer.type.dtype, start, Dim.constant(0), 1)

    def _store(self, operation: Store) -> None:
        buffer, value = operation.target.value, self.values[operation.value]
        mask = None if operation.mask is None else self.values[operation.mask]
        if not is_register(buffer):
            memory.store(self.code, self._place(operation, buffer), mask, value)
            return
        if mask is not None:
            raise self._refuse(operation, "a masked store to a register buffer")
        start, step = self._flat_index(operation)
        self.registers.store(self.code, buffer, start, step, operation.lanes, value)
