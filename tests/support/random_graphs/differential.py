"""Compiles a random graph and compares.  In: a seed, a target.  Out: None, or what went wrong, in a line."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile_module, copy_of
from headrace.errors import HeadraceError, HeadraceRuntimeError
from headrace.ir.graph.interpret import run_graph
from headrace.runtime.python import load
from headrace.targets import find_target
from random_graphs.graphs import RandomGraph, random_graph

TARGETS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def target_of(seed: int) -> str:
    """Those in turn that this machine can run."""
    best = TARGETS.index(find_target("host")[0])
    return TARGETS[seed % (best + 1)]


def check(seed: int, target: str | None = None) -> str | None:
    """The graph of a seed, compiled for one target, against the interpreter."""
    return compared(random_graph(seed), target or target_of(seed))


def compared(graph: RandomGraph, target: str) -> str | None:
    """One artefact, run on every case; on the first one once more at the end, when its memory has served others."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        file = Path(folder) / "m.hrm"
        try:
            compile_module(copy_of(graph.module), output=file, target=target)
        except HeadraceError as error:
            return f"{target}: does not compile: {error}"
        except Exception:
            return f"{target}: does not compile: {traceback.format_exc()}"
        session = load(file, threads=1)
    for number, inputs in enumerate([*graph.cases, graph.cases[0]]):
        arrays = list(inputs.values())
        given = [a.tobytes() for a in arrays]
        expected = run_graph(graph.main, arrays)
        try:
            found = session.run(inputs)
        except HeadraceRuntimeError as error:
            return f"{target}: case {number}: does not run: {error}"
        if [a.tobytes() for a in arrays] != given:
            return f"{target}: case {number}: an input is overwritten"
        wrong = disagreement(graph.main, arrays, [found[n] for n in graph.main.output_names], expected)
        if wrong is not None:
            return f"{target}: case {number}: {wrong}"
    return None
