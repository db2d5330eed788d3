"""Which axes become programs, turns and tiles.  In: a structured kernel.  Out: passes, as pipeline text.

The pipeline leaves one operation in each kernel.  A launch runs the NPU's program once for each point of the `grid`
axes; what is left of the others fits a tile.  A product takes the dim that is summed over in turns, a tile for the
matrix unit each, while its sums stay in the scratchpad.
"""

from __future__ import annotations

from headrace.ir.access import Axis
from headrace.ir.core import BlockArgument, OpResult, Value, producer, walk
from headrace.ir.errors import PassError
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.scalar import MulAdd
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace_npu import isa


def schedule(function: KernelFunc, facts: TargetFacts) -> list[str]:
    """The steps for one kernel.  Raises PassError for a kernel of another kind."""
    name = function.function_name
    operations = [o for o in walk(function, Structured) if isinstance(o, Map | Reduce)]
    if len(operations) != 1 or operations[0].parent is not function.block:
        raise _not_for_it(function, "is more than one operation")
    (op,) = operations
    loops = [a for a in op.axes if a.kind == "parallel"]
    sums = [a for a in op.axes if a.kind == "reduction"]
    sides = _sides(function, op, loops) if isinstance(op, Reduce) else loops[-2:]
    sizes = dict(zip([a.name for a in sides][::-1], (_columns(op), isa.ROWS), strict=False))
    sizes |= {a.name: isa.DEPTH for a in sums[-1:]}

    steps = [f"tile{{func={name} axis={a.name} by={_size(a, sizes[a.name])}}}" for a in op.axes if a.name in sizes]
    grid = [a.name for a in loops if a not in sides] + [f"{a.name}_o" for a in sides]
    turns = [a.name for a in sums[:-1]] + [f"{a.name}_o" for a in sums[-1:]]
    tile = [f"{a.name}_i" for a in [*sums[-1:], *sides]]
    if grid:
        steps.append(f"reorder{{func={name} axes=[{' '.join([*grid, *turns, *tile])}]}}")
        steps.append(f"bind{{func={name} axes=[{' '.join(grid)}] kind=grid}}")
        steps.append(f"enclose{{func={name} axes=[{' '.join(grid)}]}}")
    if turns:
        steps.append(f"accumulate{{func={name} axes=[{' '.join(turns)}]}}")
    steps.append(f"npu-stage{{func={name}}}")
    steps += [f"tensorize{{func={name} axis={a.name}_i}}" for a in sums[-1:]]
    return [f"kernel.{step}" for step in steps]


def _not_for_it(function: KernelFunc, what: str) -> PassError:
    """What only users of a pipeline of their own see: the others are told what `Npu.refuses` says of a node."""
    return PassError(f"npu: node {function.location}: its kernel {what}")


def _sides(function: KernelFunc, op: Reduce, loops: list[Axis]) -> list[Axis]:
    """The last axis that only one factor of a product moves along, and the last that only the other does."""
    (step,) = (producer(v, MulAdd) for v in op.step.block.terminator.operands)
    if step is None:
        raise _not_for_it(function, "sums up something else than products")
    left, right = (_moves_along(op, factor) for factor in (step.a, step.b))
    rows = [a for a in loops if a.name in left - right]
    columns = [a for a in loops if a.name in right - left]
    return sorted([*rows[-1:], *columns[-1:]], key=loops.index)


def _columns(op: Map | Reduce) -> int:
    """So many that every operand, every result and all that lies between have room in the scratchpad at once."""
    tiles = len(op.operands) + sum(1 for _ in op.walk())
    return max(1, min(isa.COLUMNS, isa.SCRATCHPAD // (isa.ROWS * tiles)))


def _moves_along(op: Reduce, value: Value) -> set[str]:
    """The axes that decide a value of the step."""
    if isinstance(value, BlockArgument):
        return {s for index in op.reads[value.index].map.indices for s in index.symbols}
    assert isinstance(value, OpResult)
    return {s for operand in value.operation.operands for s in _moves_along(op, operand)}


def _size(axis: Axis, most: int) -> int:
    """Of a tile: no more than there is."""
    return min(most, max(axis.extent.value, 1)) if axis.extent.is_constant else most
