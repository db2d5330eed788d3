"""How a model fails, and whether another one fails in the same way.  In: a model, what to do with it.  Out: a Failure.

A trial compiles the model, runs it, and compares with the interpreter, or with ONNX Runtime where that is asked for.
It takes place in a process of its own: one that dies, hangs or takes all memory has failed in that way.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module, copy_of, read_model
from headrace.compiler.files import write_arrays
from headrace.compiler.frontends.onnx.cutting import Cut, Seen, inferred, showing_all
from headrace.compiler.measure.engines import PEERS
from headrace.compiler.reduction.isolated import Ended, Limits, Tell, isolated
from headrace.ir.errors import ExecutionError, HeadraceError, OptionError, UnsupportedModelError
from headrace.ir.graph.families import tensor
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import Module
from headrace.ir.pass_manager import Hooks, VerifyEach
from headrace.ir.pass_registry import pass_names
from headrace.ir.semantic import SemanticCheck
from headrace.runtime.python import HeadraceRuntimeError, load

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """`key`: what two failures have in common that are the same; `line`: what happened, for the user."""

    key: tuple[str, ...]
    line: str

    @property
    def of_run(self) -> bool:
        """Whether the model has to run to fail."""
        return self.key[0] in ("run", "wrong") or self.key[-1] == "run"


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with a model: `command` instead of compiling it, `against` which the results are held."""

    target: str = "host"
    pipeline: str | None = None
    against: str | None = None
    command: str | None = None
    run: bool = True
    semantic: bool = False
    limits: Limits = field(default_factory=Limits)


def how_it_fails(cut: Cut, task: Task) -> Failure | None:
    """One trial; None if all goes well.  Raises OptionError where the model cannot be tried."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(cut.content())
        if task.command is not None:
            return _by_command(cut, file, task)
        ended = isolated(lambda tell: _trial(cut, file, task, tell), task.limits)
    if ended.how != "returned":
        return _died(ended, task.limits)
    if isinstance(ended.value, OptionError):
        raise ended.value
    found = ended.value
    assert found is None or isinstance(found, Failure)
    return found


def _died(ended: Ended, limits: Limits) -> Failure:
    after = f" after {ended.at}" if ended.at else ""
    told = {"timeout": f"takes more than {limits.seconds:g} s", "memory": "out of memory", "exit": "the process ends"}
    return Failure((ended.how, ended.at), f"{told.get(ended.how, f'the process dies of {ended.how}')}{after}")


def _by_command(cut: Cut, file: Path, task: Task) -> Failure | None:
    assert task.command is not None
    arrays = file.with_suffix(".npz")
    if "{inputs}" in task.command:
        write_arrays(arrays, cut.inputs)
    words = [w.replace("{model}", str(file)).replace("{inputs}", str(arrays)) for w in shlex.split(task.command)]
    try:
        done = subprocess.run(words, capture_output=True, timeout=task.limits.seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Failure(("timeout", "command"), f"the command takes more than {task.limits.seconds:g} s")
    except OSError as error:
        raise OptionError(f"--command: {words[0]}: {(error.strerror or str(error)).lower()}") from None
    return Failure(("command",), "the command's exit status is 1") if done.returncode == 1 else None


def _trial(cut: Cut, file: Path, task: Task, tell: Tell) -> Failure | OptionError | None:
    artefact = file.with_suffix(".hrm")
    tell("reading")
    try:
        module = read_model(file, None)
        imported = copy_of(module)
        check = SemanticCheck() if task.semantic else None
        verify: VerifyEach = "off" if check is None else "semantic"
        hooks = Hooks(observe=lambda step, _: tell(step.name), verify_each=verify, semantic=check)
        compile_module(module, output=artefact, target=task.target, pipeline=task.pipeline, hooks=hooks)
    except MemoryError:
        raise
    except Exception as error:
        return _of_error(error)
    if not task.run:
        return None
    tell("run")
    return _run(cut, imported, artefact, file, task)


def _run(cut: Cut, module: Module, artefact: Path, file: Path, task: Task) -> Failure | OptionError | None:
    main = _main(module)
    names = main.output_names
    inputs = {n: cut.inputs[n] for n in main.input_names}
    try:
        expected = _expected(main, inputs, file, task)
    except ExecutionError as error:
        return OptionError(f"the model does not take these inputs: {error}")
    except OptionError as error:
        return error
    try:
        found = load(artefact, threads=1).run(inputs)
    except HeadraceRuntimeError as error:
        return Failure(("run", "error", _plain(str(error))), str(error))
    wrong = disagreement(main, list(inputs.values()), [found[n] for n in names], expected)
    return None if wrong is None else Failure(("wrong",), wrong)


def _expected(main: GraphFunc, inputs: Mapping[str, Array], file: Path, task: Task) -> Sequence[Array]:
    if task.against is None:
        return run_graph(main, list(inputs.values()))
    outputs = PEERS[task.against](file, inputs, 1).outputs()
    return [np.asarray(outputs[n]) for n in main.output_names]


def _main(module: Module) -> GraphFunc:
    main = module.function("main")
    assert isinstance(main, GraphFunc)
    return main


def _of_error(error: Exception) -> Failure:
    kind = type(error).__name__
    line = str(error).partition("\n")[0] if isinstance(error, HeadraceError) else f"{kind}: {error}"
    guilty = re.match(r"\w+\.[\w-]+", line)
    if guilty is not None and guilty[0] in pass_names():
        cause = type(error.__cause__).__name__ if error.__cause__ is not None else ""
        return Failure(("compile", kind, guilty[0], cause), line)
    if isinstance(error, UnsupportedModelError) and error.nodes:
        return Failure(("compile", kind, str(error.nodes[0]["op"])), line)
    return Failure(("compile", kind, _plain(line)), line)


def _plain(line: str) -> str:
    """Without what depends on the model at hand: names, places, numbers."""
    line = re.sub(r"^(?:\S+: )+", "", line.partition("\n")[0])
    line = re.sub(r"'[^']*'|%[\w.]+|@\w+", "_", line)
    line = re.sub(r"\[[^\]]*\]", "[]", line)
    return re.sub(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", "0", line)


# ---- what is known of the values of a model -----------------------------------------------------------------


def seen_values(cut: Cut, limits: Limits) -> dict[str, Seen]:
    """Types of all values, and arrays as the interpreter computes them, as far as both can be had."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(bytes(showing_all(cut).SerializeToString()))
        ended = isolated(lambda _: _seen(cut, file), limits)
        if ended.how != "returned":
            ended = isolated(lambda _: _seen(Cut(cut.proto, {}), file), limits)
    return ended.value if ended.how == "returned" and ended.value else inferred(cut)


def _seen(cut: Cut, file: Path) -> dict[str, Seen]:
    try:
        main = _main(read_model(file, None))
    except HeadraceError:
        return {}
    values = main.block.terminator.operands
    arrays: Sequence[Array | None] = [None] * len(values)
    if all(n in cut.inputs for n in main.input_names):
        with suppress(ExecutionError):  # then the types have to do
            arrays = run_graph(main, [cut.inputs[n] for n in main.input_names])
    found = {}
    for name, value, array in zip(main.output_names, values, arrays, strict=True):
        kind = tensor(value)
        dims = tuple(d.value if d.is_constant else str(d).replace(" ", "") for d in kind.dims)
        found[name] = Seen(np.dtype(kind.dtype.numpy), dims, array)
    return found
