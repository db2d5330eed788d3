"""graph.cluster: group operations into clusters, each of which becomes one kernel.

Before:
    %0 = graph.matmul %x, %w : f32[n, 10]
    %1 = graph.add %0, %b : f32[n, 10]
    %y = graph.relu %1 : f32[n, 10]
After:
    %y = graph.cluster inputs(%x, %w, %b) {
    ^(%2: f32[n, 64], %3: f32[64, 10], %4: f32[10]):
      %0 = graph.matmul %2, %3 : f32[n, 10]
      %1 = graph.add %0, %4 : f32[n, 10]
      %5 = graph.relu %1 : f32[n, 10]
      graph.yield %5
    } : f32[n, 10]

Needs: every operation is a `Pull`, a `Reducing` or an `OwnKernel` one (`graph.decompose`).  Leaves: every operation on
tensors in a cluster, but for two kinds.  *Views* (reshape) stay outside: their operand lies in memory, and other dims
on the same memory cost nothing.  What depends on constants only stays outside too, as code that is evaluated when the
artefact is written; unless its bits would depend on the machine that compiles (`GraphOp.folds`), or it makes many
elements from few.  Refuses: an operation of no such family.

An operation that writes its own kernel is a cluster of its own.  Any other cluster has one result.  It is built from
its last operation upwards, operations being visited from the end of the function to its start.  An operation is taken
into the clusters that read it if all its users are in clusters and the rules below allow it in each; otherwise it
starts a cluster of its own, and its result lies in memory.

  Movement (transpose, slice, expand)  is taken by every reader: reading at another place costs no more than
      reading the copy.  Where a reader pads, it may only reorder dims, so that outside stays outside.  The same
      goes for operations without operands (fill, range), and for large constants that only become wider (int8 weights
      dequantized): memory holds them as they are.
  Any other operation                  is taken by one cluster only, which must read it at one index only: nothing
      is computed twice.  A reader that pads takes none.
  Reducing (matmul, conv, reduce_sum)  is taken if the cluster has none yet and reads it at the very index of its
      own result, or with its first dims in another order: what follows is the epilogue.
  Pulling (add, exp, concat)           is taken if its element is asked for no more often than it has elements: in
      an epilogue or a chain this forbids to compute a small operand anew for each element it is broadcast to
      (but for one cheap operation); before a reduction it forbids what matmul and convolution do, and allows
      what a sum over all elements does.  One that can be the epilogue of a reducing operation before it is left
      to that, rather than to a reader that could not take the reducing one too.
  Padding (pad)                        that lays rows of memory around its operand (`Pad.is_frame`) is not taken by a
      reduction, which would test at every step whether it is inside.  It starts a cluster of its own, and that takes
      what makes the operand as if there were no padding: the kernel writes into the middle of the padded buffer.

No cycle can arise: every path out of a cluster leads through its one result, and the cluster stands where its
last operation stood, when all its inputs are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from headrace.ir.core import Block, Location, Operation, Region, Value
from headrace.ir.dims import Dim, Facts
from headrace.ir.errors import PassError
from headrace.ir.graph.families import DataDims, GraphOp, Index, LookingUp, Movement, OwnKernel, Pull, Reducing, tensor
from headrace.ir.graph.lazy import is_unfolded, lazy_values
from headrace.ir.graph.linear import ONE
from headrace.ir.graph.ops.cluster import Cluster as ClusterOp
from headrace.ir.graph.ops.control import If
from headrace.ir.graph.ops.device import Call
from headrace.ir.graph.ops.func import GraphFunc, Yield
from headrace.ir.graph.ops.loop import Loop
from headrace.ir.graph.ops.pad import Pad
from headrace.ir.graph.reads import OperandRead, permutes, probe_index, pulled_reads, reduced_reads, scalar_operations
from headrace.ir.kernel.ops import convert, scalar
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.rewrite import Builder, Rewriter

# A movement may be read at a few places by one cluster; each place is an access of the kernel.
MOST_PLACES = 4
FREE = (convert.Constant, convert.Index, convert.Holds)
CHEAP = (
    scalar.Neg, scalar.Abs, scalar.Not, scalar.Add, scalar.Sub, scalar.Mul, scalar.Min, scalar.Max, scalar.And,
    scalar.Or, scalar.Xor, scalar.Compare, scalar.Select, convert.Cast,
)  # fmt: skip


@dataclass(frozen=True)
class Cluster(Pass):
    """`max_ops`: operations in one cluster at most."""

    max_ops: int = 64

    summary = "group operations into clusters that become one kernel each"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        for function in module.functions(GraphFunc):
            if not function.stands_for_constant:
                clusters = _Grouping(function, self.max_ops).clusters()
                for cluster in clusters:
                    _write(cluster, rewriter)
                _erase(clusters, rewriter)


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a cluster reads a value: in the step of its reduction or once per result element, and at what index."""

    in_step: bool
    index: Index
    otherwise: float | int | bool | None


class _Cluster:
    """A cluster in the making: its operations, and the sites at which these read each value.

    `made` is what its kernel computes element by element: the output, or what that lays padding around.
    """

    def __init__(self, output: GraphOp) -> None:
        self.output = output
        self.made = output.x if isinstance(output, Pad) and output.is_frame else output.results[0]
        self.index = probe_index(tensor(self.made).rank)
        self.root: Reducing | None = None
        self.operations: dict[Operation, None] = {}
        self.sites: dict[Value, dict[_Site, None]] = {self.made: {_Site(False, self.index, None): None}}
        if self.made is output.results[0]:
            self.add(output)
        else:
            self.operations[output] = None

    def add(self, operation: GraphOp) -> None:
        """Takes an operation whose result is read at known sites; what it reads in turn becomes known."""
        self.operations[operation] = None
        if isinstance(operation, Reducing):
            self.root = operation
            (site,) = self.sites[operation.result]
            step, finish = reduced_reads(operation, site.index, self._reduced(operation))
            self._note(step, in_step=True)
            self._note(finish, in_step=False)
        elif isinstance(operation, Pull):
            for site in self.sites[operation.result]:
                self._note(pulled_reads(operation, site.index), site.in_step, site.otherwise)

    def _note(self, reads: Sequence[OperandRead], in_step: bool, otherwise: float | int | bool | None = None) -> None:
        for read in reads:
            site = _Site(in_step, read.index, otherwise if read.otherwise is None else read.otherwise)
            self.sites.setdefault(read.operand, {})[site] = None

    @staticmethod
    def _reduced(root: Reducing) -> Index:
        return tuple(Dim.symbol(f"_over{i}") for i in range(len(root.reduction_axes())))

    def evaluations(self, site: _Site) -> Dim:
        """How often the kernel comes by."""
        once = tensor(self.made).elements
        if not site.in_step or self.root is None:
            return once
        return once * prod((extent for _, extent in self.root.reduction_axes()), start=Dim.constant(1))


class _Grouping:
    """The clusters of one function."""

    def __init__(self, function: GraphFunc, max_ops: int) -> None:
        self.block = function.block
        self.facts: Facts = function.known
        self.max_ops = max_ops
        self.lazy = lazy_values(function.block)
        self.homes: dict[Operation, list[_Cluster]] = {}

    def clusters(self) -> list[_Cluster]:
        """In program order."""
        found: list[_Cluster] = []
        for operation in reversed(self.block.body):
            if not self._needs_kernel(operation):
                continue
            assert isinstance(operation, GraphOp)
            takers = [] if isinstance(operation, OwnKernel) else self._takers(operation)
            for cluster in takers:
                cluster.add(operation)
            if not takers:
                takers = [_Cluster(operation)]
                found.extend(takers)
            self.homes[operation] = takers
        return found[::-1]

    def _needs_kernel(self, operation: Operation) -> bool:
        holds_functions = isinstance(operation, If | Loop | Call)
        if operation.regions or holds_functions or all(r in self.lazy for r in operation.results):
            return False
        if isinstance(operation, Movement) and operation.is_view and not _only_adds_ones(operation):
            return False
        if not isinstance(operation, Pull | Reducing | OwnKernel):
            where = f"{operation.name} (node {operation.location})"
            raise PassError(f"graph.cluster: {where} has no kernel form; graph.decompose must come before")
        return True

    def _takers(self, operation: GraphOp) -> list[_Cluster]:
        """The clusters that take the operation in; empty if it has to have a cluster of its own."""
        value = operation.result
        readers: dict[_Cluster, None] = {}
        for user in value.users:
            if user not in self.homes:
                return []
            readers.update(dict.fromkeys(self.homes[user]))
        for user in value.users:
            if isinstance(user, DataDims) and user.reads_dims_in(value):
                return []  # the host reads the dims from memory
            if isinstance(user, LookingUp) and value in user.looked_up:
                return []  # the kernel reads indices from memory
        whole = all(self._fits(operation, cluster) for cluster in readers)
        right = len(readers) == 1 or self._may_be_repeated(operation)
        return list(readers) if whole and right else []

    def _fits(self, operation: GraphOp, cluster: _Cluster) -> bool:
        sites = list(cluster.sites.get(operation.result, ()))
        if not sites or len(cluster.operations) >= self.max_ops or isinstance(operation, DataDims):
            return False
        if self._may_be_repeated(operation):
            inside = all(s.otherwise is None for s in sites)
            permuted = isinstance(operation, Movement) and permutes(operation)
            return (inside or permuted) and len(sites) <= MOST_PLACES
        if len(sites) > 1 or sites[0].otherwise is not None:
            return False
        if isinstance(operation, LookingUp) and cluster.root is not None:
            return False
        if isinstance(operation, Reducing):
            if any(isinstance(o, LookingUp) for o in cluster.operations):
                return False
            return cluster.root is None and not sites[0].in_step and self._is_point(operation, cluster, sites[0].index)
        assert isinstance(operation, Pull)
        if isinstance(operation, Pad) and operation.is_frame and sites[0].in_step:
            return False
        if _is_epilogue(operation) and (
            cluster.root is not None or sites[0].in_step or not self._is_point(operation, cluster, sites[0].index)
        ):
            return False
        once = self.facts.less_equal(cluster.evaluations(sites[0]), tensor(operation.result).elements)
        return once is True or (not sites[0].in_step and _is_cheap(operation))

    def _is_point(self, operation: GraphOp, cluster: _Cluster, index: Index) -> bool:
        """Whether each of the cluster's points reads one element: at its own index, or with the first dims in another
        order, so that what is contiguous stays so."""
        own, made = cluster.index, tensor(cluster.made).dims
        if sorted(map(str, index)) != sorted(map(str, own)) or index[-1:] != own[-1:]:
            return False
        return tensor(operation.result).dims == tuple(made[own.index(i)] for i in index)

    def _may_be_repeated(self, operation: GraphOp) -> bool:
        """Whether its elements may be made in each kernel that reads them: a movement, numbers out of nothing, or a
        constant in a wider type."""
        return isinstance(operation, Movement) or not operation.operands or is_unfolded(operation, self.lazy)


def _only_adds_ones(view: Movement) -> bool:
    """Whether a view of what another movement makes differs in dims of 1 only: a reader of that can as well read this,
    and nothing need lie in memory."""
    above = view.operands[0].owner
    if not isinstance(above, Movement) or above.is_view or isinstance(view, DataDims):
        return False
    plain = [[d for d in tensor(v).dims if d != ONE] for v in (view.operands[0], view.result)]
    return plain[0] == plain[1]


def _is_epilogue(operation: Pull) -> bool:
    """Whether a reducing operation could take it along: it reads that at its own index, directly or through others,
    and nobody else reads these."""
    chain: set[Operation] = {operation}
    pending: list[Pull] = [operation]
    while pending:
        for value in _read_at_home(pending.pop()):
            above = value.owner
            if above in chain or not chain.issuperset(value.users):
                continue
            if isinstance(above, Reducing):
                return True
            if isinstance(above, Pull):
                chain.add(above)
                pending.append(above)
    return False


def _read_at_home(operation: Pull) -> list[Value]:
    """The operands whose elements it reads at the very index of its own."""
    kind = tensor(operation.result)
    index = probe_index(kind.rank)
    reads = [r for r in pulled_reads(operation, index) if r.index == index and r.otherwise is None]
    return [r.operand for r in reads if tensor(r.operand).dims == kind.dims]


def _is_cheap(operation: Pull) -> bool:
    """Whether an element costs at most one quick instruction."""
    work = [o for o in scalar_operations(operation) if not isinstance(o, FREE)]
    return len(work) <= 1 and all(isinstance(o, CHEAP) for o in work)


def _write(cluster: _Cluster, rewriter: Rewriter) -> None:
    """Inserts the operation for a cluster; the originals stay, without users outside."""
    block = cluster.output.parent
    assert block is not None
    operations = sorted(cluster.operations, key=block.operations.index)
    made = {r for o in operations for r in o.results}
    inputs = list(dict.fromkeys(v for o in operations for v in o.operands if v not in made))
    body = Block([v.type for v in inputs], [v.hint for v in inputs])
    copies: dict[Value, Value] = dict(zip(inputs, body.arguments, strict=True))
    builder = Builder(body)
    for operation in operations:
        builder.add(operation.clone(copies))
    builder.add(Yield(tuple(copies[r] for r in cluster.output.results)))
    new = ClusterOp(tuple(inputs), Region(body))
    new.location = Location.fused(o.location for o in operations)
    rewriter.before(cluster.output).add(new)
    for old, result in zip(cluster.output.results, new.results, strict=True):
        result.hint = old.hint
        rewriter.replace_uses(old, result)


def _erase(clusters: Sequence[_Cluster], rewriter: Rewriter) -> None:
    """Removes the originals, users first."""
    for cluster in reversed(clusters):
        for operation in cluster.operations:  # from the last upwards, as they were taken
            if operation.parent is not None and not any(r.uses for r in operation.results):
                rewriter.erase(operation)
