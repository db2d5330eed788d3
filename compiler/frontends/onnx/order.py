"""The order in which nodes are imported.  In: a graph's nodes.  Out: their numbers, each after what it takes.

Models should list their nodes in such an order already; it is kept as far as it is one.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from headrace.compiler.frontends.onnx.scope import Scope
from headrace.ir.errors import ModelError, nearest


def ordered(file: str, nodes: Sequence[NodeProto], names: Sequence[str], scope: Scope) -> list[int]:
    """Numbers of the nodes so that each comes after those whose outputs it takes; the model's order where it may.

    Raises ModelError for an output that is made twice, an input that nothing makes, and a cycle.
    """
    makers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for output in node.output:
            if not output:
                continue
            if output in makers:
                raise ModelError(
                    f"{file}: node {names[number]!r}: output {output!r} is made by node {names[makers[output]]!r} too"
                )
            if scope.holds(output) and (output in scope.values or output in scope.constants):
                raise ModelError(f"{file}: node {names[number]!r}: output {output!r} is an input or initializer too")
            makers[output] = number
    waits: list[set[int]] = []
    users: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        before = set()
        for name in (*node.input, *captured_by(node)):
            if not name or (name not in makers and scope.holds(name)):
                continue
            if name not in makers:
                alike = nearest(name, [*scope.names, *makers])
                raise ModelError(f"{file}: node {names[number]!r}: input {name!r}: nothing makes it{alike}")
            before.add(makers[name])
        waits.append(before)
        for maker in sorted(before):
            users.setdefault(maker, []).append(number)
    return _sorted(file, waits, users, names)


def _sorted(file: str, waits: list[set[int]], users: Mapping[int, list[int]], names: Sequence[str]) -> list[int]:
    ready = [n for n, before in enumerate(waits) if not before]
    heapq.heapify(ready)
    found = []
    while ready:
        number = heapq.heappop(ready)
        found.append(number)
        for user in users.get(number, ()):
            waits[user].discard(number)
            if not waits[user]:
                heapq.heappush(ready, user)
    if len(found) < len(waits):
        circle = _circle({n: before for n, before in enumerate(waits) if before})
        raise ModelError(f"{file}: node {names[circle[0]]!r}: a cycle: {' -> '.join(repr(names[n]) for n in circle)}")
    return found


def _circle(waits: Mapping[int, set[int]]) -> list[int]:
    """Nodes that wait for one another, the first one again at the end, each before its user."""
    path = [min(waits)]
    while True:
        before = min(n for n in waits[path[-1]] if n in waits)
        if before in path:
            circle = [*path[path.index(before) :], before][::-1]
            first = circle.index(min(circle))
            return [*circle[first:-1], *circle[: first + 1]]
        path.append(before)


def count_of(nodes: Sequence[NodeProto]) -> int:
    """How many they are, with those in their branches and bodies."""
    return len(nodes) + sum(count_of(graph.node) for node in nodes for graph in _graphs(node))


def _graphs(node: NodeProto) -> list[GraphProto]:
    return [a.g for a in node.attribute if a.type == AttributeProto.AttributeType.GRAPH]


def captured_by(node: NodeProto) -> list[str]:
    """Names that the branches of a node take from around it."""
    return [name for graph in _graphs(node) for name in captured(graph)]


def captured(graph: GraphProto) -> list[str]:
    """Names that a graph within a node takes from around it, each once."""
    inside = {i.name for i in (*graph.input, *graph.initializer)} | {o for n in graph.node for o in n.output}
    taken = [i for n in graph.node for i in (*n.input, *captured_by(n))]
    taken += [o.name for o in graph.output]
    return [t for t in dict.fromkeys(taken) if t and t not in inside]
