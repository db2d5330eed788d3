"""print -> parse -> print is the identity, and what is parsed is what was printed."""

from __future__ import annotations

import sys
import typing
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.ir.access import AXIS_KINDS, Access, AccessMap, Axis, SymbolRef
from headrace.ir.constants import ConstantRef, ConstantStore
from headrace.ir.core import Block, Location, Operation, Region, Value, attributes_equal
from headrace.ir.declare import op
from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.text import parse_module, parse_type, print_op
from headrace.ir.types import (
    DTYPES,
    SPACES,
    BufferType,
    DType,
    ScalarType,
    TensorType,
    TokenType,
    Type,
    VectorType,
)


@op("testing.all")
class All(Operation):
    """An operation with fields of every kind."""

    first: Value
    second: Access
    maybe: Value | None
    many: tuple[Value, ...]
    places: tuple[Access, ...]
    axes: tuple[Axis, ...]
    left: Region
    right: Region
    flag: bool
    number: int
    real: float
    either: float | int | bool
    text: str
    formula: Dim
    element: DType
    kind: Type
    word: Literal["add", "mul", "is-not-a-word"]
    function: SymbolRef
    content: ConstantRef | SymbolRef
    inner: Axis
    matrix: tuple[tuple[int, ...], ...]
    pair: tuple[str, float]
    tensors: tuple[TensorType, ...]
    default_number: int = 3
    default_real: float = 0.0
    default_formula: Dim | None = None
    default_words: tuple[str, ...] = ()

    def infer(self) -> Sequence[Type]:
        return (self.kind, *self.tensors)


@op("testing.loop")
class Loop(Operation):
    """An isolated operation with one region, whose operands are one list."""

    inputs: tuple[Value, ...]
    body: Region

    is_isolated = True


@op("testing.branch")
class Branch(Operation):
    """Regions that stand bare and behind `else`."""

    then: Region
    otherwise: Region


names = st.sampled_from(["i", "j", "n", "batch", "x_1", "mod_", "inf", "f33"])
hints = st.none() | st.sampled_from(["x", "x", "x_1", "y", "0", "17", "conv/relu:0", "é", "1x", "", "else", "loc"])
texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(['"', "\\", "\n", "a b", "none", "\u2028"])
functions = st.sampled_from(["main", "f.1", "two words", "é", '"', "9"])
integers = st.integers(-(2**70), 2**70)
reals = st.floats()
dtypes = st.sampled_from(list(DTYPES.values()))


def _compound(inner: st.SearchStrategy[Dim]) -> st.SearchStrategy[Dim]:
    pairs = st.tuples(inner, inner)
    positive = st.integers(1, 9)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] - p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        pairs.map(lambda p: dim_min(*p)),
        pairs.map(lambda p: dim_max(*p)),
        st.tuples(inner, positive).map(lambda p: p[0] // p[1]),
        st.tuples(inner, positive).map(lambda p: p[0] % p[1]),
        st.tuples(inner, positive).map(lambda p: ceildiv(*p)),
        inner.map(lambda d: -d),
    )


dims = st.recursive(st.one_of(names.map(Dim.symbol), st.integers(-99, 99).map(Dim.constant)), _compound, max_leaves=4)
shapes = st.lists(dims, max_size=3).map(tuple)
tensors = st.builds(TensorType, dtypes, shapes)
buffers = st.builds(BufferType, dtypes, shapes, st.sampled_from(SPACES), st.none() | shapes)
types = st.one_of(
    tensors,
    buffers,
    st.builds(ScalarType, dtypes),
    st.builds(VectorType, dtypes, st.integers(1, 64)),
    st.just(TokenType()),
)
axes = st.builds(Axis, names, st.sampled_from(AXIS_KINDS), dims)
maps = st.builds(AccessMap, shapes, st.none() | st.one_of(st.booleans(), st.integers(-9, 9), reals))
digests = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
constants = st.builds(ConstantRef, digests, dtypes, st.lists(st.integers(0, 9), max_size=3).map(tuple))


def _lists(members: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(members, max_size=most).map(tuple)


# Operands are drawn as numbers, which choose among the values that are visible.
some = st.integers(0, 9)
places = st.tuples(some, maps)
attributes = st.fixed_dictionaries(
    {
        "axes": _lists(axes),
        "flag": st.booleans(),
        "number": integers,
        "real": reals,
        "either": st.one_of(st.booleans(), integers, reals),
        "text": texts,
        "formula": dims,
        "element": dtypes,
        "kind": types,
        "word": st.sampled_from(["add", "mul", "is-not-a-word"]),
        "function": functions.map(SymbolRef),
        "content": constants | functions.map(SymbolRef),
        "inner": axes,
        "matrix": _lists(_lists(integers)),
        "pair": st.tuples(texts, reals),
        "tensors": _lists(tensors),
        "default_number": st.sampled_from([3, 4]),
        "default_real": st.sampled_from([0.0, -0.0, 1.5]),
        "default_formula": st.none() | dims,
        "default_words": _lists(texts),
    }
)
operands = st.tuples(some, places, st.none() | some, _lists(some), _lists(places))
locations = _lists(texts).map(Location)
choices = st.integers(0, 3)
counts = st.integers(0, 2)
words = _lists(texts)
arguments = st.lists(st.tuples(types, hints), max_size=2)


def _operation(draw: st.DrawFn, values: list[Value], depth: int) -> Operation:
    def value(number: int) -> Value:
        return values[number % len(values)]

    def access(place: tuple[int, AccessMap]) -> Access:
        return Access(value(place[0]), place[1])

    first, second, maybe, many, others = draw(operands)
    match draw(choices) if depth else 3:
        case 0:
            found: Operation = Loop(tuple(map(value, many)), _region(draw, [], depth - 1))
        case 1:
            found = Branch(_region(draw, values, depth - 1), _region(draw, values, depth - 1))
        case _:
            found = All(
                value(first),
                access(second),
                None if maybe is None else value(maybe),
                tuple(map(value, many)),
                tuple(map(access, others)),
                left=_region(draw, values, depth - 1),
                right=_region(draw, values, depth - 1),
                **draw(attributes),
            )
    found.location = draw(locations)
    for result in found.results:
        result.hint = draw(hints)
    return found


def _region(draw: st.DrawFn, above: list[Value], depth: int) -> Region:
    if depth < 0:
        return Region()
    given = draw(arguments)
    block = Block([kind for kind, _ in given], [hint for _, hint in given])
    if not above and not given:
        return Region(block)
    return Region(_block(draw, block, above, depth))


def _block(draw: st.DrawFn, block: Block, above: list[Value], depth: int) -> Block:
    values = [*above, *block.arguments]
    for _ in range(draw(counts)):
        operation = _operation(draw, values, depth)
        block.insert(len(block.operations), operation)
        values.extend(operation.results)
    return block


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """A module of functions that hold operations of the declarations above."""
    block = Block()
    for _ in range(draw(counts)):
        given = [(ScalarType(DTYPES["f32"]), "x"), *draw(arguments)]
        parameters = Block([kind for kind, _ in given], [hint for _, hint in given])
        body = Region(_block(draw, parameters, [], 2))
        block.insert(len(block.operations), GraphFunc(SymbolRef(draw(functions)), body, input_names=draw(words)))
    return Module(Region(block), source=draw(texts), options=draw(words))


def assert_same(a: Operation, b: Operation, values: dict[Value, Value]) -> None:
    """Structural equality: classes, attributes, operands, types, locations, regions."""
    assert type(a) is type(b)
    assert attributes_equal(a.attributes, b.attributes)
    assert [values[o] for o in a.operands] == list(b.operands)
    assert [r.type for r in a.results] == [r.type for r in b.results]
    assert a.location == b.location
    for one, other in zip(a.regions, b.regions, strict=True):
        assert [v.type for v in one.block.arguments] == [v.type for v in other.block.arguments]
        values.update(zip(one.block.arguments, other.block.arguments, strict=True))
        for inner, counterpart in zip(one.block.operations, other.block.operations, strict=True):
            assert_same(inner, counterpart, values)
    values.update(zip(a.results, b.results, strict=True))


def _comparable(module: Module) -> bool:
    """AccessMaps compare by ==, for which 0 is 0.0 and NaN is not NaN; such modules are compared by text alone."""
    found = [v for o in module.walk() for v in o.attributes.values()]
    parts = [p for v in found for p in (v if isinstance(v, tuple) else (v,))]
    return not any(isinstance(p, AccessMap) and p.otherwise != p.otherwise for p in parts)


@given(modules())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_random_modules(module: Module) -> None:
    text = print_op(module)
    again = parse_module(text)
    assert print_op(again) == text
    if _comparable(module):
        assert_same(module, again, {})


@given(types)
def test_types(kind: Type) -> None:
    assert parse_type(str(kind)) == kind


@st.composite
def small_arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of any bits, NaN payloads included, of up to 18 elements: some are too big to stand in the text."""
    dtype = draw(dtypes)
    shape = draw(st.sampled_from([(), (1,), (3,), (2, 3), (0, 2), (1, 1, 1), (18,), (2, 8)]))
    size = int(np.prod(shape))
    data = draw(st.binary(min_size=size * dtype.bytes, max_size=size * dtype.bytes))
    if dtype.kind == "bool":
        data = bytes(b & 1 for b in data)
    return np.frombuffer(data, dtype.numpy).reshape(shape)


@given(small_arrays())
def test_small_arrays(array: np.ndarray[Any, Any]) -> None:
    store = ConstantStore()
    ref = store.add(array)
    module = parse_module(f"graph.func @f() {{ %c = graph.constant {{value = {_full(ref)}}} graph.return %c }}")
    module.constants = store
    text = print_op(module)
    again = parse_module(text, constants=None if "dense" in text else store)
    assert print_op(again) == text
    if "dense" in text:
        assert again.constants.array(ref).tobytes() == array.tobytes()


def _full(ref: ConstantRef) -> str:
    return f"#{ref.digest}: {ref.type}"


def test_hints_of_every_field_are_covered() -> None:
    hinted = typing.get_type_hints(All)
    assert {bool, int, float, str, Dim, DType, Type, SymbolRef, Axis} <= set(hinted.values())


def _calls_to_parse(lines: int) -> int:
    """How many functions run while a graph of that many operations is read."""
    line = '    %y = graph.add %x, %x : f32[batch*2 + 1, max(n, 3)] loc("node")\n'
    text = (
        "graph.func @f(%x: f32[batch*2 + 1, max(n, 3)]) {\n"
        + "".join(line.replace("%y", f"%v{i}") for i in range(lines))
        + "    graph.return %x\n}\n"
    )
    calls = 0

    def note(_frame: object, _event: str, _argument: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(note)
    try:
        module = parse_module(text)
    finally:
        sys.setprofile(None)
    assert len(module.function("f").block.operations) == lines + 1
    return calls


def test_long_texts_take_no_longer_by_the_line() -> None:
    _calls_to_parse(1)  # what is made once
    assert _calls_to_parse(2000) < 2.1 * _calls_to_parse(1000)
