"""`KernelWriter`: the body of a kernel, written out: task loops, sequential loops, scratch, structured operations.

In: a builder at the body of a `kernel.func`, and a source of fresh axis names.  Out: operations there.  Graph
operations that define their kernel themselves (`OwnKernel`) use it:

    with w.tasks(n=rows) as (n,):
        total = w.scratch(F32, (columns,), "total")
        with w.loop("t", steps) as t:
            j = w.axis("j", columns)
            w.map([j], [at(x, n, t, j)], [at(total, j)], lambda b, element: [element])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import For, If, Parallel, Yield
from headrace.ir.kernel.ops.lookup import OUT_OF_RANGE, Check, Let
from headrace.ir.kernel.ops.memory import Alloc, Load
from headrace.ir.kernel.ops.structured import Map, Reduce, elements
from headrace.ir.rewrite import Builder
from headrace.ir.types import I64, BufferType, DType, Element, ScalarType

Body = Callable[..., Sequence[Value]]  # a ScalarBuilder and the region's arguments -> what it yields


def at(buffer: Value, *index: Dim | Axis) -> Access:
    """The element of a buffer at an index of formulas and axes."""
    return Access(buffer, AccessMap(tuple(Dim.symbol(i.name) if isinstance(i, Axis) else i for i in index)))


class KernelWriter:
    """Adds operations of the kernel dialect at a builder."""

    def __init__(self, builder: Builder, fresh: Callable[[str], str]) -> None:
        self.builder = builder
        self.fresh = fresh

    def axis(self, wish: str, extent: Dim, kind: str = "parallel") -> Axis:
        """An axis under a fresh name."""
        return Axis(self.fresh(wish), kind, extent)

    @contextmanager
    def tasks(self, **extents: Dim) -> Iterator[tuple[Dim, ...]]:
        """One task for each point of axes of these names; gives their symbols."""
        axes = tuple(self.axis(name, extent, "task") for name, extent in extents.items())
        body = Region()
        self.builder.add(Parallel(axes, body))
        with self.builder.at(body.block):
            yield tuple(Dim.symbol(a.name) for a in axes)

    @contextmanager
    def loop(self, wish: str, extent: Dim) -> Iterator[Dim]:
        """Iterations in order; gives the axis's symbol."""
        axis = self.axis(wish, extent, "sequential")
        body = Region()
        self.builder.add(For((axis,), body))
        with self.builder.at(body.block):
            yield Dim.symbol(axis.name)

    @contextmanager
    def loops(self, extents: Mapping[str, Dim]) -> Iterator[tuple[Dim, ...]]:
        """Loops in order, the first outermost; gives the axes' symbols."""
        with ExitStack() as opened:
            yield tuple([opened.enter_context(self.loop(name, extent)) for name, extent in extents.items()])

    @contextmanager
    def when(self, *where: Dim) -> Iterator[None]:
        """What is done only where each formula is >= 0."""
        if not where:
            yield
            return
        then = Region()
        self.builder.add(If(None, where, then, Region()))
        with self.builder.at(then.block):
            yield

    @contextmanager
    def where(self, access: Access, condition: Callable[[ScalarBuilder, Value], Value]) -> Iterator[None]:
        """What is done only where an element in memory meets a condition."""
        then = Region()
        b = ScalarBuilder(self.builder)
        self.builder.add(If(condition(b, self.builder.add(Load(access)).result), (), then, Region()))
        with self.builder.at(then.block):
            yield

    @contextmanager
    def lookups(self, accesses: Sequence[Access], extents: Sequence[Dim]) -> Iterator[tuple[Dim, ...]]:
        """Integers in memory, counted from the front and checked against extents; gives symbols for them."""
        with ExitStack() as opened:
            found = []
            for access, extent in zip(accesses, extents, strict=True):
                axis = Axis(self.fresh("at"), "given", extent)
                opened.enter_context(self.builder.at(let(self.builder, access, axis, 0).block))
                found.append(Dim.symbol(axis.name))
            yield tuple(found)

    def scratch(self, dtype: DType, dims: Sequence[Dim], hint: str) -> Value:
        """Memory of the task that lives until the surrounding block ends."""
        return self.builder.add(Alloc(BufferType(dtype, tuple(dims), "stack")), hint).result

    def map(self, axes: Sequence[Axis], reads: Sequence[Access], writes: Sequence[Access], body: Body) -> None:
        """`kernel.map`."""
        region = self._region(elements(tuple(reads)), body)
        self.builder.add(Map(tuple(axes), tuple(reads), tuple(writes), region))

    def reduce(
        self,
        axes: Sequence[Axis],
        reads: Sequence[Access],
        late: Sequence[Access],
        writes: Sequence[Access],
        state: Sequence[DType],
        bodies: tuple[Body, Body, Body, Body],
    ) -> None:
        """`kernel.reduce` with accumulators of these types; `bodies` are init, step, combine and finish."""
        kinds = [ScalarType(dtype) for dtype in state]
        init, step, combine, finish = bodies
        self.builder.add(
            Reduce(
                tuple(axes),
                tuple(reads),
                tuple(late),
                tuple(writes),
                self._region([], init),
                self._region([*elements(tuple(reads)), *kinds], step),
                self._region([*kinds, *kinds], combine),
                self._region([*kinds, *elements(tuple(late))], finish),
            )
        )

    def contract(
        self,
        axes: Sequence[Axis],
        over: Axis,
        factors: tuple[Access, Access],
        late: Sequence[Access],
        write: Access,
        finish: Body,
        dtype: DType,
    ) -> None:
        """`kernel.reduce`: the sum over a reduction axis of products of two elements, in `dtype`, then `finish`."""

        def step(b: ScalarBuilder, left: Value, right: Value, acc: Value) -> list[Value]:
            return [b.muladd(b.cast(left, dtype), b.cast(right, dtype), acc)]

        bodies = lambda b: [b.constant(0, dtype)], step, lambda b, left, right: [b.add(left, right)], finish
        self.reduce((*axes, over), factors, late, (write,), (dtype,), bodies)

    def _region(self, arguments: Sequence[Element], body: Body) -> Region:
        block = Block(arguments)
        builder = Builder(block, None, self.builder.location)
        builder.add(Yield(tuple(body(ScalarBuilder(builder), *block.arguments))))
        return Region(block)


def let(builder: Builder, access: Access, axis: Axis, node: int) -> Region:
    """A region in which the axis stands for the integer at an access, counted from the front; a check before it."""
    b = ScalarBuilder(builder)
    index = b.cast(builder.add(Load(access)).result, I64)
    zero, extent = b.constant(0, index), b.index(axis.extent)
    counted = b.select(b.compare("lt", index, zero), b.add(index, extent), index)
    inside = b.bit_and(b.compare("le", zero, counted), b.compare("lt", counted, extent))
    builder.add(Check(inside, (index, extent), OUT_OF_RANGE, node))
    return builder.add(Let((axis,), counted, Region())).body
