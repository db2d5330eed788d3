"""program.plan-memory: random programs at random dims; what is alive together lies apart, and little is wasted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Operation, Region, Value
from headrace.ir.dims import Dim, as_dim
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.program.ops.program import Alloc, Copy, Launch, ProgramFunc, Read, View
from headrace.ir.rewrite import Builder, Rewriter
from headrace.ir.types import F32, I64, BufferType
from headrace.passes.program.plan_memory import PlanMemory, aligned_bytes, arena_bytes

STATIC = ["1", "3", "100", "4096", "10000"]
BATCHED = ["n", "n*3", "n*100", "n*4096", "n*10000"]
ROUNDED = ["((n + 1) floordiv 2)*m", "max(n, m)*32", "(h floordiv 2)*(w floordiv 2)*64"]
MIXED = ["7", "n*5", "m", "n*m*3", "n*m*64", "h*w*16", *ROUNDED]


def _program(rng: np.random.Generator, sizes: Sequence[str], length: int, reads: bool = False) -> Module:
    """Launches that each write one new buffer and read a few earlier ones, some through views."""
    symbols = tuple(as_dim(s) for s in ("n", "m", "h", "w"))
    body = Block([BufferType(F32, symbols), BufferType(I64, (Dim.constant(4),)), BufferType(F32, symbols)])
    builder = Builder(body)
    values: list[Value] = [body.arguments[0]]
    bound: list[str] = []
    for number in range(length):
        if reads and rng.random() < 0.15:
            bound.append(f"d{len(bound)}")
            builder.add(Read(body.arguments[1], len(bound) % 4, bound[-1], Dim.constant(0)))
        picked = str(rng.choice([*sizes, *(f"{d}*8" for d in bound), *(f"{d}*n" for d in bound)]))
        made = builder.add(Alloc(BufferType(F32, (as_dim(picked),), "arena"))).result
        recent = values[-int(rng.integers(2, 8)) :]
        taken = [recent[int(i)] for i in rng.integers(0, len(recent), int(rng.integers(1, 4)))]
        builder.add(Launch((*taken, made), SymbolRef("k"), ()))
        if rng.random() < 0.3:
            assert isinstance(made.type, BufferType)
            kind = BufferType(F32, (Dim.constant(1), *made.type.dims), "arena")
            made = builder.add(View(made, kind, Dim.constant(0))).result
        values.append(made)
        if number == length // 2:
            builder.add(Copy(values[-1], body.arguments[2]))
    facts = ("h in [2, inf]", "n in [1, 64]")
    module = Module(Region())
    Builder(module.block).add(ProgramFunc(SymbolRef("main"), Region(body), 1, facts))
    return module


def _planned(module: Module) -> ProgramFunc:
    rewriter = Rewriter()
    PlanMemory().run(module, rewriter, PassContext())
    assert rewriter.changed
    return next(module.functions(ProgramFunc))


def _alive(function: ProgramFunc) -> list[list[Alloc]]:
    """For each operation that touches memory: the buffers with a value that it or a later one wants, by brute force."""
    steps = [o for o in function.block.operations if not isinstance(o, Alloc | View | Read)]
    found = []
    for here, _ in enumerate(steps):
        before = {a for o in steps[: here + 1] for a in _bases(o)}
        after = {a for o in steps[here:] for a in _bases(o)}
        found.append([a for a in function.block.operations if isinstance(a, Alloc) and a in before & after])
    return found


def _bases(operation: Operation) -> list[Alloc]:
    found = []
    for value in operation.operands:
        owner = value.owner
        while isinstance(owner, View):
            owner = owner.x.owner
        if isinstance(owner, Alloc):
            found.append(owner)
    return found


def _check_apart(function: ProgramFunc, values: dict[str, int]) -> None:
    for alive in _alive(function):
        for a, b in combinations(alive, 2):
            assert a.offset is not None and b.offset is not None
            starts = [int(x.offset.evaluate(values)) for x in (a, b) if x.offset is not None]
            ends = [s + int(x.type.bytes.evaluate(values)) for s, x in zip(starts, (a, b), strict=True)]
            assert ends[0] <= starts[1] or ends[1] <= starts[0], f"{a.type} and {b.type} overlap at {values}"


def _needed(function: ProgramFunc, values: dict[str, int]) -> int:
    """What no plan can do without: the most that is alive at once."""
    return max(sum(int(aligned_bytes(a).evaluate(values)) for a in alive) for alive in _alive(function))


def _values(rng: np.random.Generator) -> dict[str, int]:
    top = int(rng.choice([1, 4, 64]))
    found = {s: int(rng.integers(0, top + 1)) for s in ("m", "w", *(f"d{i}" for i in range(20)))}
    return found | {"n": int(rng.integers(1, top + 1)), "h": int(rng.integers(2, top + 2))}


@pytest.mark.parametrize("sizes", [STATIC, BATCHED, MIXED], ids=["static", "batched", "mixed"])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_what_is_alive_together_lies_apart(sizes: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    function = _planned(_program(rng, sizes, int(rng.integers(1, 14))))
    for _ in range(3):
        values = _values(rng)
        _check_apart(function, values)
        allocs = [a for a in function.block.operations if isinstance(a, Alloc)]
        ends = [int((a.offset + aligned_bytes(a)).evaluate(values)) for a in allocs if a.offset is not None]
        assert int(arena_bytes(function).evaluate(values)) == max(ends)
        assert max(ends) <= sum(int(aligned_bytes(a).evaluate(values)) for a in allocs)
        assert all(int(a.offset.evaluate(values)) % 64 == 0 for a in allocs if a.offset is not None)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_nothing_depends_on_data_that_is_read_later(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function = _planned(_program(rng, MIXED, 10, reads=True))
    known = {"n", "m", "h", "w"}
    for operation in function.block.operations:
        if isinstance(operation, Read):
            known.add(operation.symbol)
        if isinstance(operation, Alloc):
            assert operation.offset is not None and set(operation.offset.symbols) <= known
    for _ in range(3):
        _check_apart(function, _values(rng))


@pytest.mark.parametrize("sizes", [STATIC, BATCHED], ids=["static", "batched"])
def test_little_is_wasted(sizes: list[str]) -> None:
    """Where sizes compare, the plan is close to the most that is alive at once: in the mean, and at worst."""
    shares = []
    for seed in range(30):
        function = _planned(_program(np.random.default_rng(seed), sizes, 20))
        values = {"n": 32, "m": 1, "h": 2, "w": 2}
        shares.append(int(arena_bytes(function).evaluate(values)) / _needed(function, values))
    assert np.mean(shares) < 1.01
    assert max(shares) < 1.2


def test_a_chain_needs_two_buffers() -> None:
    body = Block([BufferType(F32, (as_dim("n"),)), BufferType(F32, (as_dim("n"),))])
    builder = Builder(body)
    value: Value = body.arguments[0]
    for _ in range(10):
        made = builder.add(Alloc(BufferType(F32, (as_dim("n*100"),), "arena"))).result
        builder.add(Launch((value, made), SymbolRef("k"), ()))
        value = made
    module = Module(Region())
    Builder(module.block).add(ProgramFunc(SymbolRef("main"), Region(body), 1))
    assert arena_bytes(_planned(module)) == as_dim("((n*25 + 3) floordiv 4)*128")  # twice 400*n, in lines of 64


def test_no_arena_is_no_bytes() -> None:
    module = Module(Region())
    Builder(module.block).add(ProgramFunc(SymbolRef("main"), Region(Block()), 0))
    assert arena_bytes(next(module.functions(ProgramFunc))) == Dim.constant(0)
