"""Operations to try on a device.  In: a declaration, an element type.  Out: a function of instances, arrays for it.

Each operation's own generator makes an instance, from a seed: the same one comes out again, for other sizes of the
symbols too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Location, Region, Value
from headrace.ir.declare import declarations
from headrace.ir.dims import Dim
from headrace.ir.errors import HeadraceError
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.lazy import lazy_values
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import F32, I32, DType, TensorType
from headrace.ir.verify import verify
from headrace.targets import find_target

SYMBOLS = {"n": 5, "m": 7}  # primes: no tile divides them
TRIES = 8  # samples for one operation and type, until one is legal
MORE_TRIES = 24  # where the generator draws types itself, as a cast's does


def classes() -> list[type[GraphOp]]:
    """All operations that can be sampled, in the order of their names."""
    found = [d.cls for d in declarations("graph") if issubclass(d.cls, GraphOp)]
    plain = GraphOp.sample.__func__  # type: ignore[attr-defined]
    return sorted((c for c in found if c.sample.__func__ is not plain), key=lambda c: str(c.name))  # type: ignore[attr-defined]


def sampled_names() -> list[str]:
    """Of all operations that can be sampled."""
    return [cls.name for cls in classes()]


@dataclass(frozen=True, slots=True)
class Instance:
    """How to make an operation again: generators are seeded.

    Most generators ask for f32 where any type would do: `is_loose` gives them integers and bool there too.
    """

    cls: type[GraphOp]
    dtype: DType
    seed: int
    is_loose: bool


def instance_of(cls: type[GraphOp], dtype: DType, target: str) -> Instance | None:
    """The first legal sample on operands of that type which the target takes; or that is legal; None where none is."""
    refused = None
    for is_loose in (False, True):
        drawn: set[DType | None] = set()
        for seed in range(MORE_TRIES):
            if seed == TRIES and len(drawn) < 2:
                break
            instance = Instance(cls, dtype, seed, is_loose)
            found, is_legal = _tried(instance)
            drawn.add(found)
            if found != dtype or not is_legal:
                continue
            if refusal(instance, target) is None:
                return instance
            refused = refused or instance
    return refused


def refusal(instance: Instance, target: str) -> str | None:
    """Why the target does not take it: asked as a model is divided, of all but what depends on constants only."""
    preset, family = find_target(target)
    function, _ = function_of([instance])
    lazy = lazy_values(function.block)
    asked = [o for o in function.block.body if isinstance(o, GraphOp) and not all(r in lazy for r in o.results)]
    return next((reason for o in asked if (reason := family.refuses(o, preset)) is not None), None)


def function_of(instances: Sequence[Instance], sizes: Mapping[str, int] = SYMBOLS) -> tuple[GraphFunc, list[Array]]:
    """A function of all of them side by side, and arrays for its parameters.  Raises VerifyError."""
    module, block = Module(Region()), Block()
    binding = block.add_argument(TensorType.of(F32, *sizes))
    arrays: dict[Value, Array] = {binding: np.zeros(tuple(sizes.values()), np.float32)}
    facts: list[str] = []
    results: list[Value] = []
    builder = Builder(block)
    for number, instance in enumerate(instances):
        sampler = _Sampler(instance, module, block, sizes)
        operation = instance.cls.sample(sampler)
        operation.location = Location((f"{instance.cls.name.partition('.')[2]}_{number}",))
        builder.add(operation)
        arrays.update(sampler.arrays)
        results += operation.results
        known = {s for v in results for d in tensor(v).dims for s in d.symbols}
        facts = [f"{s} in [0, inf]" for s in sorted(known - set(sizes))]
    builder.add(Return(tuple(results)))
    names = tuple(f"x{i}" for i in range(len(block.arguments)))
    outputs = tuple(f"y{i}" for i in range(len(results)))
    function = GraphFunc(SymbolRef("main"), Region(block), tuple(facts), names, outputs)
    Builder(module.block).add(function)
    verify(module)
    return function, [arrays[a] for a in block.arguments]


class _Sampler:
    """What `sample` asks; the block is that of a function in the making.

    The numbers in arrays are drawn apart, so that larger ones leave the rest of the instance as it is.
    """

    def __init__(self, instance: Instance, module: Module, block: Block, sizes: Mapping[str, int]) -> None:
        self.rng = np.random.default_rng(instance.seed)
        self.arrays: dict[Value, Array] = {}
        self._numbers = np.random.default_rng((instance.seed, 1))
        self._instance, self._module, self._block, self._sizes = instance, module, block, sizes

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        wanted = self._instance.dtype if self._may_be(type.dtype) else type.dtype
        value = self._block.add_argument(type.with_dtype(wanted))
        drawn = self._numbers.uniform(low, high, [d.evaluate(self._sizes) for d in type.dims])
        kept = drawn > 0 if wanted.kind == "bool" else np.round(drawn * 4) if wanted.is_integer else drawn
        self.arrays[value] = np.asarray(np.abs(kept) if wanted.kind == "uint" else kept).astype(wanted.numpy)
        return value

    def _may_be(self, asked: DType) -> bool:
        dtype = self._instance.dtype
        if asked == F32:
            return dtype.kind in (("float", "int", "uint", "bool") if self._instance.is_loose else ("float",))
        return asked == I32 and dtype.is_integer

    def constant(self, array: Array) -> Value:
        return Builder(self._block).add(Constant(self._module.constants.add(array))).result

    def dims(self, rank: int) -> tuple[Dim, ...]:
        return tuple(self._dim() for _ in range(rank))

    def _dim(self) -> Dim:
        symbol = [*SYMBOLS, None][int(self.rng.integers(3))]
        return Dim.symbol(symbol) if symbol else Dim.constant(int(self.rng.integers(1, 7)))

    def symbol(self) -> str:
        return f"t{len(self._block.operations)}_{int(self.rng.integers(1 << 30))}"


def _tried(instance: Instance) -> tuple[DType | None, bool]:
    """The type that its row of the table is about, if it has one; whether the interpreter runs it and finds numbers."""
    found = None
    try:
        function, arrays = function_of([instance])
        found = _typed(function)
        results = run_graph(function, arrays) if found == instance.dtype else []
        return found, bool(results) and all(np.isfinite(r.astype(np.float64)).all() for r in results)
    except (HeadraceError, ValueError, TypeError, OverflowError, KeyError):
        return found, False


def _typed(function: GraphFunc) -> DType | None:
    """Of the first operand, or of the result where there is none."""
    operation = next(o for o in function.block.operations if isinstance(o, GraphOp) and not isinstance(o, Constant))
    of = [v for v in (*operation.operands, *operation.results) if isinstance(v.type, TensorType)]
    return tensor(of[0]).dtype if of else None
