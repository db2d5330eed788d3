"""Operations on a device.  In: a target, where to run.  Out: for each operation and element type, what came of it.

Each operation's own generator makes an instance; it is compiled for the target, run on the device, and compared with
the interpreter.  The types of one operation share an artefact, unless something goes wrong: then each has its own.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module, copy_of
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Region, Value
from headrace.ir.declare import declarations
from headrace.ir.dims import Dim
from headrace.ir.errors import HeadraceError
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.module import Module, module_of
from headrace.ir.rewrite import Builder
from headrace.ir.types import DTYPES, F32, I32, DType, TensorType
from headrace.ir.verify import verify
from headrace.runtime.python import HeadraceRuntimeError, UnsupportedError, load
from headrace.targets import find_target

SYMBOLS = {"n": 5, "m": 7}  # primes: no tile divides them
TRIES = 8  # samples for one operation and type, until one is legal


@dataclass(frozen=True, slots=True)
class Cell:
    """`outcome`: ok, refused or wrong; `reason` of the latter two."""

    operation: str
    dtype: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to run: a target's preset, a device as users name it, libraries with drivers."""

    target: str
    device: str
    drivers: Sequence[Any] = ()


def check_operators(place: Place, names: Sequence[str] = ()) -> Iterator[Cell]:
    """All operations that can be sampled, or those of these names, in the order of their names."""
    for cls in _classes():
        if names and cls.name not in names:
            continue
        found = {dtype.name: instance for dtype in DTYPES.values() if (instance := _instance(cls, dtype)) is not None}
        yield from _cells(cls.name, found, place)


def sampled_names() -> list[str]:
    """Of all operations that can be sampled."""
    return [cls.name for cls in _classes()]


def _classes() -> list[type[GraphOp]]:
    found = [d.cls for d in declarations("graph") if issubclass(d.cls, GraphOp)]
    plain = GraphOp.sample.__func__  # type: ignore[attr-defined]
    return sorted((c for c in found if c.sample.__func__ is not plain), key=lambda c: str(c.name))  # type: ignore[attr-defined]


# ---- instances -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Sampler:
    """What `sample` asks; the block is that of a function in the making."""

    rng: np.random.Generator
    dtype: DType
    is_loose: bool
    module: Module
    block: Block
    arrays: dict[Value, Array] = field(default_factory=dict)

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        wanted = self.dtype if self._may_be(type.dtype) else type.dtype
        value = self.block.add_argument(type.with_dtype(wanted))
        drawn = self.rng.uniform(low, high, [d.evaluate(SYMBOLS) for d in type.dims])
        kept = drawn > 0 if wanted.kind == "bool" else np.round(drawn * 4) if wanted.is_integer else drawn
        self.arrays[value] = np.asarray(np.abs(kept) if wanted.kind == "uint" else kept).astype(wanted.numpy)
        return value

    def _may_be(self, asked: DType) -> bool:
        if asked == F32:
            return self.dtype.kind in (("float", "int", "uint", "bool") if self.is_loose else ("float",))
        return asked == I32 and self.dtype.is_integer

    def constant(self, array: Array) -> Value:
        return Builder(self.block).add(Constant(self.module.constants.add(array))).result

    def dims(self, rank: int) -> tuple[Dim, ...]:
        return tuple(self._dim() for _ in range(rank))

    def _dim(self) -> Dim:
        symbol = [*SYMBOLS, None][int(self.rng.integers(3))]
        return Dim.symbol(symbol) if symbol else Dim.constant(int(self.rng.integers(1, 7)))

    def symbol(self) -> str:
        return f"t{len(self.block.operations)}_{int(self.rng.integers(1 << 30))}"


@dataclass(frozen=True, slots=True)
class _Instance:
    """How to make an operation again: generators are seeded.

    Most generators ask for f32 where any type would do: `is_loose` gives them integers and bool there too.
    """

    cls: type[GraphOp]
    dtype: DType
    seed: int
    is_loose: bool


def _instance(cls: type[GraphOp], dtype: DType) -> _Instance | None:
    """The first legal sample on operands of that type; None where there is none."""
    for is_loose, seed in itertools.product((False, True), range(TRIES)):
        instance = _Instance(cls, dtype, seed, is_loose)
        try:
            function, arrays = _function([instance])
            results = run_graph(function, arrays) if _typed(function) == dtype else []
            if results and all(np.isfinite(r.astype(np.float64)).all() for r in results):
                return instance
        except (HeadraceError, ValueError, TypeError, OverflowError, KeyError):
            continue
    return None


def _typed(function: GraphFunc) -> DType | None:
    """The type that the row of the table is about: of the first operand, or of the result where there is none."""
    operation = next(o for o in function.block.operations if isinstance(o, GraphOp) and not isinstance(o, Constant))
    of = [v for v in (*operation.operands, *operation.results) if isinstance(v.type, TensorType)]
    return tensor(of[0]).dtype if of else None


def _function(instances: Sequence[_Instance]) -> tuple[GraphFunc, list[Array]]:
    """A function of all of them side by side, and arrays for its parameters.  Raises VerifyError."""
    module, block = Module(Region()), Block()
    binding = block.add_argument(TensorType.of(F32, *SYMBOLS))
    arrays: dict[Value, Array] = {binding: np.zeros(tuple(SYMBOLS.values()), np.float32)}
    facts: list[str] = []
    results: list[Value] = []
    builder = Builder(block)
    for number, instance in enumerate(instances):
        sampler = _Sampler(np.random.default_rng(instance.seed), instance.dtype, instance.is_loose, module, block)
        operation = instance.cls.sample(sampler)
        operation.location = Location((f"{instance.cls.name.partition('.')[2]}_{number}",))
        builder.add(operation)
        arrays.update(sampler.arrays)
        results += operation.results
        known = {s for v in results for d in tensor(v).dims for s in d.symbols}
        facts = [f"{s} in [0, inf]" for s in sorted(known - set(SYMBOLS))]
    builder.add(Return(tuple(results)))
    names = tuple(f"x{i}" for i in range(len(block.arguments)))
    outputs = tuple(f"y{i}" for i in range(len(results)))
    function = GraphFunc(SymbolRef("main"), Region(block), tuple(facts), names, outputs)
    Builder(module.block).add(function)
    verify(module)
    return function, [arrays[a] for a in block.arguments]


# ---- outcomes --------------------------------------------------------------------------------------------------------


def _cells(name: str, instances: dict[str, _Instance], place: Place) -> Iterator[Cell]:
    refused = {dtype: why for dtype, i in instances.items() if (why := _refusal(i, place)) is not None}
    taken = {dtype: i for dtype, i in instances.items() if dtype not in refused}
    together = len(taken) > 1 and _outcome(list(taken.values()), place)[0] == "ok"
    for dtype, instance in instances.items():
        if dtype in refused:
            yield Cell(name, dtype, "refused", refused[dtype])
        else:
            yield Cell(name, dtype, *(("ok", "") if together else _outcome([instance], place)))


def _refusal(instance: _Instance, place: Place) -> str | None:
    """Why the target does not take it."""
    preset, target = find_target(place.target)
    function, _ = _function([instance])
    reasons = [target.refuses(o, preset) for o in function.block.operations if isinstance(o, GraphOp)]
    return next((r for r in reasons if r is not None), None)


def _outcome(instances: Sequence[_Instance], place: Place) -> tuple[str, str]:
    function, arrays = _function(instances)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "m.hrm"
        try:
            compile_module(copy_of(module_of(function)), output=path, target=place.target)
            session = load(path, threads=2, device=place.device, drivers=place.drivers)
        except (HeadraceError, UnsupportedError) as error:
            return "refused", str(error)
        except HeadraceRuntimeError as error:
            return "wrong", str(error)
    inputs = dict(zip(function.input_names, arrays, strict=True))
    expected = run_graph(function, arrays)
    # The second run finds the memory of the first.
    for _ in range(2):
        try:
            found = session.run(inputs)
        except HeadraceRuntimeError as error:
            return "wrong", str(error)
        wrong = disagreement(function, arrays, [found[n] for n in function.output_names], expected)
        if wrong is not None:
            return "wrong", wrong
    return "ok", ""
