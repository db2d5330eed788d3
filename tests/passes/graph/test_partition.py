"""Groups for devices: convex, in order, and with the same results."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from random_graphs.graphs import random_graph

from headrace.ir.core import Operation, OpResult, walk
from headrace.ir.facts import Device
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.device import Call, DeviceFunc
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.rewrite import Rewriter
from headrace.ir.text import parse_module, print_op
from headrace.ir.verify import verify
from headrace.passes.graph.partition import Partition
from headrace.targets import find_target

DIAMOND = """module {
  graph.func @main(%x: f32[n, 8]) {input_names = ["x"], output_names = ["y"]} {
    %a = graph.relu %x : f32[n, 8]
    %b = graph.exp %a : f32[n, 8]
    %c = graph.sigmoid %a : f32[n, 8]
    %d = graph.add %b, %c : f32[n, 8]
    graph.return %d
  }
}
"""


def _partitioned(module: Module, *takes: Callable[[Operation], bool]) -> PassContext:
    preset, target = find_target("x86-64-v3")
    devices = []
    for number, taken in enumerate(takes):
        _, other = find_target(f"x86-64-v{2 * number + 2}")
        facts = other.presets[f"x86-64-v{2 * number + 2}"]
        devices.append(Device(facts, lambda o, taken=taken: None if taken(o) else "not this one"))
    context = PassContext(target.presets[preset], target.schedule, devices=tuple(devices))
    Partition().run(module, Rewriter(), context)
    verify(module)
    return context


def _names(module: Module) -> list[list[str]]:
    return [[o.name for o in f.block.body] for f in module.functions(DeviceFunc)]


def test_a_group_does_not_wait_for_itself() -> None:
    module = parse_module(DIAMOND)
    _partitioned(module, lambda o: o.name != "graph.exp")
    assert _names(module) in (
        [["graph.relu", "graph.sigmoid"], ["graph.add"]],
        [["graph.relu"], ["graph.sigmoid", "graph.add"]],
    )


def test_what_one_device_takes_another_is_not_offered() -> None:
    module = parse_module(DIAMOND)
    context = _partitioned(module, lambda o: o.name == "graph.exp", lambda o: True)
    assert _names(module)[0] == ["graph.exp"]
    where = [(p.operation, p.device) for p in context.placements]
    assert where == [
        ("graph.relu", "x86-64-v4"),
        ("graph.exp", "x86-64-v2"),
        ("graph.sigmoid", "x86-64-v4"),
        ("graph.add", "x86-64-v4"),
    ]
    assert context.placements[0].against == (("x86-64-v2", "not this one"),)


def test_nothing_is_taken_where_there_are_no_devices() -> None:
    module = parse_module(DIAMOND)
    context = _partitioned(module)
    assert print_op(module) == print_op(parse_module(DIAMOND))
    assert {p.device for p in context.placements} == {"x86-64-v3"}


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_keep_their_results(seed: int) -> None:
    graph = random_graph(seed)
    inputs = [[case[n] for n in graph.main.input_names] for case in graph.cases]
    expected = [run_graph(graph.main, arrays) for arrays in inputs]
    context = _partitioned(graph.module, lambda o: zlib.crc32(f"{seed} {o.name}".encode()) % 3 > 0, lambda o: True)
    assert context.placements or not list(graph.main.block.body)
    (main,) = (f for f in graph.module.functions(GraphFunc) if not f.private)
    for arrays, results in zip(inputs, expected, strict=True):
        for found, result in zip(run_graph(main, arrays), results, strict=True):
            np.testing.assert_array_equal(found, result)
    again = parse_module(print_op(graph.module), constants=graph.module.constants)
    assert print_op(again) == print_op(graph.module)
    _calls_are_acyclic(main)


def _calls_are_acyclic(main: GraphFunc) -> None:
    flow = nx.DiGraph()
    for call in walk(main, Call):
        flow.add_edges_from((o.operation, call) for o in call.operands if isinstance(o, OpResult))
    assert nx.is_directed_acyclic_graph(flow)


@pytest.mark.parametrize("facts", ["", ', facts = ["n in [17, inf]"]'])
def test_dims_that_have_no_value_at_16(facts: str) -> None:
    """What a group has to compute is weighed at typical dims, which must be legal ones."""
    text = f"""
    graph.func @main(%x: f32[m floordiv (n - 16)], %n: f32[n], %m: f32[m])
        {{input_names = ["x", "n", "m"], output_names = ["y"]{facts}}} {{
      %y = graph.exp %x : f32[m floordiv (n - 16)]
      graph.return %y
    }}
    """
    module = parse_module(text)
    _partitioned(module, lambda o: True)
    assert _names(module) == [["graph.exp"]]
