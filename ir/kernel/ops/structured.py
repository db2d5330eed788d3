"""kernel.map, kernel.reduce: the structured tier.  What is computed, over which axes; not how.

    kernel.map (i: parallel m, j: parallel n) reads(%x[i, j], %b[j]) writes(%y[i, j]) {
    ^(%0: f32, %1: f32):
      %2 = kernel.add %0, %1 : f32
      kernel.yield %2
    }

    kernel.reduce (i: parallel m, j: parallel n, k: reduction 768)
        reads(%x[i, k], %w[k, j]) late(%b[j]) writes(%y[i, j])
      init { %z = kernel.constant {value = 0.0, type = f32} : f32   kernel.yield %z }
      step { ^(%a: f32, %w: f32, %acc: f32):  %s = kernel.muladd %a, %w, %acc : f32   kernel.yield %s }
      combine { ^(%p: f32, %q: f32):  %s = kernel.add %p, %q : f32   kernel.yield %s }
      finish { ^(%acc: f32, %b: f32):  %s = kernel.add %acc, %b : f32   kernel.yield %s }

Both may stand inside loops; a map's or reduce's formulas then mention the loops' axes too.  `where` restricts
the domain: an iteration exists only if each formula is >= 0 (tiles that do not divide).  Reads with `else` may
lie outside their buffer; all other accesses of existing iterations must be inside.  Order of axes is the order
of loops that `kernel.realize` makes, outermost first; it has no meaning before.  Axis kinds:

    parallel    iterations independent       unroll   the same, part of a register tile (constant extent)
    task        the same, split among threads   vector   the same, lanes of one vector (constant extent, last)
    grid, thread   the same, on a device's grid and in its workgroup
    reduction   combines into the accumulators, in any order that `combine` allows
    reduction_unroll   the same, few iterations (constant extent), written out one after the other
    reduction_split, reduction_vector   the same; each point of these axes has accumulators of its own.  Extents are
                powers of two; the axes stand last, in this order.  When the other reductions are done, `combine` joins
                the second half of the points, counted row-major, to the first, and so on until one is left.
    sequential  a map whose iterations run in order and may read what earlier ones wrote
    sequential_unroll   the same, few iterations (constant extent), written out one after the other

A map may read at indices that are data.  Each of its *lookups* reads an integer and gives it a name that formulas
behind it may mention:

    kernel.func @rows(%table: buffer<f32[30522, 768]>, %ids: buffer<i64[n]>, %y: buffer<f32[n, 768]>)
        {outputs = 1, scalars = ["n"]} {
      kernel.map (t: parallel n, j: parallel 768) reads(%table[row, j]) writes(%y[t, j]) lookups(%ids[t])
          {found = [row: given 30522], nodes = [0]} {
      ^(%0: f32):
        kernel.yield %0
      }
    }

A negative one counts from the end of its extent; one that is out of range is an error of the data, about number
`nodes[i]` of the nodes that the kernel computes.
"""

from __future__ import annotations

from typing import TypeVar

from headrace.ir.access import REDUCTIONS, SEQUENTIAL, SPREAD, Access, Axis
from headrace.ir.core import Operation, Region
from headrace.ir.declare import op
from headrace.ir.dims import Dim, Facts
from headrace.ir.types import BufferType, Element, ScalarType

INDEPENDENT = ("parallel", "task", "unroll", "vector", "grid", "thread")


class Structured(Operation):
    """Base of map and reduce: axes, accesses, and the checks they share."""

    is_pure = False

    axes: tuple[Axis, ...]
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]

    def axis(self, name: str) -> Axis:
        """The axis of that name.  Raises VerifyError."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise self.fail(f"no axis {name!r}; there are {', '.join(a.name for a in self.axes)}")

    def axis_facts(self) -> Facts:
        """What is known of this operation's axes: their ranges."""
        facts = Facts()
        for axis in self.axes:
            facts = facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        return facts

    def check_access(self, accesses: tuple[Access, ...], what: str) -> None:
        for access in accesses:
            kind = access.value.type
            if not isinstance(kind, BufferType):
                raise self.fail(f"{what} {kind}, expected a buffer")
            if kind.rank != len(access.map.indices):
                raise self.fail(f"{what} a buffer of rank {kind.rank} with {len(access.map.indices)} indices")

    def check_block(self, region: Region, what: str, arguments: list[Element], yielded: list[Element]) -> None:
        found = [a.type for a in region.block.arguments]
        if found != arguments:
            raise self.fail(f"{what} takes ({_names(found)}), expected ({_names(arguments)})")
        given = [o.type for o in region.block.terminator.operands]
        if given != yielded:
            raise self.fail(f"{what} yields ({_names(given)}), expected ({_names(yielded)})")


def elements(accesses: tuple[Access, ...]) -> list[Element]:
    """The scalar types of the elements accessed."""
    kinds = [a.value.type for a in accesses]
    return [ScalarType(k.dtype) for k in kinds if isinstance(k, BufferType)]


@op("kernel.map")
class Map(Structured):
    """Computes `body(reads)` for each point of the domain and writes what it yields."""

    axes: tuple[Axis, ...]
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    body: Region
    where: tuple[Dim, ...] = ()
    lookups: tuple[Access, ...] = ()
    found: tuple[Axis, ...] = ()
    nodes: tuple[int, ...] = ()

    def verify_op(self) -> None:
        self.check_access(self.reads, "reads")
        self.check_access(self.writes, "writes")
        self.check_access(self.lookups, "looks up")
        for axis in self.axes:
            if axis.kind not in (*INDEPENDENT, *SEQUENTIAL):
                raise self.fail(f"axis {axis.name} is {axis.kind}, which a map cannot have")
        self._check_lookups()
        self.check_block(self.body, "the body", elements(self.reads), elements(self.writes))

    def axis_facts(self) -> Facts:
        facts = super().axis_facts()
        for axis in self.found:
            facts = facts.with_symbol(axis.name, Dim.constant(0), axis.extent)
        return facts

    def _check_lookups(self) -> None:
        if not len(self.lookups) == len(self.found) == len(self.nodes):
            counts = f"{len(self.lookups)} lookups, {len(self.found)} names and {len(self.nodes)} nodes"
            raise self.fail(f"{counts}, expected as many of each")
        for place, (access, axis) in enumerate(zip(self.lookups, self.found, strict=True)):
            if axis.kind != "given":
                raise self.fail(f"{axis.name} is looked up, and of kind {axis.kind}; expected given")
            (element,) = elements((access,))
            if not element.dtype.is_integer:
                raise self.fail(f"{axis.name} is looked up among {element}, expected integers")
            later = {a.name for a in self.found[place:]} & {s for i in access.map.indices for s in i.symbols}
            if later or access.map.otherwise is not None:
                raise self.fail(f"the lookup of {axis.name} reads at what is not known yet, or is padded")

    def all_symbols_of(self, access: Access) -> set[str]:
        """The axes that an access depends on, also through what is looked up for it."""
        behind = {axis.name: access.map for axis, access in zip(self.found, self.lookups, strict=True)}
        pending, found = [access.map], set[str]()
        while pending:
            for symbol in {s for i in pending.pop().indices for s in i.symbols} - found:
                found.add(symbol)
                pending += [behind[symbol]] if symbol in behind else []
        return found


@op("kernel.reduce")
class Reduce(Structured):
    """For each point of the independent axes: `finish(fold of step over the reduction axes from init, late)`.

    `step` takes the elements of `reads`, then the accumulators; `combine` two sets of accumulators;
    `finish` the accumulators, then the elements of `late`, whose maps mention independent axes only.
    """

    axes: tuple[Axis, ...]
    reads: tuple[Access, ...]
    late: tuple[Access, ...]
    writes: tuple[Access, ...]
    init: Region
    step: Region
    combine: Region
    finish: Region
    where: tuple[Dim, ...] = ()

    @property
    def accumulators(self) -> list[Element]:
        """Types of the accumulators."""
        types = [o.type for o in self.init.block.terminator.operands]
        return [t for t in types if isinstance(t, ScalarType)]

    def verify_op(self) -> None:
        self.check_access(self.reads, "reads")
        self.check_access(self.late, "late reads")
        self.check_access(self.writes, "writes")
        reduced = {a.name for a in self.axes if a.kind in REDUCTIONS}
        if not reduced:
            raise self.fail("no axis is a reduction; expected kernel.map")
        for axis in self.axes:
            if axis.kind not in (*INDEPENDENT, *REDUCTIONS):
                raise self.fail(f"axis {axis.name} is {axis.kind}, which a reduce cannot have")
        self._check_spread()
        for access in (*self.late, *self.writes):
            used = reduced & {s for i in access.map.indices for s in i.symbols}
            if used:
                raise self.fail(f"a late read or a write depends on reduction axis {min(used)}")
        state = self.accumulators
        self.check_block(self.init, "init", [], state)
        self.check_block(self.step, "step", [*elements(self.reads), *state], state)
        self.check_block(self.combine, "combine", [*state, *state], state)
        self.check_block(self.finish, "finish", [*state, *elements(self.late)], elements(self.writes))

    def _check_spread(self) -> None:
        spread = [a for a in self.axes if a.kind in SPREAD]
        last = self.axes[len(self.axes) - len(spread) :]
        if tuple(spread) != last or [a.kind for a in spread] != sorted({a.kind for a in spread}):
            found = ", ".join(f"{a.name}: {a.kind}" for a in self.axes)
            raise self.fail(f"axes are {found}; expected {', then '.join(SPREAD)}, one each, to be last")
        for axis in spread:
            size = axis.extent.value if axis.extent.is_constant else 0
            if size < 1 or size & (size - 1):
                raise self.fail(f"axis {axis.name} is {axis.kind} with extent {axis.extent}, expected a power of two")


_T = TypeVar("_T")


def _names(types: list[_T]) -> str:
    return ", ".join(str(t) for t in types)
