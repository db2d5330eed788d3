"""docs/conformance.md: it has every operation, and what it says is right of some of them is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import conformance_page
import pytest

from headrace.compiler.conformance.samples import sampled_names

CLAIMS = conformance_page.claims(conformance_page.PAGE.read_text())
FEW = ("graph.add", "graph.gather", "graph.matmul")


def test_every_operation_has_a_row() -> None:
    assert list(dict.fromkeys(name for name, _ in CLAIMS)) == sampled_names()


@pytest.mark.parametrize("driver", conformance_page.DRIVERS)
def test_what_is_right_is_right(driver: str, request: Any, require_tool: Callable[[str], str]) -> None:
    require_tool("gcc")
    if driver == "opencl":
        request.getfixturevalue("opencl")
    cells = conformance_page.run(driver, FEW)
    assert [c for c in cells if c.outcome == "wrong"] == []
    for name in FEW:
        assert {"f32", "i32"} <= CLAIMS[name, driver] <= conformance_page.right(cells, name)
