"""Operations on a device.  In: a target, where to run.  Out: for each operation and element type, what came of it.

Each operation's own generator makes an instance; it is compiled for the target, run on the device, and compared with
the interpreter.  The types of one operation share an artefact, unless something goes wrong: then each has its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.compiler.conformance.samples import Instance, classes, function_of, instance_of, refusal
from headrace.compiler.conformance.watched import Tell, nobody
from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module, copy_of
from headrace.ir.errors import CodegenError, HeadraceError
from headrace.ir.graph.families import Array
from headrace.ir.graph.interpret import run_graph
from headrace.ir.graph.ops.func import GraphFunc
from headrace.ir.module import module_of
from headrace.ir.types import DTYPES
from headrace.runtime.python import HeadraceRuntimeError, Session, UnsupportedError, load

LARGER = {"n": 37, "m": 29}  # several tiles, more tasks than threads, more scratch than the run before
MOST_ELEMENTS = 300_000  # of all operands: the interpreter is to be done in a second


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


def runs_here(path: Path, place: Place) -> bool:
    """Whether the code in a file is for this machine; what else may be wrong shows when it is run."""
    try:
        load(path, device=place.device, drivers=place.drivers)
    except UnsupportedError:
        return False
    except HeadraceRuntimeError:
        return True
    return True


def check_operators(place: Place, names: Sequence[str] = (), tell: Tell = nobody) -> Iterator[Cell]:
    """All operations that can be sampled, or those of these names, in the order of their names."""
    for cls in classes():
        if names and cls.name not in names:
            continue
        tell(cls.name)
        sampled = {dtype.name: instance_of(cls, dtype, place.target) for dtype in DTYPES.values()}
        yield from _cells(cls.name, {name: i for name, i in sampled.items() if i is not None}, place)


def _cells(name: str, instances: dict[str, Instance], place: Place) -> Iterator[Cell]:
    refused = {dtype: why for dtype, i in instances.items() if (why := refusal(i, place.target)) is not None}
    taken = {dtype: i for dtype, i in instances.items() if dtype not in refused}
    together = len(taken) > 1 and _outcome(list(taken.values()), place)[0] == "ok"
    for dtype, instance in instances.items():
        if dtype in refused:
            yield Cell(name, dtype, "refused", refused[dtype])
        else:
            yield Cell(name, dtype, *(("ok", "") if together else _outcome([instance], place)))


def _outcome(instances: Sequence[Instance], place: Place) -> tuple[str, str]:
    function, arrays = function_of(instances)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = Path(folder) / "m.hrm"
        try:
            compile_module(copy_of(module_of(function)), output=path, target=place.target)
            session = load(path, threads=2, device=place.device, drivers=place.drivers)
        except CodegenError as error:
            return "refused", f"the target takes it, and a model that has it does not compile: {error}"
        except (HeadraceError, UnsupportedError) as error:
            return "refused", str(error).removeprefix(f"{path}: ")
        except HeadraceRuntimeError as error:
            return "wrong", str(error).removeprefix(f"{path}: ")
    # The second run finds the memory of the first; a larger one needs more of it, and one after that less.
    runs = [arrays, arrays]
    larger = function_of(instances, LARGER)[1]
    if sum(a.size for a in larger) <= MOST_ELEMENTS:
        runs += [larger, arrays]
    for given in runs:
        wrong = _wrong(session, function, given)
        if wrong is not None:
            return "wrong", wrong
    return "ok", ""


def _wrong(session: Session, function: GraphFunc, arrays: Sequence[Array]) -> str | None:
    """What is not as the interpreter has it in one run."""
    try:
        found = session.run(dict(zip(function.input_names, arrays, strict=True)))
    except HeadraceRuntimeError as error:
        return str(error)
    return disagreement(function, arrays, [found[n] for n in function.output_names], run_graph(function, arrays))
