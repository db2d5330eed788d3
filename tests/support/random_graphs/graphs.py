"""One random graph for a seed.  In: the seed, which operations may occur.  Out: a module, inputs for each of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Region
from headrace.ir.declare import declarations
from headrace.ir.graph.families import Array, GraphOp
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, TensorType
from headrace.ir.verify import verify
from random_graphs.growing import SYMBOLS, Growing, draw_element_types, operations_of
from random_graphs.patterns import PATTERNS

MOST_OPERATIONS = 12
_WEIGHTS = np.array([w for _, w in PATTERNS], float)


@dataclass(frozen=True)
class RandomGraph:
    """`cases`: arrays for the inputs, by name; the same artefact is to run all of them."""

    seed: int
    module: Module
    cases: Sequence[dict[str, Array]]

    @property
    def main(self) -> GraphFunc:
        return next(self.module.functions(GraphFunc))


def sampled_classes() -> list[type[GraphOp]]:
    """The operations whose declarations make random instances."""
    classes = [d.cls for d in declarations("graph") if issubclass(d.cls, GraphOp)]
    return [c for c in classes if any("sample" in vars(base) for base in c.__mro__[: c.__mro__.index(GraphOp)])]


def random_graph(seed: int) -> RandomGraph:
    """The graph of a seed: 1 to 12 operations, few more often than many."""
    return grown(seed, Growing(np.random.default_rng(seed)))


def grown(seed: int, g: Growing) -> RandomGraph:
    """A graph in one that has nothing yet."""
    classes = sampled_classes()
    # Parameters that bind the symbols.
    given: list[tuple[str | int, ...]] = [SYMBOLS] if g.chance(0.6) else [("n", 4), (8, "m")]
    for dims in given:
        g.tensor(TensorType.of(F32, *dims))
    wanted = 1 + min(int(g.rng.integers(MOST_OPERATIONS)), int(g.rng.integers(MOST_OPERATIONS)))
    for _ in range(20 * wanted):
        if len(operations_of(g.block)) >= wanted:
            break
        draw_element_types(g)
        if g.chance(0.5):
            cls = classes[int(g.rng.integers(len(classes)))]
            g.grow(lambda: cls.sample(g))  # noqa: B023 - called at once
        else:
            pattern = PATTERNS[int(g.rng.choice(len(PATTERNS), p=_WEIGHTS / _WEIGHTS.sum()))][0]
            g.grow(lambda: pattern(g))  # noqa: B023
    return _finished(seed, g)


def _finished(seed: int, g: Growing) -> RandomGraph:
    results = [v for v in g.values if not v.uses and v not in g.block.arguments] or g.values[-1:]
    more = [v for v in g.values if v not in results]
    if more and g.chance(0.3):
        results.append(more[int(g.rng.integers(len(more)))])  # one that others use, a parameter or a constant
    if g.chance(0.15):
        results.append(results[int(g.rng.integers(len(results)))])  # returned twice
    g.builder.add(Return(tuple(results)))
    _number_nodes(g.block)
    names = tuple(f"x{i}" for i in range(len(g.block.arguments)))
    outputs = tuple(f"y{i}" for i in range(len(results)))
    facts = tuple(f"{s} in [0, inf]" for s in g.cases[0] if s not in SYMBOLS)
    main = GraphFunc(SymbolRef("main"), Region(g.block), facts, names, outputs)
    Builder(g.module.block).add(main)
    verify(g.module)
    cases = [{n: g.arrays[a][c] for n, a in zip(names, g.block.arguments, strict=True)} for c in range(len(g.cases))]
    return RandomGraph(seed, g.module, cases)


def _number_nodes(block: Block) -> None:
    """Locations, so that messages name a place."""
    for number, operation in enumerate(operations_of(block)):
        operation.location = Location((f"{operation.name.partition('.')[2]}_{number}",))
