"""What `headrace reduce` does.  In: a request.  Out: files, and lines for the user.

The reduced model is written as ONNX and, if it can be imported, as `.hir`; its inputs too where it has to run to fail.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.compiler.driver import read_model
from headrace.compiler.files import check_place, write_arrays, write_whole
from headrace.compiler.frontends.onnx.cutting import Array, Cut, declared_inputs, whole_model
from headrace.compiler.measure.engines import PEERS
from headrace.compiler.measure.inputs import inputs_for
from headrace.compiler.placement import machines
from headrace.compiler.reduction.failure import Failure, Task, how_it_fails, seen_values
from headrace.compiler.reduction.reducer import Reducer
from headrace.ir.errors import HeadraceError, OptionError, nearest
from headrace.ir.graph.importing import importers
from headrace.ir.pass_registry import find_pass, pass_names
from headrace.ir.text import save_hir
from headrace.runtime.python import Port

OPEN = 2  # what a dim is in a run if nothing tells


@dataclass(frozen=True, slots=True)
class Request:
    """`inputs`: those that the user gives; others are random."""

    model: Path
    output: Path
    shapes: Mapping[str, Sequence[int | str]]
    inputs: Mapping[str, Array]
    task: Task


def check_model(request: Request) -> Failure | None:
    """How the model fails.  Raises OptionError and ModelError."""
    return how_it_fails(_start(request), request.task)


def reduce_model(request: Request) -> Iterator[str]:
    """Writes the reduced model; says, line by line, what is found.  Raises OptionError where nothing fails."""
    check_place(request.output)
    start = _start(request)
    failure = how_it_fails(start, request.task)
    if failure is None:
        raise OptionError(f"{request.model}: does not fail{_how_tried(request.task)}")
    yield f"{request.model}: {failure.line}"
    _import_all()
    target = ",".join(m.name for m in machines(request.task.target))  # `host` is looked up once
    task = replace(request.task, target=target, run=failure.of_run)

    def fails(cut: Cut) -> bool:
        try:
            found = how_it_fails(cut, task)
        except OptionError:  # it does not take these inputs any more
            return False
        return found is not None and found.key == failure.key

    reducer = Reducer(fails, lambda cut: seen_values(cut, task.limits))
    reduced = reducer.reduced(start)
    found = how_it_fails(reduced, task) or failure
    yield f"{len(start.nodes)} nodes -> {len(reduced.nodes)}, {reducer.trials} trials: {found.line}"
    if found.key[0] == "wrong" and (blamed := how_it_fails(reduced, replace(task, semantic=True, run=False))):
        yield f"--verify-each=semantic says: {blamed.line}"
    yield from _write(reduced, request, found)


def _import_all() -> None:
    """What each trial would have to import else."""
    importers()
    for name in pass_names():
        find_pass(name)


def _start(request: Request) -> Cut:
    """The whole model with arrays for its inputs."""
    if request.task.against is not None and request.task.against not in PEERS:
        names = ", ".join(PEERS)
        raise OptionError(f"--against {request.task.against!r}{nearest(request.task.against, PEERS)}; expected {names}")
    proto = whole_model(request.model, request.shapes)
    declared = declared_inputs(proto)
    given, known = dict(request.inputs), dict[str, int]()
    for name in declared.keys() & given.keys():
        if given[name].dtype.kind == "V":  # a .npy file has raw bytes for element types that numpy lacks
            given[name] = given[name].view(declared[name].dtype)
        known |= {d: n for d, n in zip(declared[name].dims, given[name].shape, strict=False) if isinstance(d, str)}
    ports = [
        Port(name, seen.dtype, tuple(known.get(d, OPEN) if isinstance(d, str) else d for d in seen.dims))
        for name, seen in declared.items()
    ]
    return Cut(proto, inputs_for(ports, {}, given))


def _how_tried(task: Task) -> str:
    if task.command is not None:
        return ": the command's exit status is not 1"
    return f" for {task.target}: it compiles, runs, and gives what {task.against or 'the interpreter'} gives"


def _write(cut: Cut, request: Request, failure: Failure) -> Iterator[str]:
    content, arrays, hir = cut.content(), request.output.with_suffix(".npz"), request.output.with_suffix(".hir")
    write_whole(request.output, lambda file: file.write(content))
    written = [request.output]
    try:
        save_hir(read_model(request.output, None), hir)
        written.append(hir)
    except HeadraceError:
        pass  # that may be the failure
    if failure.of_run or "{inputs}" in (request.task.command or ""):
        write_arrays(arrays, cut.inputs)
        written.append(arrays)
    yield f"written: {', '.join(map(str, written))}"
    yield f"to repeat it: {_repeating(request, failure, arrays)}"


def _repeating(request: Request, failure: Failure, arrays: Path) -> str:
    """The command that shows the failure of what was written."""
    task, file = request.task, request.output
    if task.command is not None:
        return task.command.replace("{model}", shlex.quote(str(file))).replace("{inputs}", shlex.quote(str(arrays)))
    options = [f"--target {task.target}"] + ([f"--pipeline {shlex.quote(task.pipeline)}"] if task.pipeline else [])
    if not failure.of_run:
        target = shlex.quote(str(file.with_suffix(".hrm")))
        return " ".join(["headrace compile", shlex.quote(str(file)), "-o", target, *options])
    options += [f"--against {task.against}"] if task.against else []
    return " ".join(["headrace reduce --check", shlex.quote(str(file)), "--inputs", shlex.quote(str(arrays)), *options])
