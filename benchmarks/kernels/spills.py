"""Spills in innermost loops of contractions and windows: registers that a tile needs and the target does not have.

In: a preset; any, since nothing runs.  Out: a line for each innermost loop whose code stores values to the stack for
later, or loads such; exit code 1 if there are any.  LLVM says in its assembly which instructions those are, and which
loop each block belongs to.  Of each layer the kernel with most work counts.  Loops that divide, or shift bits into an
exponent, are no contractions: they are of functions, in a recurrent layer or a softmax, whose constants may lie on the
stack as well as elsewhere.

python -m benchmarks.kernels.spills                    every preset of every CPU target
python -m benchmarks.kernels.spills --preset aarch64   one
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import onnx

from benchmarks.instructions.models import MODELS
from benchmarks.kernels.models import RESNET, attention, convolution, product
from benchmarks.models import Model, model, node, random
from headrace.codegen.llvm import emit_module
from headrace.compiler.driver import read_model, run_passes
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.targets import find_target

PRESETS = ("x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels.spills")
    parser.add_argument("--preset", choices=PRESETS, action="append")
    options = parser.parse_args()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = 0
    for preset in options.preset or PRESETS:
        for name, layer in programs():
            for loop, lines in spills(assembly(layer, preset)).items():
                found += len(lines)
                print(f"{preset:10} {name:28} loop {loop}: {len(lines)} spills, such as {lines[0]}")
    return 1 if found else 0


def programs() -> Iterator[tuple[str, Model]]:
    """Each form of contraction and window that has a schedule of its own, at sizes that tiles divide and do not."""
    for name, small in MODELS.items():
        if name not in ("softmax", "layer_norm", "silu"):
            yield name, small()
    for m in (1, 4, 49, 128):
        yield f"product {m}x768x768", product(m, 768, 768)
    yield "product 37x100x50", product(37, 100, 50)
    for kernel, stride, image, c, f in RESNET:
        yield f"{kernel}x{kernel} {stride} {image} {c}->{f}", convolution(kernel, stride, image, c, f)
    for image, c in ((112, 32), (56, 144), (14, 576), (7, 960), (9, 20)):
        for kernel, stride in ((3, 1), (3, 2), (5, 1), (5, 2)):
            yield f"depthwise {kernel} {stride} {image}x{c}", convolution(kernel, stride, image, c, c, c)
    yield "grouped 3x3", convolution(3, 1, 14, 64, 64, 4)
    yield "grouped 3x3, wide", convolution(3, 1, 14, 256, 256, 8)
    yield "attention 12x128x64", attention(12, 128, 64)
    yield "attention 3x49x32", attention(3, 49, 32)
    yield "lstm", lstm(64, 128)


def lstm(inputs: int, hidden: int) -> Model:
    weights = {"w": random(1, 4 * hidden, inputs), "r": random(1, 4 * hidden, hidden)}
    graph, given = model([node("LSTM", "x w r", hidden_size=hidden)], (9, 3, inputs), **weights)
    return graph, {name: np.asarray(array) for name, array in given.items()}


def assembly(layer: Model, preset: str) -> str:
    """Of the kernel with most work."""
    _, target = find_target(preset)
    facts = target.presets[preset]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx.save(layer[0], path)
        module = read_model(path, None)
    run_passes(module, preset, target, None, None)
    largest = max((f for f in module.functions(KernelFunc) if f.work), key=lambda f: f.work[0].value)
    return _assembly(emit_module([largest], facts), facts)


def _assembly(text: str, facts: TargetFacts) -> str:
    machine = llvm.Target.from_triple(facts.triple).create_target_machine(
        cpu=facts.cpu, features=",".join(facts.features), opt=2, reloc="pic", codemodel="small"
    )
    machine.set_asm_verbosity(True)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = facts.triple, str(machine.target_data)
    return str(machine.emit_assembly(module))


_LABEL = re.compile(r"^\.?L?(BB\d+_\d+):|^(?:#|//) (%bb\.\d+):", re.MULTILINE)


def spills(text: str) -> dict[str, list[str]]:
    """By innermost loop, the instructions that spill or load what was spilled."""
    marks = list(_LABEL.finditer(text))
    ends = [*(m.start() for m in marks[1:]), len(text)]
    blocks = [(m[1] or m[2], text[m.end() : end]) for m, end in zip(marks, ends, strict=True)]
    inner = {name for name, block in blocks if "This Inner Loop Header" in block}
    found: dict[str, list[str]] = {}
    of_functions = set[str]()
    for name, block in blocks:
        said = re.search(r"in Loop: Header=(BB\d+_\d+)", block)
        loop = name if name in inner else said[1] if said is not None and said[1] in inner else None
        lines = [" ".join(line.split()) for line in block.splitlines() if re.search(r"(Spill|Reload)$", line)]
        if loop is not None and lines:
            found.setdefault(loop, []).extend(lines)
        if loop is not None and re.search(r"\t(v?f?div|v?pslld|shl\b)", block):
            of_functions.add(loop)
    return {loop: lines for loop, lines in found.items() if loop not in of_functions}


if __name__ == "__main__":
    sys.exit(main())
