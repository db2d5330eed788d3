"""Running a kernel from outside: arrays become buffers, the body runs, buffers become arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headrace.ir.access import SEQUENTIAL, Access
from headrace.ir.bind import bind
from headrace.ir.core import Operation
from headrace.ir.errors import ExecutionError
from headrace.ir.kernel.in_place import in_place
from headrace.ir.kernel.interpret.copies import check_all_done
from headrace.ir.kernel.interpret.lanes import Array, Chosen
from headrace.ir.kernel.interpret.machine import Machine, parallel_axes
from headrace.ir.kernel.interpret.memory import WRITTEN, Buffer, layout, undefined
from headrace.ir.kernel.interpret.steps import STEPS
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.ops.structured import INDEPENDENT, Structured
from headrace.ir.types import BufferType

__all__ = ["KernelRun", "execute", "kernel_symbols", "run_kernel"]


@dataclass(frozen=True, slots=True)
class KernelRun:
    """The outputs, and for each which of its elements were written."""

    outputs: list[Array]
    written: list[Array]


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory behind a parameter: flat elements and their states."""

    storage: Array
    state: Array


def run_kernel(
    function: KernelFunc,
    inputs: Sequence[Array],
    symbols: Mapping[str, int] | None = None,
    *,
    wide: bool = False,
    tasks: Sequence[int] | None = None,
    wanted: Sequence[Array] | None = None,
    split: bool = False,
) -> KernelRun:
    """Runs a kernel.  `symbols` that the inputs' shapes give may be left out.

    `tasks`: flat numbers of the points that run of the kernel's only operation, over its `task` axes, or its `grid`
    axes, or all its independent ones.  `wanted`: a mask for each output.  `split`: every kernel.reduce runs in two
    parts that its `combine` joins.  Raises KernelFault and ExecutionError.
    """
    if len(inputs) != len(function.inputs):
        raise ExecutionError(f"@{function.function_name}: {len(inputs)} inputs, expected {len(function.inputs)}")
    known = kernel_symbols(function, inputs, symbols or {})
    memories = [_input(function, i, a, known, wide) for i, a in enumerate(inputs)]
    for parameter in function.written:
        kind = parameter.type
        assert isinstance(kind, BufferType)
        span = layout(kind, known)[2]
        dtype = np.dtype(np.float64) if wide and kind.dtype.is_float else kind.dtype.numpy
        memories.append(Memory(undefined(dtype, span), np.zeros(span, np.uint8)))
    for operand, result in in_place(function):
        # As a launch may have it; which elements the kernel has written, the result still knows for itself.
        shared = memories[operand.index].storage.copy()
        memories[operand.index] = replace(memories[operand.index], storage=shared)
        memories[result.index] = replace(memories[result.index], storage=shared)
    chosen = None
    if tasks is not None:
        chosen = _chosen_tasks(function, tasks)
    elif wanted is not None:
        chosen = _chosen_points(function, known, wanted)
    storages, states = [m.storage for m in memories], [m.state for m in memories]
    execute(function, storages, states, known, wide=wide, chosen=chosen, split=split)
    outputs = [_array(p.type, m.storage, known) for p, m in zip(function.written, memories[len(inputs) :], strict=True)]
    marks = [_array(p.type, m.state, known) for p, m in zip(function.written, memories[len(inputs) :], strict=True)]
    return KernelRun(outputs, [s == WRITTEN for s in marks])


def kernel_symbols(function: KernelFunc, inputs: Sequence[Array], symbols: Mapping[str, int]) -> dict[str, int]:
    """The kernel's scalars, from those given and the inputs' shapes, which must agree."""
    kinds = [(f"parameter {p.index}", p.type, a.shape) for p, a in zip(function.inputs, inputs, strict=True)]
    known = bind(f"@{function.function_name}", kinds, function.known, symbols)
    missing = [s for s in function.scalars if s not in known]
    if missing:
        raise ExecutionError(f"@{function.function_name}: no value for scalar {missing[0]!r}")
    return known


def execute(
    function: KernelFunc,
    storages: Sequence[Array],
    states: Sequence[Array],
    symbols: Mapping[str, int],
    *,
    wide: bool = False,
    chosen: Chosen | None = None,
    split: bool = False,
) -> None:
    """Runs a kernel on flat memories, one for each parameter, and on the states of their elements, in place."""
    machine = Machine(function, symbols, STEPS, wide=wide, chosen=chosen, split=split)
    one = (1,) * machine.lanes.rank
    for parameter, storage, state in zip(function.parameters, storages, states, strict=True):
        kind = parameter.type
        assert isinstance(kind, BufferType)
        dims, strides, span = layout(kind, machine.lanes.env)
        if len(storage) != span:
            raise ExecutionError(
                f"@{function.function_name}: {machine.name_of(parameter)} has {len(storage)} elements, expected {span}"
            )
        machine.values[parameter] = Buffer(
            machine.name_of(parameter), dims, strides, storage, state,
            instances=one, depth=0, writable=parameter in function.written,
        )  # fmt: skip
    with np.errstate(all="ignore"):
        machine.translate(function.block)()
    check_all_done(machine)


def _input(function: KernelFunc, number: int, array: Array, symbols: dict[str, int], wide: bool) -> Memory:
    kind = function.parameters[number].type
    assert isinstance(kind, BufferType)
    if array.dtype != kind.dtype.numpy and not (wide and kind.dtype.is_float):
        raise ExecutionError(
            f"@{function.function_name}: input {number} has elements {array.dtype}, expected {kind.dtype}"
        )
    dtype = np.dtype(np.float64) if wide and kind.dtype.is_float else kind.dtype.numpy
    dims, strides, span = layout(kind, symbols)
    if kind.strides is None:
        storage = np.ascontiguousarray(array, dtype).reshape(-1)
        return Memory(storage, np.full(span, WRITTEN, np.uint8))
    storage, state = undefined(dtype, span), np.zeros(span, np.uint8)
    if span:
        _strided(storage, dims, strides)[...] = array
        _strided(state, dims, strides)[...] = WRITTEN
    return Memory(storage, state)


def _strided(flat: Array, dims: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    size = flat.dtype.itemsize
    return np.ndarray(dims, flat.dtype, flat.view(np.uint8), 0, [s * size for s in strides])


def _array(kind: Any, flat: Array, symbols: dict[str, int]) -> Array:
    dims, strides, span = layout(kind, symbols)
    return _strided(flat, dims, strides) if span else np.empty(dims, flat.dtype)


# ---- some points only ------------------------------------------------------------------------------------------


def _only_operation(function: KernelFunc) -> Operation:
    body = function.block.operations
    if len(body) != 1 or not parallel_axes(body[0]):
        raise ExecutionError(f"@{function.function_name}: the body is more than one parallel operation; run all of it")
    return body[0]


def _chosen_tasks(function: KernelFunc, tasks: Sequence[int]) -> Chosen:
    axes = parallel_axes(_only_operation(function))
    for kind in ("task", "grid"):
        if any(a.kind == kind for a in axes):
            axes = tuple(a for a in axes if a.kind == kind)
    return Chosen(tuple(a.name for a in axes), np.asarray(tasks, np.int64))


def _chosen_points(function: KernelFunc, symbols: dict[str, int], wanted: Sequence[Array]) -> Chosen:
    """The points of a structured operation's independent axes that write a wanted element, or one outside."""
    operation = _only_operation(function)
    if not isinstance(operation, Structured) or any(a.kind in SEQUENTIAL for a in operation.axes):
        raise ExecutionError(f"@{function.function_name}: {operation.name} has no points that write one element each")
    axes = tuple(a for a in operation.axes if a.kind in INDEPENDENT)
    ordered = {a.name for a in operation.axes} - {a.name for a in axes}
    extents = [int(a.extent.evaluate(symbols)) for a in axes]
    env: dict[str, Any] = dict(symbols)
    for place, (axis, extent) in enumerate(zip(axes, extents, strict=True)):
        env[axis.name] = np.arange(extent).reshape([-1 if i == place else 1 for i in range(len(axes))])
    found = np.zeros(extents, np.bool_)
    outputs = list(function.written)
    for access in operation.writes:
        if access.value in outputs:
            found |= _hits(access, env, wanted[outputs.index(access.value)])
    for formula in operation.attributes["where"]:
        if not ordered & set(formula.symbols):
            found &= np.asarray(formula.evaluate(env)) >= 0
    return Chosen(tuple(a.name for a in axes), np.flatnonzero(found))


def _hits(access: Access, env: Mapping[str, Any], wanted: Array) -> Array:
    """For each point whether the element it writes is wanted, or lies outside of the buffer: a fault to find."""
    indices = [np.asarray(i.evaluate(env)) for i in access.map.indices]
    inside = np.ones((), np.bool_)
    for index, extent in zip(indices, wanted.shape, strict=True):
        inside = inside & (index >= 0) & (index < extent)
    clipped = tuple(np.clip(i, 0, n - 1) for i, n in zip(indices, wanted.shape, strict=True))
    return np.asarray(wanted[clipped] | ~inside)
