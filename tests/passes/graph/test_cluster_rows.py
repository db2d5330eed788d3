"""graph.cluster-rows: how far a group of clusters grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.ir.graph.ops.cluster import Cluster as ClusterOp
from headrace.passes.graph import cluster_rows
from headrace.passes.graph.cluster import Cluster
from headrace.passes.graph.cluster_rows import ClusterRows

if TYPE_CHECKING:
    from tests.passes.graph.conftest import Bench

COUNT = 40
# The first one is of a row, and so all may be one group.
SUMS = "\n".join(f"%{i + 2} = graph.add %{i + 1}, %{i} : f32[n, 8]" for i in range(COUNT))
BODY = f"""(%x: f32[n, 8]) {{
    %s = graph.reduce %x {{kind = "sum", axes = [1], keepdims = true}} : f32[n, 1]
    %0 = graph.add %x, %s : f32[n, 8]
    %1 = graph.neg %0 : f32[n, 8]
    {SUMS}
    graph.return %{COUNT + 1}
}}"""


def test_a_group_is_bounded(bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_rows, "MOST_MEMBERS", 10)
    subject = bench(BODY)
    subject.run(Cluster(max_ops=1), ClusterRows())
    grouped = [o for o in subject.main.block.body if isinstance(o, ClusterOp) and o.rows]
    assert len(grouped) == 1
    assert len(subject.main.block.body) > COUNT - 10
