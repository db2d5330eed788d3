"""Random graphs as ONNX models, compiled and run, against ONNX Runtime.  In: a seed.  Out: what went wrong, in a line.

A graph grows of operations that ONNX Runtime runs by themselves, on numbers for which ONNX says what comes out: it divides
no integer by zero, casts no float that the integer type does not hold, and has no empty dims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from headrace.compiler.differential.compare import disagreement
from headrace.compiler.driver import compile, read_model
from headrace.compiler.frontends.onnx.writing import export_model
from headrace.errors import HeadraceError, HeadraceRuntimeError
from headrace.ir.access import SymbolRef
from headrace.ir.core import Block, Region
from headrace.ir.graph.exporting import NotInOnnx
from headrace.ir.graph.families import Array, GraphOp, tensor
from headrace.ir.graph.numbers import with_numbers
from headrace.ir.graph.ops.activations import Erf, Gelu, Sigmoid, Tanh
from headrace.ir.graph.ops.arithmetic import Div, Mod, Rem
from headrace.ir.graph.ops.cast import Cast
from headrace.ir.graph.ops.func import GraphFunc, Return
from headrace.ir.graph.ops.shift import Shift
from headrace.ir.module import Module
from headrace.ir.rewrite import Builder
from headrace.runtime.python import load
from random_graphs.graphs import RandomGraph, grown
from random_graphs.growing import Growing

# ONNX Runtime's polynomials for these are good to some units in the last place of 1.
COARSE = (Sigmoid, Tanh, Erf, Gelu)


def onnx_graph(seed: int) -> RandomGraph:
    g = Growing(np.random.default_rng(seed), accepts=_accepts, empty=0.0)
    return grown(seed, g)


def _accepts(g: Growing, operation: GraphOp, operands: Sequence[Sequence[Array]]) -> bool:
    cases = zip(g.cases, operands, strict=True)
    return _has_meaning(operation, operands) and all(_runs_alone(operation, case, arrays) for case, arrays in cases)


def _has_meaning(operation: GraphOp, operands: Sequence[Sequence[Array]]) -> bool:
    for arrays in operands:
        if any(a.size == 0 for a in arrays):
            return False
        if isinstance(operation, Div | Mod | Rem) and arrays[1].dtype.kind in "iu" and not arrays[1].all():
            return False
        if isinstance(operation, Shift) and not (arrays[1] < 8 * arrays[1].itemsize).all():
            return False
        if isinstance(operation, Cast) and operation.dtype.is_integer and arrays[0].dtype.kind not in "iub":
            limits = np.iinfo(operation.dtype.numpy)
            wide = arrays[0].astype(np.float64)
            if not ((wide > float(limits.min) - 1) & (wide < float(limits.max))).all():
                return False
    return all(tensor(r).elements != 0 for r in operation.results)


def _runs_alone(operation: GraphOp, case: dict[str, int], operands: Sequence[Array]) -> bool:
    """Whether it can be written, and ONNX Runtime has it for these element types and attributes."""
    of_data = {s: 1 for r in operation.results for d in tensor(r).dims for s in d.symbols if s not in case}
    fixed = with_numbers(operation, case | of_data)
    block = Block([o.type for o in fixed.operands])
    fixed.set_operands(block.arguments)
    Builder(block).add(fixed)
    Builder(block).add(Return(tuple(fixed.results)))
    inputs = tuple(f"x{i}" for i in range(len(fixed.operands)))
    outputs = tuple(f"y{i}" for i in range(len(fixed.results)))
    module = Module(Region())
    Builder(module.block).add(GraphFunc(SymbolRef("main"), Region(block), (), inputs, outputs))
    try:
        found = session(export_model(module))
        return found is not None and bool(found.run(None, dict(zip(inputs, operands, strict=True))))
    except NotInOnnx:
        return False
    except Exception:  # its exceptions have no common base but this
        return False


def session(model: bytes) -> Any | None:
    """A session of ONNX Runtime that rewrites nothing; None where it lacks an operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # its exceptions have no common base but this
        return None


class NotCompared(Exception):
    """ONNX Runtime does not run the model, though it runs each of its nodes alone."""


def check_onnx(graph: RandomGraph, target: str) -> str | None:
    """One artefact, run on every case, against ONNX Runtime.  Raises NotCompared."""
    try:
        model = export_model(graph.module)
    except NotInOnnx as reason:  # of formulas, where each case by itself has numbers
        raise NotCompared(str(reason)) from None
    reference = session(model)
    if reference is None:
        raise NotCompared("it does not take the model")
    names = graph.main.output_names
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        file = Path(folder) / "m.onnx"
        file.write_bytes(model)
        try:
            imported = read_model(file, None)
            compile(file, output=file.with_suffix(".hrm"), target=target)
        except HeadraceError as error:
            return f"{target}: does not compile: {error}"
        own = load(file.with_suffix(".hrm"), threads=1)
    (main,) = (f for f in imported.functions(GraphFunc) if not f.private)
    for number, inputs in enumerate(graph.cases):
        try:
            expected = [np.asarray(y) for y in reference.run(list(names), dict(inputs))]
        except Exception as error:  # its exceptions have no common base but this
            raise NotCompared(str(error)) from None
        try:
            found = own.run(inputs)
        except HeadraceRuntimeError as error:
            return f"{target}: case {number}: does not run: {error}"
        arrays = [inputs[n] for n in main.input_names]
        own_results = [found[n] for n in names]
        # ONNX Runtime's Python face gives the narrow floats as their codes.
        expected = [
            e.view(f.dtype) if e.dtype == np.uint8 and f.dtype.itemsize == 1 and f.dtype.kind not in "iub" else e
            for e, f in zip(expected, own_results, strict=True)
        ]
        wrong = disagreement(main, arrays, own_results, expected, COARSE)
        if wrong is not None:
            return f"{target}: case {number}: {wrong}"
    return None
