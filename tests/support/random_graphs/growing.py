"""A graph that grows: the sampler behind random graphs.  In: a random generator.  Out: operations in a block, and
arrays of every value for a few sets of values of the dim symbols.

Operands that a declaration's `sample` asks for are taken from what the graph has computed so far, where there is
a value of that type or one that a cast or a transpose makes so; element types are changed beforehand, so that a sample
in f32 gives instances in f16 or i8.  Each operation is run at once.  One that cannot be run for all sets, or
whose results say little (NaN, infinity, astronomic numbers), is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from headrace.ir.core import Block, Operation, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.errors import DataError, VerifyError
from headrace.ir.graph.families import Array, DataDims, GraphOp, tensor
from headrace.ir.graph.numbers import static, with_numbers
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.transpose import Transpose
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import DTYPES, F32, I32, I64, DType, TensorType, dtype_of

SYMBOLS = ("n", "m")
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
LIKELY = np.array([4, 6, 6, 4, 4, 2, 2, 1, 1, 1, 1]) / 32
LARGE_SIZES = (1, 3, 8, 16, 17, 31, 48, 64, 65, 100, 130)  # beyond the tiles of kernels, as likely
ANY = (-2.0, 2.0)  # what a sample gets that asks for no range
LARGEST = 3000  # elements of one tensor
LARGEST_OF_LARGE = 30000
FLOATS = [d for d in DTYPES.values() if d.is_float]
INTEGERS = [d for d in DTYPES.values() if d.is_integer]


class Refused(Exception):
    """The operation that is being sampled cannot be had here."""


@dataclass(eq=False)
class Growing:
    """The graph so far.  `cases`: values of the symbols; `arrays`: of each value, one array for each case."""

    rng: np.random.Generator
    module: Module = field(default_factory=lambda: Module(Region()))
    block: Block = field(default_factory=Block)
    arrays: dict[Value, list[Array]] = field(default_factory=dict)
    cases: list[dict[str, int]] = field(default_factory=list)
    float_type: DType = F32
    integer_type: DType = I32
    accepts: Callable[[Growing, GraphOp, Sequence[Sequence[Array]]], bool] | None = None  # on operands, for each case
    empty: float = 0.06  # how likely a dim of 0 is
    large: bool = False
    functions: list[GraphFunc] = field(default_factory=list)  # of branches
    flags: set[str] = field(default_factory=set)  # symbols that are conditions
    depth: int = 0  # branches around it

    def __post_init__(self) -> None:
        self.builder = Builder(self.block)
        if self.depth:
            return
        for number in range(int(self.rng.integers(2, 4))):
            sizes = {s: self._size() for s in SYMBOLS}
            if number and self.rng.random() < self.empty:
                sizes[SYMBOLS[int(self.rng.integers(len(SYMBOLS)))]] = 0
            self.cases.append(sizes)

    def within(self, block: Block, arrays: dict[Value, list[Array]]) -> Growing:
        """A graph inside of this one, of a function that has the block's parameters and no others."""
        cases = [dict(c) for c in self.cases]
        return replace(self, block=block, arrays=arrays, cases=cases, depth=self.depth + 1)

    @property
    def facts(self) -> tuple[str, ...]:
        """What is known of symbols that are data."""
        names = [s for s in self.cases[0] if s not in SYMBOLS]
        return tuple(f"{s} in [0, {1 if s in self.flags else 'inf'}]" for s in names)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    # ---- what a declaration's `sample` asks for ------------------------------------------------------------------

    def tensor(self, type: TensorType, low: float = ANY[0], high: float = ANY[1]) -> Value:
        kind = type.with_dtype({F32: self.float_type, I32: self.integer_type}.get(type.dtype, type.dtype))
        self._must_be_small(kind)
        # i64 that a sample names is indices, whose range decides whether they are legal.
        if kind.dtype != I64 or type.dtype != I64:
            found = self._existing(kind, (low, high))
            if found is not None:
                return found
        if kind.is_static and self.chance(0.4):
            return self.constant(self._drawn(kind, low, high, self.cases[0]))
        return self.parameter(kind, [self._drawn(kind, low, high, case) for case in self.cases])

    def constant(self, array: Array) -> Value:
        value = self.builder.add(Constant(self.module.constants.add(array))).result
        self.arrays[value] = [array] * len(self.cases)
        return value

    def dims(self, rank: int) -> tuple[Dim, ...]:
        like = [v for v in self.values if tensor(v).rank == rank]
        if like and self.chance(0.6):
            return tensor(self._one(like)).dims
        return tuple(self._dim() for _ in range(rank))

    def symbol(self) -> str:
        return f"t{len(self.block.operations)}_{int(self.rng.integers(1 << 30))}"

    # ---- growing -------------------------------------------------------------------------------------------------

    @property
    def values(self) -> list[Value]:
        return [*self.block.arguments, *(r for o in self.block.operations for r in o.results)]

    def parameter(self, kind: TensorType, arrays: Sequence[Array]) -> Value:
        if any(s not in SYMBOLS for d in kind.dims for s in d.symbols):
            raise Refused("a parameter whose dims are data")
        if self.depth:  # a branch has those that it captures
            if not kind.is_static:
                raise Refused("a parameter of a branch")
            return self.constant(arrays[0])
        value = self.block.add_argument(kind)
        self.arrays[value] = list(arrays)
        return value

    def add(self, operation: GraphOp) -> Value:
        """Appends an operation and runs it; its first result.  Raises Refused."""
        self.builder.add(operation)
        operation.verify_op()
        for result in operation.results:
            self._must_be_small(tensor(result))
        operands = [[self.arrays[o][case] for o in operation.operands] for case in range(len(self.cases))]
        if self.accepts is not None and not self.accepts(self, operation, operands):
            raise Refused("not wanted")
        found = [self._run(operation, case) for case in range(len(self.cases))]
        for number, result in enumerate(operation.results):
            self.arrays[result] = [arrays[number] for arrays in found]
            if not self._says_something(self.arrays[result]) and not self.chance(0.05):
                raise Refused("nothing finite")
            if any(_is_near_overflow(array) for array in self.arrays[result]):
                raise Refused("another order of the same sums may overflow")
        return operation.results[0]

    def grow(self, make: Callable[[], GraphOp | None]) -> bool:
        """Appends what `make` adds, and the operation it may give; False and nothing if it cannot be had."""
        arguments, operations = self.block.arguments, list(self.block.operations)
        functions = len(self.functions)
        cases = [dict(c) for c in self.cases]
        try:
            last = make()
            if last is not None:
                self.add(last)
        except (Refused, VerifyError):
            self._take_back(len(arguments), len(operations))
            self.cases = cases
            del self.functions[functions:]
            return False
        return True

    def _take_back(self, arguments: int, operations: int) -> None:
        for operation in reversed(self.block.operations[operations:]):
            for result in operation.results:
                self.arrays.pop(result, None)
            self.block.remove(operation)
            operation.drop()
        for argument in self.block.arguments[arguments:]:
            self.arrays.pop(argument, None)
        self.block.arguments = self.block.arguments[:arguments]

    def _run(self, operation: GraphOp, case: int) -> Sequence[Array]:
        operands = [self.arrays[o][case] for o in operation.operands]
        symbols = self.cases[case]
        if isinstance(operation, DataDims):
            for read in operation.dim_reads():
                number = int(operands[operation.operands.index(read.operand)].reshape(-1)[read.element])
                if number < read.lower:
                    raise Refused("a dim below its least")
                symbols[read.symbol] = number
        if any(int(c.formula.evaluate(symbols)) < 0 for c in operation.checks()):
            raise Refused("a check fails")
        try:
            with np.errstate(all="ignore"):
                found = with_numbers(operation, symbols).reference(*operands)
        except DataError:
            raise Refused("data out of range") from None
        arrays = found if isinstance(found, tuple) else (found,)
        return [np.ascontiguousarray(a).reshape(np.shape(a)) for a in arrays]

    def _says_something(self, arrays: Sequence[Array]) -> bool:
        for array in arrays:
            if array.size and array.dtype.kind not in "iub":
                with np.errstate(all="ignore"):
                    wide = np.abs(array.astype(np.float64))
                    if np.count_nonzero(wide < 1e5) * 2 < array.size:
                        return False
        return True

    # ---- operands ------------------------------------------------------------------------------------------------

    def _existing(self, kind: TensorType, limits: tuple[float, float]) -> Value | None:
        if limits != ANY:  # where others make no sense, as for a logarithm
            found = [v for v in self.values if v.type == kind and self._lies_within(v, *limits)]
            return self._one(found) if found and self.chance(0.8) else None
        found = [v for v in self.values if v.type == kind]
        if found and self.chance(0.8):
            return self._one(found)
        found = [v for v in self.values if tensor(v).dims == kind.dims]
        if found and self.chance(0.4):
            return self.add(Cast(self._one(found), kind.dtype))
        wanted = sorted(map(str, kind.dims))
        found = [v for v in self.values if tensor(v).dtype == kind.dtype and sorted(map(str, tensor(v).dims)) == wanted]
        if found and self.chance(0.6):
            value = self._one(found)
            left, perm = list(tensor(value).dims), []
            for dim in kind.dims:
                at = left.index(dim)
                perm.append(at)
                left[at] = Dim.constant(-1)
            return self.add(Transpose(value, tuple(perm)))
        return None

    def _lies_within(self, value: Value, low: float, high: float) -> bool:
        return all(bool(((a >= low) & (a <= high)).all()) for a in self.arrays[value] if a.dtype.kind != "V")

    def _one(self, values: Sequence[Value]) -> Value:
        """A later value is likelier: it has fewer users so far."""
        at = max(int(self.rng.integers(len(values))) for _ in range(2))
        return values[at]

    def _dim(self) -> Dim:
        if self.chance(0.4):
            return Dim.symbol(SYMBOLS[int(self.rng.integers(len(SYMBOLS)))])
        return Dim.constant(self._size())

    def _size(self) -> int:
        return int(self.rng.choice(LARGE_SIZES if self.large else SIZES, p=LIKELY))

    def _must_be_small(self, kind: TensorType) -> None:
        for case in self.cases:
            known = all(s in case for d in kind.dims for s in d.symbols)
            if known and prod(d.evaluate(case) for d in kind.dims) > (LARGEST_OF_LARGE if self.large else LARGEST):
                raise Refused("too large")

    def _drawn(self, kind: TensorType, low: float, high: float, case: dict[str, int]) -> Array:
        shape = [d.value for d in static(kind, case).dims]
        drawn: Array = self.rng.uniform(low, high, shape)
        if kind.dtype.kind == "bool":
            drawn = drawn > 0
        elif kind.dtype.is_integer:
            drawn = np.round(drawn * 4)
            drawn = np.abs(drawn) if kind.dtype.kind == "uint" else drawn
        return np.asarray(drawn).astype(kind.dtype.numpy)


def draw_element_types(growing: Growing) -> None:
    """What f32 and i32 of the next sample become."""
    growing.float_type, growing.integer_type = F32, I32
    if growing.chance(0.3):
        growing.float_type = FLOATS[int(growing.rng.integers(len(FLOATS)))]
    if growing.chance(0.5):
        growing.integer_type = INTEGERS[int(growing.rng.integers(len(INTEGERS)))]
    if growing.chance(0.08):  # many operations take integers, too, though their samples do not say so
        growing.float_type = INTEGERS[int(growing.rng.integers(len(INTEGERS)))]


def operations_of(block: Block) -> list[Operation]:
    """All but constants and the terminator."""
    return [o for o in block.body if not isinstance(o, Constant)]


def constant_type(array: Array) -> TensorType:
    return TensorType.of(dtype_of(array), *array.shape)


def _is_near_overflow(array: Array) -> bool:
    """Whether it has a finite f32 or f64 beyond what two of them may be multiplied to."""
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return False
    finite = np.abs(array[np.isfinite(array)])
    return bool(finite.max(initial=0) > np.sqrt(np.finfo(array.dtype).max))
