"""kernel.pack: store a constant operand in the order in which the kernel reads it.

Before:
    kernel.func @f(%x: ..., %w: buffer<f32[768, 3072]>, ...) { ... reads(..., %w[k, j_o*64 + j_i]) ... }
After `kernel.pack{func=f parameter=1 dim=1 by=64}`:
    kernel.func @f(%x: ..., %w: buffer<f32[48, 768, 64]>, ...) { ... reads(..., %w[j_o, k, j_i]) ... }

Dim `dim` is cut into panels of `by`; the panel number becomes the first dim, the place in the panel the last.
The last panel is filled up with zeros, so that whole vectors can be read.  In the program, each launch gets a
constant that a graph.func without parameters makes of the old one when the artefact is written.

Needs: every launch passes a `program.constant` of static dims for the parameter, and the parameter is read by
structured operations only.  Refuses anything else, since packing at run time costs more than it gains there.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.access import AccessMap, SymbolRef
from headrace.ir.core import Block, Region, Value, producer, walk
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.errors import PassError
from headrace.ir.graph.ops.constant import Constant as GraphConstant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.pack import Pack as PackTensor
from headrace.ir.kernel.ops.structured import Map, Reduce, Structured
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Constant, Launch
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import BufferType
from headrace.passes.lowering.axes import kernel_named


@dataclass(frozen=True)
class Pack(Pass):
    """`func`: the kernel; `parameter`: its number; `dim`: which dim is cut; `by`: width of a panel."""

    func: str
    parameter: int
    dim: int
    by: int

    summary = "store a constant operand in the order in which the kernel reads it"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        function = kernel_named(module, self.func)
        if not 0 <= self.parameter < len(function.inputs):
            raise PassError(f"kernel.pack: @{self.func} has no input parameter {self.parameter}")
        parameter = function.parameters[self.parameter]
        kind = parameter.type
        assert isinstance(kind, BufferType)
        if not 0 <= self.dim < kind.rank or not all(d.is_constant for d in kind.dims):
            raise PassError(
                f"kernel.pack: parameter {self.parameter} is {kind}, expected static dims, dim {self.dim} among them"
            )
        launches = [o for o in walk(module, Launch) if o.kernel.name == self.func]
        for launch in launches:
            if producer(launch.buffers[self.parameter], Constant) is None:
                raise PassError(f"kernel.pack: launch at {launch.location}: parameter {self.parameter} is no constant")
        packed = BufferType(kind.dtype, self._dims(kind.dims))
        for user, number in list(parameter.uses):
            if not isinstance(user, Map | Reduce):
                raise PassError(
                    f"kernel.pack: parameter {self.parameter} is used by {user.name}, expected map or reduce"
                )
            self._repack(user, number, rewriter)
        parameter.type = packed
        for launch in launches:
            constant = producer(launch.buffers[self.parameter], Constant)
            assert constant is not None
            rewriter.set_operand(launch, self.parameter, self._packed_constant(module, constant, packed, rewriter))
            if not constant.result.uses:
                rewriter.erase(constant)

    def _dims(self, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        rest = (*dims[: self.dim], *dims[self.dim + 1 :])
        return (ceildiv(dims[self.dim], self.by), *rest, Dim.constant(self.by))

    def _repack(self, op: Map | Reduce, number: int, rewriter: Rewriter) -> None:
        """Rewrites the map of operand `number`."""
        groups = [("reads", op.reads)] + ([("late", op.late)] if isinstance(op, Reduce) else [])
        place = number
        for field, accesses in groups:
            if place < len(accesses):
                maps = [a.map for a in accesses]
                maps[place] = self._map(op, maps[place])
                rewriter.set_attribute(op, field, tuple(maps))
                return
            place -= len(accesses)
        raise PassError(f"kernel.pack: parameter {self.parameter} is written")

    def _map(self, op: Structured, map: AccessMap) -> AccessMap:
        if map.otherwise is not None:
            raise PassError(f"kernel.pack: parameter {self.parameter} has padded reads")
        facts = op.axis_facts()
        cut = map.indices[self.dim]
        rest = (*map.indices[: self.dim], *map.indices[self.dim + 1 :])
        return AccessMap((facts.simplify(cut // self.by), *rest, facts.simplify(cut % self.by)))

    def _packed_constant(self, module: Module, old: Constant, kind: BufferType, rewriter: Rewriter) -> Value:
        """A program.constant of the packed array; one graph.func for each distinct (constant, panel width)."""
        name = f"{_name_of(old)}_packed{self.dim}x{self.by}"
        if not any(f.function_name == name for f in module.functions(GraphFunc)):
            rewriter.end_of(module.block, old.location).add(self._function(module, old, name))
        return rewriter.before(old).add(Constant(SymbolRef(name), kind), old.result.hint).result

    def _function(self, module: Module, old: Constant, name: str) -> GraphFunc:
        if isinstance(old.value, SymbolRef):
            source = module.function(old.value.name)
            function = source.clone()
            assert isinstance(function, GraphFunc)
            function.attributes["symbol"] = SymbolRef(name)
            block = function.block
            returned = block.terminator
            (value,) = returned.operands
            builder = Builder(block, returned, old.location)
            returned.set_operands([builder.add(PackTensor(value, self.dim, self.by)).result])
            return function
        block = Block()
        builder = Builder(block, None, old.location)
        tensor = builder.add(GraphConstant(old.value)).result
        builder.add(Return((builder.add(PackTensor(tensor, self.dim, self.by)).result,)))
        return GraphFunc(SymbolRef(name), Region(block))


def _name_of(constant: Constant) -> str:
    return constant.value.name if isinstance(constant.value, SymbolRef) else f"constant_{constant.value.digest[:12]}"
