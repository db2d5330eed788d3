"""The table of errors in docs/numerics.md: what each operation on floats is off by, as machine code.

    python tests/support/numerics_page.py        measures for some minutes, and writes the table anew

Elementwise operations are swept: all 2^16 patterns of f16 and bf16, a million of f32 and f64 in equal steps over all
patterns, and half a million from -20 to 20, so that denormals, limits and both signs are there; second operands in another order of the same.  All others run
on random instances from their declarations' own generators.  The reference is the interpreter with all floats as f64
(for f64, as 80-bit numbers where an elementwise reference keeps these).  For x86-64-v3 and, where the machine has it,
v4: the larger one of both.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from random_graphs.graphs import sampled_classes

from headrace.compiler.driver import compile_module
from headrace.errors import HeadraceError
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region, Value
from headrace.ir.dims import Dim
from headrace.ir.graph.families import Array, Elementwise, GraphOp, Pull, tensor
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.kernel.ops.scalar import LARGEST_ANGLE
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.ir.types import BF16, F16, F32, F64, DType, TensorType
from headrace.runtime.python import load
from headrace.targets import find_target

PAGE = Path(__file__).resolve().parents[2] / "docs" / "numerics.md"
TYPES = (F32, F64, F16, BF16)
SEEDS = 6  # instances of what is not elementwise
TRIES = 12  # samples of an operation, until one is of floats
SHORT, LONG = 1 << 14, 1 << 20  # numbers in a sweep of f32 or f64
_HEAD = "| operation | unit | f32 | f64 | f16 | bf16 |\n| --- | --- | --- | --- | --- | --- |\n"
_finfo: Any = ml_dtypes.finfo
# Sums of products of operands and nothing else: what may be lost grows with the sum of their magnitudes.
SUMS = ("matmul", "conv", "conv_transpose", "sum_pool", "average_pool", "interpolate")
UNITS = ("ulp", "eps sum", "eps max")
Errors = dict[tuple[str, str], float]  # by operation and element type


def targets() -> list[str]:
    """Those that are measured on this machine."""
    return ["x86-64-v3", "x86-64-v4"] if find_target("host")[0] == "x86-64-v4" else ["x86-64-v3"]


class Refused(Exception):
    """The sample cannot be had with these operands."""


@dataclass(eq=False)
class Sampling:
    """A sampler whose floats are of one type; with `sweep`, all operands are among the same few vectors."""

    rng: np.random.Generator
    dtype: DType
    sweep: bool
    module: Module = field(default_factory=lambda: Module(Region()))
    block: Block = field(default_factory=Block)
    arrays: dict[Value, Array] = field(default_factory=dict)
    taken: int = 0

    def __post_init__(self) -> None:
        self.builder = Builder(self.block)

    def tensor(self, type: TensorType, low: float = -2.0, high: float = 2.0) -> Value:
        if not self.sweep:
            kind = type.with_dtype(self.dtype) if type.dtype == F32 else type
            value = self.block.add_argument(kind)
            drawn = self.rng.uniform(low, high, [d.value for d in kind.dims])
            numbers = (
                drawn > 0 if kind.dtype.kind == "bool" else np.round(drawn * 4) if kind.dtype.is_integer else drawn
            )
            self.arrays[value] = np.asarray(numbers).astype(kind.dtype.numpy)
            return value
        if type.dtype != F32:
            raise Refused
        while self.taken >= len(self.block.arguments):
            self.block.add_argument(TensorType.of(self.dtype, "n"))
        self.taken += 1
        return self.block.arguments[self.taken - 1]

    def constant(self, array: Array) -> Value:
        kept = array.astype(self.dtype.numpy) if array.dtype == np.float32 else array
        return self.builder.add(Constant(self.module.constants.add(kept))).result

    def dims(self, rank: int) -> tuple[Dim, ...]:
        return tuple(Dim.constant(int(self.rng.choice([2, 3, 7, 17, 33]))) for _ in range(rank))

    def symbol(self) -> str:
        raise Refused

    def grow(self, cls: type[GraphOp]) -> GraphOp | None:
        """One more operation with results in the floats that are measured; samples differ, so that several are tried."""
        return next((o for _ in range(TRIES) if (o := self.sampled(cls)) is not None), None)

    def sampled(self, cls: type[GraphOp]) -> GraphOp | None:
        self.taken, before = 0, len(self.block.operations)
        arguments = self.block.arguments
        try:
            operation = cls.sample(self)
            self.builder.add(operation)
            operation.verify_op()
            if any(tensor(r).dtype != self.dtype for r in operation.results):
                raise Refused
        except (Refused, HeadraceError):
            for extra in reversed(self.block.operations[before:]):
                self.block.remove(extra)
                extra.drop()
            self.block.arguments = arguments
            return None
        return operation

    def function(self, results: Sequence[Value]) -> GraphFunc:
        self.builder.add(Return(tuple(results)))
        names = tuple(f"x{i}" for i in range(len(self.block.arguments)))
        outputs = tuple(f"y{i}" for i in range(len(results)))
        found = GraphFunc(SymbolRef("main"), Region(self.block), (), names, outputs)
        Builder(self.module.block).add(found)
        return found


def compiled_results(sampling: Sampling, function: GraphFunc, target: str, inputs: Sequence[Array]) -> list[Array]:
    """What machine code gives."""
    copy = sampling.module.clone()
    assert isinstance(copy, Module)
    copy.constants = sampling.module.constants
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        compile_module(copy, output=Path(folder) / "m.hrm", target=target)
        session = load(Path(folder) / "m.hrm", threads=1)
    found = session.run(dict(zip(function.input_names, inputs, strict=True)))
    return [found[n] for n in function.output_names]


# ---- elementwise ---------------------------------------------------------------------------------------------


def swept(dtype: DType, count: int) -> Array:
    """Patterns in equal steps, all of them where there are few, and as many numbers around 0."""
    bits = dtype.bits
    if bits == 16:
        return np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    step = (1 << bits) // count | 1
    patterns = np.arange(count, dtype=np.uint64) * np.uint64(step)
    whole = patterns.astype(f"u{bits // 8}").view(dtype.numpy)
    return np.concatenate([whole, np.linspace(-20, 20, count // 2).astype(dtype.numpy)])


def elementwise_errors(dtype: DType, target: str, count: int) -> Iterator[tuple[str, float]]:
    """The largest error of each operation in units in the last place of the result."""
    sampling = Sampling(np.random.default_rng(0), dtype, True)
    operations = [o for c in sampled_classes() if issubclass(c, Elementwise) and (o := sampling.grow(c)) is not None]
    function = sampling.function([o.results[0] for o in operations])
    x = swept(dtype, count)
    inputs = [np.random.default_rng(i).permutation(x) if i else x for i in range(len(sampling.block.arguments))]
    found = compiled_results(sampling, function, target, inputs)
    for operation, result in zip(operations, found, strict=True):
        operands = [_operand(sampling, inputs, o) for o in operation.operands]
        yield operation.name, _ulps(operation, operands, result, dtype)


def _operand(sampling: Sampling, inputs: Sequence[Array], value: Value) -> Array:
    if value in sampling.block.arguments:
        return inputs[sampling.block.arguments.index(value)]
    constant = next(o for o in sampling.block.body if isinstance(o, Constant) and o.result is value)
    return sampling.module.constants.array(constant.value)


def _ulps(operation: GraphOp, operands: Sequence[Array], found: Array, dtype: DType) -> float:
    wide = np.longdouble if dtype == F64 else np.float64
    with np.errstate(all="ignore"):
        try:
            wanted = np.asarray(operation.reference(*(o.astype(wide) for o in operands)))
        except TypeError:  # a function of Python's own, on f64
            wanted = np.asarray(operation.reference(*operands))
        rounded = wanted.astype(dtype.numpy)
        sure = np.isfinite(rounded.astype(np.float64)) & np.isfinite(found.astype(np.float64))
        sure &= _is_promised(operation.name, operands, wanted, dtype)
        unit = _unit((operands[0] if operation.name == "graph.gelu" else rounded)[sure])
        return float((np.abs(found[sure].astype(wide) - wanted[sure]) / unit).max(initial=0))


def _is_promised(name: str, operands: Sequence[Array], wanted: Array, dtype: DType) -> Array:
    """Where docs/numerics.md makes no exception."""
    x = operands[0].astype(np.float64)
    if name in ("graph.sin", "graph.cos", "graph.tan"):
        return np.asarray(np.abs(x) <= LARGEST_ANGLE)
    if name in ("graph.sigmoid", "graph.pow_int"):
        return np.asarray(np.abs(wanted) >= float(_finfo(dtype.numpy).smallest_normal))
    if name == "graph.fmod" and dtype == F64:
        return np.asarray(np.abs(x / operands[1].astype(np.float64)) < 2.0**600)
    return np.ones(x.shape, np.bool_)


def _unit(rounded: Array) -> Array:
    """One unit in the last place of each."""
    facts = _finfo(rounded.dtype)
    wide = np.maximum(np.abs(rounded.astype(np.float64)), float(facts.smallest_normal))
    return np.asarray(2.0 ** np.floor(np.log2(wide)) * float(facts.eps))


# ---- sums ----------------------------------------------------------------------------------------------------


def other_errors(dtype: DType, target: str, seeds: int) -> Iterator[tuple[str, float]]:
    """The largest error of each operation in units of the type's eps times the sum of magnitudes that an element is made
    of, or, where it is no such sum, times the largest magnitude of the result."""
    for cls in sampled_classes():
        if issubclass(cls, Elementwise) or (issubclass(cls, Pull) and cls.decompose is GraphOp.decompose):
            continue  # what only moves elements is exact
        sampling = Sampling(np.random.default_rng(1), dtype, False)
        operations = [o for _ in range(seeds) if (o := sampling.sampled(cls)) is not None]
        if not operations:
            continue
        function = sampling.function([r for o in operations for r in o.results])
        inputs = [sampling.arrays[a] for a in sampling.block.arguments]
        try:
            expected = run_graph(function, inputs, wide=True)
            sizes = run_graph(function, [np.abs(i) for i in inputs], wide=True) if _is_sum(operations[0]) else expected
            found = compiled_results(sampling, function, target, inputs)
        except HeadraceError:  # not for this element type
            continue
        worst = 0.0
        for result, wanted, size in zip(found, expected, sizes, strict=True):
            scale = np.abs(size) if _is_sum(operations[0]) else np.full(size.shape, np.abs(size).max(initial=0))
            apart = np.abs(result.astype(np.float64) - wanted)[scale > 0]
            worst = max(worst, float((apart / scale[scale > 0]).max(initial=0) / float(_finfo(dtype.numpy).eps)))
        yield operations[0].name, worst


def _is_sum(operation: GraphOp) -> bool:
    return operation.name.removeprefix("graph.") in SUMS


# ---- the table -----------------------------------------------------------------------------------------------


def measured(types: Sequence[DType] = TYPES) -> tuple[Errors, Errors]:
    """Errors of elementwise operations, by the short sweep and the long one, and of the others."""
    found: tuple[Errors, Errors] = ({}, {})
    for dtype in types:
        for target in targets():
            sweeps = (elementwise_errors(dtype, target, count) for count in (SHORT, LONG))
            for errors, parts in zip(found, (chain(*sweeps), other_errors(dtype, target, SEEDS)), strict=True):
                for name, error in parts:
                    errors[name, str(dtype)] = max(error, errors.get((name, str(dtype)), 0.0))
    return found


def table(errors: tuple[Errors, Errors]) -> str:
    """Rows of what is not always exact, rounded up; the others in a line below."""
    rows, exact = "", []
    for part in errors:
        for name in sorted({n for n, _ in part}):
            cells = [part.get((name, str(t))) for t in TYPES]
            short = name.removeprefix("graph.")
            if any(cells):
                unit = (
                    "ulp of x"
                    if short == "gelu"
                    else UNITS[0]
                    if part is errors[0]
                    else UNITS[1]
                    if short in SUMS
                    else UNITS[2]
                )
                rows += f"| {short} | {unit} | {' | '.join('' if c is None else _up(c) for c in cells)} |\n"
            else:
                exact.append(short)
    return f"{_HEAD}{rows}\nAlways exact: {', '.join(sorted(set(exact)))}.\n"


def _up(error: float) -> str:
    return f"{np.ceil(error * 100) / 100:.2f}"


def written(text: str) -> Mapping[tuple[str, str], float]:
    """The bounds that the page states, by operation and element type."""
    found: dict[tuple[str, str], float] = {}
    for line in re.findall(r"^\| \w+ \| (?:ulp|ulp of x|eps sum|eps max) \|.*$", text, re.MULTILINE):
        name, _, *cells = (c.strip() for c in line.strip("|").split("|"))
        found |= {(f"graph.{name}", str(t)): float(c) for t, c in zip(TYPES, cells, strict=True) if c}
    (exact,) = re.findall(r"^Always exact: (.*?)\.$", text, re.MULTILINE)
    return found | {(f"graph.{n}", str(t)): 0.0 for n in exact.split(", ") for t in TYPES}


def page(text: str, new: str) -> str:
    """The page with the table in place of the one that is there."""
    start, end = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
    before, _, rest = text.partition(start)
    return before + start + "\n" + new + "\n" + end + rest.partition(end)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), table(measured())))
