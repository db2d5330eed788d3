"""The border of a padded buffer: a kernel of its own that fills what lies around the middle.

In: a `graph.pad` that is a frame.  Out: a kernel.func on the padded buffer, its dims joined to [outside, places,
elements of a place], and that buffer's type.

The padded dims joined, border and middle alternate: a first run of the border, then for each row of the middle the end
of that row and the start of the next, then a last run.  So border place q of these lies behind as many rows as fit
before it:

    q + width * clamp((q - first) floordiv between + 1, 0, rows)

and one map over q fills all sides.
"""

from __future__ import annotations

from math import prod

from headrace.ir.access import Access, AccessMap, Axis, SymbolRef
from headrace.ir.core import Block, Region
from headrace.ir.dims import Dim, Facts, dim_max, dim_min
from headrace.ir.graph.families import tensor
from headrace.ir.graph.linear import ONE, ZERO
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.kernel.ops.control import Yield
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.rewrite import Builder
from headrace.ir.types import BufferType
from headrace.passes.lowering.cluster import facts_about, scalars_of
from headrace.passes.lowering.names import Names


def border_kernel(pad: Pad, name: str, facts: Facts) -> KernelFunc:
    """Writes `pad.value` to every element of the padded buffer that is outside of the middle."""
    kind = tensor(pad.result)
    first, last = pad.padded_dims[0], pad.padded_dims[-1]
    outside, inside = (prod(dims, start=ONE) for dims in (kind.dims[:first], kind.dims[last + 1 :]))
    places = prod(kind.dims[first : last + 1], start=ONE)
    middle = prod(tensor(pad.x).dims[first : last + 1], start=ONE)
    buffer = BufferType(kind.dtype, (outside, places, inside))
    names = Names(pad)
    axes = tuple(
        Axis(names.fresh(wish), "parallel", extent)
        for wish, extent in (("i", outside), ("border", places - middle), ("j", inside))
    )
    outer, border, inner = (Dim.symbol(a.name) for a in axes)
    body = Block([buffer], [pad.result.hint])
    filled = Block()
    build = Builder(filled, None, pad.location)
    build.add(Yield((ScalarBuilder(build).constant(pad.value, kind.dtype),)))
    write = Access(body.arguments[0], AccessMap((outer, _place(pad, border), inner)))
    Builder(body, None, pad.location).add(Map(axes, (), (write,), Region(filled)))
    function = KernelFunc(SymbolRef(name), Region(body), 1)
    function.location = pad.location
    function.attributes["scalars"] = scalars_of(function)
    function.attributes["facts"] = facts_about(facts.lines(), function.scalars)
    return function


def _place(pad: Pad, border: Dim) -> Dim:
    """Where in the joined padded dims border place number `border` lies."""
    dims = pad.padded_dims
    before, after = ([side[d] for d in dims] for side in (pad.before, pad.after))
    extents = [tensor(pad.x).dims[d] for d in dims]
    if len(dims) == 1:
        rows, width, first, between = ONE, extents[0], before[0], ONE
    else:
        rows, width = extents
        first = before[0] * (before[1] + width + after[1]) + before[1]
        between = before[1] + after[1]
    return border + width * dim_min(dim_max((border - first) // between + 1, ZERO), rows)
