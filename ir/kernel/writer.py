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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from headrace.ir.access import Access, AccessMap, Axis
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import For, Parallel, Yield
from headrace.ir.kernel.ops.memory import Alloc
from headrace.ir.kernel.ops.structured import Map, Reduce, elements
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType, DType, Element, ScalarType

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

    def scratch(self, dtype: DType, dims: Sequence[Dim], hint: str) -> Value:
        """Memory of the task that lives until the surrounding block ends."""
        return self.builder.add(Alloc(BufferType(dtype, tuple(dims), "stack")), hint).result

    def map(self, axes: Sequence[Axis], reads: Sequence[Access], writes: Sequence[Access], body: Body) -> None:
        """`kernel.map`."""
        region = self._region(elements(tuple(reads)), body)
        self.builder.add(Map(tuple(axes), tuple(reads), tuple(writes), region))

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
        total = ScalarType(dtype)

        def step(b: ScalarBuilder, left: Value, right: Value, acc: Value) -> list[Value]:
            return [b.muladd(b.cast(left, dtype), b.cast(right, dtype), acc)]

        self.builder.add(
            Reduce(
                (*axes, over),
                factors,
                tuple(late),
                (write,),
                self._region([], lambda b: [b.constant(0, dtype)]),
                self._region([*elements(factors), total], step),
                self._region([total, total], lambda b, left, right: [b.add(left, right)]),
                self._region([total, *elements(tuple(late))], finish),
            )
        )

    def _region(self, arguments: Sequence[Element], body: Body) -> Region:
        block = Block(arguments)
        builder = Builder(block, None, self.builder.location)
        builder.add(Yield(tuple(body(ScalarBuilder(builder), *block.arguments))))
        return Region(block)
