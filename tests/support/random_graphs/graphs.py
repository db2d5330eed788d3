"""One random graph for a seed.  In: the seed, which operations may occur.  Out: a module, inputs for each of its cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Location, Operation, Region
from headrace.ir.declare import declarations
from headrace.ir.graph.families import Array, Elementwise, GraphOp, Movement, tensor
from headrace.ir.graph.ops.arg import Arg, Positions
from headrace.ir.graph.ops.arithmetic import Div
from headrace.ir.graph.ops.concat import Concat
from headrace.ir.graph.ops.extend import Extend
from headrace.ir.graph.ops.fmod import FMod
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.pool import MaxPool
from headrace.ir.graph.ops.pool_indices import MaxPoolIndices
from headrace.ir.graph.ops.top_k import TopK
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType
from headrace.ir.verify import verify
from random_graphs.blocks import block
from random_graphs.branching import branch
from random_graphs.growing import SYMBOLS, Growing, draw_element_types, operations_of
from random_graphs.patterns import PATTERNS
from random_graphs.recipes import imported

MOST_STEPS = 9
_WEIGHTS = np.array([w for _, w in PATTERNS], float) / sum(w for _, w in PATTERNS)


@dataclass(frozen=True)
class RandomGraph:
    """`cases`: arrays for the inputs, by name; the same artefact is to run all of them."""

    seed: int
    module: Module
    cases: Sequence[dict[str, Array]]

    @property
    def main(self) -> GraphFunc:
        return next(f for f in self.module.functions(GraphFunc) if not f.private)

    @property
    def operations(self) -> list[Operation]:
        """All but constants and terminators, of branches too."""
        return [o for f in self.module.functions(GraphFunc) for o in operations_of(f.block)]


def sampled_classes() -> list[type[GraphOp]]:
    """The operations whose declarations make random instances."""
    classes = [d.cls for d in declarations("graph") if issubclass(d.cls, GraphOp)]
    return [c for c in classes if any("sample" in vars(base) for base in c.__mro__[: c.__mro__.index(GraphOp)])]


_CLASSES = sampled_classes()
# What depends on no order of operations, whatever the numbers are.
_CHOOSING = (Arg, Concat, Extend, MaxPool, MaxPoolIndices, Positions, TopK)
_OF_ANY_NUMBERS = [c for c in _CLASSES if issubclass(c, (Elementwise, Movement, *_CHOOSING))]


def random_graph(seed: int) -> RandomGraph:
    """The graph of a seed: 1 to 9 steps, few more often than many, each an operation or several."""
    rng = np.random.default_rng(seed)
    kind = rng.random()
    if kind > 0.94:
        return grown(seed, Growing(rng, special=True, accepts=_has_a_quotient))
    return grown(seed, Growing(rng, large=bool(kind < 0.08)))


def _has_a_quotient(_: Growing, operation: GraphOp, operands: Sequence[Sequence[Array]]) -> bool:
    """Rows are multiplied by a reciprocal, which a denormal has none of; fmod is for quotients below 2^600."""
    if not isinstance(operation, Div | FMod) or not tensor(operation.b).dtype.is_float:
        return True
    pairs = [[np.abs(x.astype(np.float64)) for x in case] for case in operands]
    if isinstance(operation, FMod):
        with np.errstate(all="ignore"):
            return not any(((a / b >= 2.0**600) & (b > 0) & np.isfinite(a)).any() for a, b in pairs)
    return not any(((b > 0) & (b < float(np.finfo(np.float32).tiny))).any() for _, b in pairs)


def grown(seed: int, g: Growing) -> RandomGraph:
    """A graph in one that has nothing yet."""
    # Parameters that bind the symbols.
    given: list[tuple[str | int, ...]] = [SYMBOLS] if g.chance(0.6) else [("n", 4), (8, "m")]
    for dims in given:
        g.tensor(TensorType.of(F32, *dims))
    steps = 1 + min(int(g.rng.integers(MOST_STEPS)), int(g.rng.integers(MOST_STEPS)))
    extend(g, steps)
    return _finished(seed, g)


def extend(g: Growing, steps: int) -> None:
    """So many steps, as far as they can be had."""
    done = 0
    for _ in range(20 * steps):
        if done == steps:
            break
        draw_element_types(g)
        done += g.grow(_step(g))


def _step(g: Growing) -> Callable[[], GraphOp | None]:
    """An operation as its declaration samples it, a pattern, a block, a node of ONNX, or a branch."""
    if g.special:
        lone = _OF_ANY_NUMBERS[int(g.rng.integers(len(_OF_ANY_NUMBERS)))]
        return lambda: lone.sample(g)
    kind = g.rng.random()
    if kind < 0.5:
        cls = _CLASSES[int(g.rng.integers(len(_CLASSES)))]
        return lambda: cls.sample(g)
    if kind < 0.8:
        pattern = PATTERNS[int(g.rng.choice(len(PATTERNS), p=_WEIGHTS))][0]
        return lambda: pattern(g)
    if kind < 0.9:
        return lambda: block(g)
    if kind < 0.96:
        return lambda: imported(g)
    return lambda: branch(g, extend)


def _finished(seed: int, g: Growing) -> RandomGraph:
    results = [v for v in g.values if not v.uses and v not in g.block.arguments] or g.values[-1:]
    more = [v for v in g.values if v not in results]
    if more and g.chance(0.3):
        results.append(more[int(g.rng.integers(len(more)))])  # one that others use, a parameter or a constant
    if g.chance(0.15):
        results.append(results[int(g.rng.integers(len(results)))])  # returned twice
    g.builder.add(Return(tuple(results)))
    names = tuple(f"x{i}" for i in range(len(g.block.arguments)))
    outputs = tuple(f"y{i}" for i in range(len(results)))
    main = GraphFunc(SymbolRef("main"), Region(g.block), g.facts, names, outputs)
    place = Builder(g.module.block)
    for function in (main, *g.functions):
        place.add(function)
    verify(g.module)
    cases = [{n: g.arrays[a][c] for n, a in zip(names, g.block.arguments, strict=True)} for c in range(len(g.cases))]
    return _number_nodes(RandomGraph(seed, g.module, cases))


def _number_nodes(graph: RandomGraph) -> RandomGraph:
    """Locations, so that messages name a place."""
    for number, operation in enumerate(graph.operations):
        operation.location = Location((f"{operation.name.partition('.')[2]}_{number}",))
    return graph
