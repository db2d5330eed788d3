"""What kernels find wrong in the data, on a device.  In: where to run.  Out: verdicts.

Operations with indices stand in one model; an index is out of range in one of them, or in two.
Where the target takes no operation that can fail, there is nothing to look at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headrace.codegen.artefact.reader import read
from headrace.compiler.conformance.contract import Broken, Verdict, verdicts
from headrace.compiler.conformance.operators import Place, runs_here
from headrace.compiler.conformance.watched import Tell, nobody
from headrace.compiler.driver import compile_module, copy_of
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Region
from headrace.ir.graph.families import Array
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.arithmetic import Add
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.gather import Gather
from headrace.ir.module import Module, module_of
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, I64, TensorType
from headrace.runtime.python import InputError, Session, load
from headrace.targets import find_target

ROWS, COLUMNS, COUNT = 5, 3, 70  # of the tables; of the indices into each
FAR = (1 << 40) + 1  # in range, where its upper half is lost
NODES = ("first", "second", "left", "right")  # the last two are added, so that one kernel may have a check for each


def check_faults(place: Place, tell: Tell = nobody) -> Iterator[Verdict]:
    """All promises about faults, in order."""
    preset, target = find_target(place.target)
    refused = [target.refuses(o, preset) is not None for o in _function(len(NODES)).block.body]
    count = len(NODES) if not refused[-1] else NODES.index("left")
    if not refused[0] and _runs(place, _function(1)):
        yield from verdicts(_CHECKS, tell, place, NODES[:count])


def _function(count: int) -> GraphFunc:
    """So many of the nodes, each on a table and indices of its own."""
    block = Block()
    builder, found = Builder(block), []
    for node in NODES[:count]:
        table = block.add_argument(TensorType.of(F32, ROWS, COLUMNS))
        gather = Gather(table, block.add_argument(TensorType.of(I64, "n")), 0)
        gather.location = Location((node,))
        found.append(builder.add(gather).result)
    if count == len(NODES):
        both = Add(*found[-2:])
        both.location = Location(("sum",))
        found[-2:] = [builder.add(both).result]
    builder.add(Return(tuple(found)))
    inputs = tuple(f"{what}_{node}" for node in NODES[:count] for what in ("table", "indices"))
    outputs = tuple(f"result_{n}" for n in range(len(found)))
    module, function = Module(Region()), GraphFunc(SymbolRef("main"), Region(block), (), inputs, outputs)
    Builder(module.block).add(function)
    return function


def _runs(place: Place, function: GraphFunc) -> bool:
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "m.hrm"
        compile_module(copy_of(module_of(function)), output=path, target=place.target)
        return runs_here(path, place)


@dataclass(frozen=True, slots=True)
class _Model:
    """`nodes`: in the order in which they are launched."""

    session: Session
    nodes: Sequence[str]
    function: GraphFunc

    def run(self, **wrong: int) -> str | None:
        """What is said of a run in which the last index of some nodes is another; None if nothing is."""
        inputs = _inputs(self.nodes)
        for node, index in wrong.items():
            inputs[f"indices_{node}"][-1] = index
        try:
            found = self.session.run(inputs)
        except InputError as error:
            return str(error)
        expected = [] if wrong else run_graph(self.function, [inputs[n] for n in self.function.input_names])
        for name, right in zip(self.function.output_names, expected, strict=False):
            if not np.array_equal(found[name], right):
                raise Broken(f"a run in which all is right gives wrong numbers in {name!r}")
        return None

    def expect(self, node: str, **wrong: int) -> None:
        """It is said of this node."""
        said = self.run(**wrong)
        expected = f"node '{node}': index {wrong[node]} is out of range for a dim of {ROWS}"
        if said != expected:
            raise Broken(f"the error is {said!r}, expected {expected!r}")


def _inputs(nodes: Sequence[str]) -> dict[str, Array]:
    inputs = dict[str, Array]()
    for number, node in enumerate(nodes):
        table = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
        inputs[f"table_{node}"] = table + 100 * number
        inputs[f"indices_{node}"] = (np.arange(COUNT) * (number + 2) + 1) % ROWS
    return inputs


def _opened(place: Place, nodes: Sequence[str]) -> _Model:
    function = _function(len(nodes))
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "m.hrm"
        compile_module(copy_of(module_of(function)), output=path, target=place.target)
        launched = [n for launch in read(path).artefact.variants[0].program.launches for n in launch.nodes]
        session = load(path, threads=2, device=place.device, drivers=place.drivers)
    return _Model(session, [n for n in dict.fromkeys(launched) if n in nodes], function)


def _told(place: Place, nodes: Sequence[str]) -> None:
    """What a kernel finds wrong is told with its node and its numbers, wherever it is launched."""
    model = _opened(place, nodes)
    for number, node in enumerate(model.nodes):
        model.expect(node, **{node: 7 + number})
        model.expect(node, **{node: FAR})


def _first(place: Place, nodes: Sequence[str]) -> None:
    """Of several faults in a run, the first is told."""
    model = _opened(place, nodes)
    one, other = [n for n in model.nodes if n in ("first", "second")]
    model.expect(one, **{one: 8, other: 9})


def _once(place: Place, nodes: Sequence[str]) -> None:
    """A fault is told once: the next run is as if it had not been."""
    model = _opened(place, nodes)
    for node in model.nodes:
        model.run(**{node: 11})
        if said := model.run():
            raise Broken(f"a run in which all is right ends with the error {said!r}")


_CHECKS: tuple[Callable[[Place, Sequence[str]], None], ...] = (_told, _first, _once)
