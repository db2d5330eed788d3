"""The reference interpreter of the graph dialect: each operation's `reference` on numpy arrays.

In: a graph.func, arrays for its parameters.  Out: arrays of its results.  The symbols of its types are bound
from the arrays' shapes, or from the data that an operation says they are; every result must have the shape and
element type that its type says, so that an error of inference is seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.ir.bind import bind, check_shape
from headrace.ir.core import Block, Operation, Value
from headrace.ir.errors import DataError, ExecutionError, VerifyError
from headrace.ir.graph.families import DataDims, GraphOp, tensor
from headrace.ir.graph.numbers import with_numbers
from headrace.ir.graph.ops.cluster import Cluster
from headrace.ir.graph.ops.constant import Constant
from headrace.ir.graph.ops.control import If
from headrace.ir.graph.ops.device import Call
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.graph.ops.loop import OTHER_SIZE, Loop, body_results, moved_dims, row_sizes
from headrace.ir.module import Function, Module, module_of
from headrace.ir.types import DType, TensorType

Array = np.ndarray[Any, Any]
MOST_TURNS = 10_000  # of one loop: more are nothing to wait for
Disturb = Callable[[Operation | None, Array], Array]


def run_graph(
    function: GraphFunc,
    inputs: Sequence[Array],
    symbols: Mapping[str, int] | None = None,
    *,
    wide: bool = False,
    disturb: Disturb | None = None,
) -> list[Array]:
    """The results.  Raises ExecutionError.

    `wide`: all floats as float64.  `disturb`: called on every array that an operation makes, and what it returns
    takes the array's place: with a little noise, runs show how far rounding carries.
    """
    name = f"@{function.function_name}"
    if len(inputs) != len(function.parameters):
        raise ExecutionError(f"{name}: {len(inputs)} inputs, expected {len(function.parameters)}")
    shaped = [(f"input {p.index}", p.type, a.shape) for p, a in zip(function.parameters, inputs, strict=True)]
    known = bind(name, shaped, function.known, symbols or {})
    run = _Run(name, module_of(function), known, wide, disturb)
    values: dict[Value, Array] = {}
    for parameter, array in zip(function.parameters, inputs, strict=True):
        if array.dtype != tensor(parameter).dtype.numpy and not (wide and tensor(parameter).dtype.is_float):
            raise ExecutionError(
                f"{name}: input {parameter.index} has elements {array.dtype}, expected {tensor(parameter).dtype}"
            )
        values[parameter] = run.held(array, tensor(parameter).dtype)
    with np.errstate(all="ignore"):
        return run.block(function.block, values)


def run_device(
    function: Function, operands: Sequence[Array], symbols: Mapping[str, int], *, wide: bool = False
) -> list[Array]:
    """The results of a graph.device_func, where the caller's symbols are known."""
    run = _Run(f"@{function.function_name}", module_of(function), dict(symbols), wide, None)
    with np.errstate(all="ignore"):
        return run.block(function.block, dict(zip(function.parameters, operands, strict=True)))


class _Run:
    """One call: what is known while it lasts."""

    def __init__(self, name: str, module: Module, symbols: dict[str, int], wide: bool, disturb: Disturb | None) -> None:
        self.name = name
        self.module = module
        self.symbols = symbols
        self.wide = wide
        self.disturb = disturb

    def held(self, array: Array, dtype: DType) -> Array:
        """An array as the run holds it: dense, since the order in which numpy and BLAS sum depends on strides."""
        return np.ascontiguousarray(array, np.float64 if self.wide and dtype.is_float else None).reshape(array.shape)

    def block(self, block: Block, values: dict[Value, Array]) -> list[Array]:
        """Runs the operations; the terminator's operands."""
        for operation in block.body:
            results = self.operation(operation, [values[o] for o in operation.operands])
            for result, array in zip(operation.results, results, strict=True):
                self.check(operation, result, array)
                values[result] = array if self.disturb is None else self.disturb(operation, array)
        return [values[o] for o in block.terminator.operands]

    def operation(self, operation: Operation, operands: Sequence[Array]) -> Sequence[Array]:
        match operation:
            case Constant():
                return [self.held(self.module.constants.array(operation.value), operation.value.dtype)]
            case Cluster():
                body = operation.body.block
                return self.block(body, dict(zip(body.arguments, operands, strict=True)))
            case If():
                return self.branch(operation, operands)
            case Call():
                return self.call(operation, operands)
            case Loop():
                return self.loop(operation, operands)
            case GraphOp():
                return self.reference(operation, operands)
        raise ExecutionError(f"{self.place(operation)}: the interpreter does not know {operation.name}")

    def branch(self, operation: If, operands: Sequence[Array]) -> Sequence[Array]:
        holds = bool(operands[0].reshape(-1)[0])
        self.symbols[operation.symbol] = int(holds)
        function = self.module.function((operation.then if holds else operation.otherwise).name)
        assert isinstance(function, GraphFunc), "the verifier has seen it"
        inner = _Run(f"@{function.function_name}", self.module, self.symbols, self.wide, self.disturb)
        values: dict[Value, Array] = {}
        values.update(zip(function.parameters, operands[1:], strict=True))
        results = inner.block(function.block, values)
        for symbol in {s for kind in operation.types for d in kind.dims for s in d.symbols}:
            self.symbols.setdefault(symbol, 1)  # read in the branch that is not taken
        return results

    def call(self, operation: Call, operands: Sequence[Array]) -> Sequence[Array]:
        block = self.module.function(operation.function.name).block
        return self.block(block, dict(zip(block.arguments, operands, strict=True)))
    def loop(self, loop: Loop, operands: Sequence[Array]) -> Sequence[Array]:
        """Turn after turn; what the body's own symbols were in the last one is forgotten."""
        function = self.module.function(loop.body.name)
        assert isinstance(function, GraphFunc), "the verifier has seen it"
        given = dict(zip(loop.operands, operands, strict=True))
        parameters = [tensor(p) for p in function.parameters[len(loop.captures) :]]
        after, rows = body_results(loop, [tensor(o) for o in function.block.terminator.operands])
        moved, sizes = moved_dims(loop, parameters, after), row_sizes(loop, rows)
        if loop.most is not None:
            self.symbols[loop.limit.symbols[0]] = int(given[loop.most].reshape(-1)[0])
        limit = int(loop.limit.evaluate(self.symbols))
        goes_on = loop.condition is None or bool(given[loop.condition].reshape(-1)[0])
        carried = [given[c] for c in loop.carried]
        bound = {s: int(start.evaluate(self.symbols)) for s, (start, _) in moved.items()}
        first = dict.fromkeys(sizes, 0)
        columns: list[list[Array]] = [[] for _ in rows]
        turns = 0
        while goes_on and turns < limit:
            if turns == MOST_TURNS:
                place = self.place(loop)
                raise ExecutionError(f"{place}: more than {MOST_TURNS} turns, which the interpreter does not wait for")
            symbols = self.symbols | bound | {loop.turn: turns}
            inner = _Run(f"@{function.function_name}", self.module, symbols, self.wide, self.disturb)
            values: dict[Value, Array] = {}
            values.update(zip(function.parameters, [*(given[c] for c in loop.captures), *carried], strict=True))
            results = inner.block(function.block, values)
            if loop.condition is not None:
                goes_on, results = bool(results[0].reshape(-1)[0]), results[1:]
            carried = results[: len(carried)]
            for column, row in zip(columns, results[len(carried) :], strict=True):
                column.append(row)
            bound = {s: int(then.evaluate(inner.symbols)) for s, (_, then) in moved.items()}
            found = {s: int(size.evaluate(inner.symbols)) for s, size in sizes.items()}
            if turns and found != first:
                raise ExecutionError(f"{self.place(loop)}: {OTHER_SIZE}")
            first = found
            turns += 1
        self.symbols |= bound | first | {loop.turn: turns}
        return [*carried, *(self.rows(c, row) for c, row in zip(columns, loop.rows, strict=True))]

    def rows(self, column: Sequence[Array], row: TensorType) -> Array:
        """The values of all turns along a new first axis."""
        if column:
            return np.stack(column)
        shape = (0, *(int(d.evaluate(self.symbols)) for d in row.dims))
        return self.held(np.empty(shape, row.dtype.numpy), row.dtype)

    def reference(self, operation: GraphOp, operands: Sequence[Array]) -> Sequence[Array]:
        if isinstance(operation, DataDims):
            self.read_dims(operation, operands)
        for check in operation.checks():
            if int(check.formula.evaluate(self.symbols)) < 0:
                raise ExecutionError(f"{self.place(operation)}: {check.message}")
        try:
            found = with_numbers(operation, self.symbols).reference(*operands)
        except VerifyError as error:  # these dims are none that the operation takes
            raise ExecutionError(f"{self.name}: {error}") from None
        except DataError as error:
            nodes = operation.location.nodes
            raise DataError(f"node {nodes[0]!r}: {error}" if nodes else str(error)) from None
        arrays = found if isinstance(found, tuple) else (found,)
        return [self.held(np.asarray(a), tensor(r).dtype) for a, r in zip(arrays, operation.results, strict=True)]

    def read_dims(self, operation: DataDims, operands: Sequence[Array]) -> None:
        for read in operation.dim_reads():
            number = int(operands[operation.operands.index(read.operand)].reshape(-1)[read.element])
            if number < read.lower:
                place = self.place(operation)
                raise ExecutionError(f"{place}: {read.symbol} is {number}, expected at least {read.lower}")
            self.symbols[read.symbol] = number

    def check(self, operation: Operation, result: Value, array: Array) -> None:
        """The array must be what the type says."""
        kind = tensor(result)
        check_shape(f"{self.place(operation)}: the result", kind, array.shape, self.symbols)
        expected = np.dtype(np.float64) if self.wide and kind.dtype.is_float else kind.dtype.numpy
        if array.dtype != expected:
            place = self.place(operation)
            raise ExecutionError(f"{place}: the result has elements {array.dtype}, expected {kind.dtype}")

    def place(self, operation: Operation) -> str:
        nodes = f" (node {operation.location})" if operation.location.nodes else ""
        return f"{self.name}: {operation.name}{nodes}"
