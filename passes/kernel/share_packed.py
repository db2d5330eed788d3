"""kernel.share-packed: look rows up in the form of a table that another kernel has it packed in.

Before:
    %table = program.constant {value = #7273: f32[32000, 768]}                      the rows of an embedding
    program.launch buffers(%table, %ids, %x) {kernel = @gather, ...}                reads(%table[at, j])
    %packed = program.constant {value = @table_packed1x64}                          the same, for the last product
    program.launch buffers(%h, %packed, %logits) {kernel = @matmul, ...}
    graph.func @table_packed1x64() { constant, transpose [1, 0], pack {dim = 1, by = 64} }
After:
    %packed = program.constant {value = @table_packed1x64}
    program.launch buffers(%packed, %ids, %x) {kernel = @gather, ...}      reads(%packed[at floordiv 64, j, at mod 64])

A model whose embedding is also its last matrix would hold both forms, and the elements of a row, which lie apart in
the packed one, are few.  So the table is stored once.

Needs: kernels that a schedule has shaped, of structured operations.  Leaves: no other use of the table as it was.
Refuses: tables whose panels are cut along anything but what is looked up, and forms that are no transposes and panels
of the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from headrace.ir.access import SymbolRef
from headrace.ir.constants import ConstantRef
from headrace.ir.core import Operation, Value, producer, walk
from headrace.ir.dims import Dim, Facts
from headrace.ir.graph.ops.constant import Constant as GraphConstant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.pack import Pack
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import Map
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Constant, Launch
from headrace.ir.rewrite import Rewriter
from headrace.ir.types import BufferType

Index = tuple[Dim, ...]
ZERO = Dim.constant(0)


@dataclass(frozen=True)
class SharePacked(Pass):
    """No options."""

    summary = "look rows up in the packed form of a table that a product reads"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        packed = _packed_forms(module)
        tables: dict[ConstantRef, list[Constant]] = {}
        for constant in walk(module, Constant):
            if isinstance(constant.value, ConstantRef) and constant.value in packed:
                tables.setdefault(constant.value, []).append(constant)
        for ref, constants in tables.items():
            places = _places(module, constants)
            if places and all(_is_looked_up(module, packed[ref], *place) for place in places):
                for place in places:
                    _read_packed(module, *place, packed[ref], rewriter)
                for constant in constants:
                    shared = rewriter.before(constant).add(Constant(packed[ref].symbol, packed[ref].type))
                    rewriter.replace(constant, [shared.result])


@dataclass(frozen=True, slots=True)
class _Form:
    """What a graph.func makes of a constant, step by step."""

    symbol: SymbolRef
    type: BufferType
    steps: tuple[Operation, ...]

    def index(self, index: Index, facts: Facts) -> Index:
        """Where the element of the constant at `index` lies."""
        for step in self.steps:
            if isinstance(step, Transpose):
                index = tuple(index[p] for p in step.perm)
            else:
                assert isinstance(step, Pack)
                cut, rest = index[step.dim], (*index[: step.dim], *index[step.dim + 1 :])
                index = (facts.simplify(cut // step.by), *rest, facts.simplify(cut % step.by))
        return index

    def cut(self, index: Index) -> list[Dim]:
        """Which of the indices are cut into panels."""
        found = list[Dim]()
        for step in self.steps:
            if isinstance(step, Transpose):
                index = tuple(index[p] for p in step.perm)
            else:
                assert isinstance(step, Pack)
                found.append(index[step.dim])
                index = (ZERO, *index[: step.dim], *index[step.dim + 1 :], ZERO)
        return found


def _packed_forms(module: Module) -> dict[ConstantRef, _Form]:
    """The first form of each constant that a launch gets."""
    found: dict[ConstantRef, _Form] = {}
    for constant in walk(module, Constant):
        if not isinstance(constant.value, SymbolRef):
            continue
        function = module.function(constant.value.name)
        assert isinstance(function, GraphFunc)
        *steps, _ = function.block.operations
        if isinstance(steps[0], GraphConstant) and _is_chain(steps):
            found.setdefault(steps[0].value, _Form(constant.value, constant.type, tuple(steps[1:])))
    return found


def _is_chain(steps: Sequence[Operation]) -> bool:
    """Whether each operation but the first only moves all of what the one before it made."""
    moves = all(isinstance(step, Transpose | Pack) for step in steps[1:])
    return moves and all(b.operands == a.results for a, b in pairwise(steps))


def _places(module: Module, constants: Sequence[Constant]) -> list[tuple[str, int]] | None:
    """(kernel, parameter) of all that read a table, if nothing but launches does and no other table is read there."""
    users = [use for constant in constants for use in constant.result.uses]
    launches = [(user, number) for user, number in users if isinstance(user, Launch)]
    places = list(dict.fromkeys((launch.kernel.name, number) for launch, number in launches))
    for launch in walk(module, Launch):
        for kernel, number in places:
            if launch.kernel.name == kernel and producer(launch.buffers[number], Constant) not in constants:
                return None
    return places if len(launches) == len(users) else None


def _is_looked_up(module: Module, form: _Form, kernel: str, number: int) -> bool:
    """Whether maps alone read the parameter, and what the form cuts into panels is only what they have looked up."""
    function = module.function(kernel)
    parameter = function.parameters[number]
    return all(isinstance(user, Map) and _looks_up(user, parameter, form) for user in parameter.users)


def _looks_up(map: Map, parameter: Value, form: _Form) -> bool:
    reads = [a.map for a in map.reads if a.value is parameter]
    # Elsewhere than among the reads: it is looked up in, and has to stay as it is.
    alone = len(reads) == sum(value is parameter for value in map.operands)
    names = {axis.name for axis in map.found}
    # A formula that rounds an axis is not linear in it: such an axis could not be lanes.
    return alone and all(
        m.otherwise is None and all(set(d.symbols) <= names for d in form.cut(m.indices)) for m in reads
    )


def _read_packed(module: Module, kernel: str, number: int, form: _Form, rewriter: Rewriter) -> None:
    """Rewrites the maps of a parameter, and its type."""
    function = module.function(kernel)
    assert isinstance(function, KernelFunc)
    parameter = function.parameters[number]
    for user in dict.fromkeys(parameter.users):
        assert isinstance(user, Map)
        facts = user.axis_facts()
        maps = tuple(
            replace(a.map, indices=form.index(a.map.indices, facts)) if a.value is parameter else a.map
            for a in user.reads
        )
        rewriter.set_attribute(user, "reads", maps)
    parameter.type = form.type
