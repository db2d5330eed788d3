"""Blocks: where operations stand, however they were inserted and removed."""

from __future__ import annotations

from random import Random

import pytest

from headrace.ir.core import NEAR, Block, Operation
from headrace.ir.graph.ops.fill import Fill
from headrace.ir.types import F32


def filled(count: int) -> Block:
    block = Block()
    for place in range(count):
        block.insert(place, one())
    return block


def one() -> Operation:
    return Fill((), 0.0, F32)


@pytest.mark.parametrize("seed", range(4))
def test_positions_are_right_wherever_the_block_changes(seed: int) -> None:
    random = Random(seed)
    block = filled(6 * NEAR)
    for _ in range(2000):
        chosen = random.choice(block.operations)
        place = block.position(chosen)
        assert block.operations[place] is chosen
        if random.random() < 0.5 and len(block.operations) > NEAR:
            block.remove(chosen)
        else:
            block.insert(random.randrange(len(block.operations) + 1), one())


@pytest.mark.parametrize("change", ["insert", "remove"])
def test_positions_are_right_for_a_pass_on_its_way_down(change: str) -> None:
    block = filled(6 * NEAR)
    left = list(block.operations)
    for operation in left:
        place = block.position(operation)
        assert block.operations[place] is operation
        if change == "insert":
            block.insert(place, one())
        else:
            block.remove(operation)
    assert len(block.operations) == (2 * len(left) if change == "insert" else 0)
