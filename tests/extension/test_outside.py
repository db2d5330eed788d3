"""An operation, a pass and a target come from outside the tree by one new file or folder each, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from model_examples import assert_close, example_named
from onnx import TensorProto, helper

OP = '''
"""graph.softsign: x / (1 + |x|), element by element."""

import numpy as np

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.graph.families import Array, Elementwise, Sampler
from headrace.ir.kernel.build import ScalarBuilder
from headrace.ir.types import F32, TensorType


@op("graph.softsign", onnx="Softsign")
class Softsign(Elementwise):
    """x / (1 + |x|)."""

    x: Value
    dtypes = ("float",)

    def scalar(self, b: ScalarBuilder, *xs: Value) -> Value:
        return b.div(xs[0], b.add(b.abs(xs[0]), b.constant(1, xs[0])))

    def reference(self, *operands: Array) -> Array:
        return operands[0] / (np.abs(operands[0]) + 1)

    @classmethod
    def sample(cls, sampler: Sampler) -> "Softsign":
        return cls(sampler.tensor(TensorType(F32, sampler.dims(2))))
'''

OWN_KERNEL = '''
"""graph.gram: the products of all pairs of columns."""

from headrace.ir.core import Value
from headrace.ir.declare import op
from headrace.ir.dims import Dim, ceildiv
from headrace.ir.graph.families import OwnKernel, tensor
from headrace.ir.kernel.ops.matrix import Mma
from headrace.ir.kernel.writer import at
from headrace.ir.types import F32, TensorType

TERMS = 4  # of a tile


@op("graph.gram")
class Gram(OwnKernel):
    """transpose(x) @ x."""

    x: Value

    def infer(self):
        columns = tensor(self.x).dims[1]
        return [TensorType(F32, (columns, columns))]

    def write(self, w, buffers):
        rows, columns = tensor(self.x).dims
        with w.tasks(one=Dim.constant(1)):
            total = w.scratch(F32, (columns, columns), "total")
            axes = [w.axis("i", columns), w.axis("j", columns)]
            w.map(axes, [], [at(total, *axes)], lambda b: [b.constant(0, F32)])
            with w.loop("t", ceildiv(rows, TERMS)) as t:
                i, j = w.axis("i", columns), w.axis("j", columns)
                k = w.axis("k", Dim.constant(TERMS), "reduction")
                term = t * TERMS + Dim.symbol(k.name)
                x = buffers[self.x]
                w.builder.add(Mma((i, j, k), at(x, term, i), at(x, term, j), at(total, i, j), (rows - 1 - term,)))
            axes = [w.axis("i", columns), w.axis("j", columns)]
            w.map(axes, [at(total, *axes)], [at(buffers[self.result], *axes)], lambda b, sum: [sum])

    def reference(self, x):
        return (x.T @ x,)

    @classmethod
    def sample(cls, sampler):
        return cls(sampler.tensor(TensorType(F32, (3, 8))))
'''

PASS = '''
"""graph.count-softsign: leave a note of how many softsigns there are."""

from dataclasses import dataclass

from headrace.ir.core import walk
from headrace.ir.graph.ops.softsign import Softsign
from headrace.ir.pass_base import Pass


@dataclass(frozen=True)
class CountSoftsign(Pass):
    summary = "count softsigns"

    def run(self, module, rewriter, context):
        context.notes.append(f"{len(list(walk(module, Softsign)))} softsigns")
        print(context.notes[-1])
'''

TARGET = '''
"""A machine whose code comes from the C emitter and gcc; its own facts, pipeline and emitter."""

import subprocess
import tempfile
from pathlib import Path

from headrace.codegen.clike import emit_c, kernel_name
from headrace.codegen.image.elf import read_object
from headrace.codegen.image.flatten import flatten
from headrace.codegen.scratch import scratch_bytes
from headrace.ir.facts import TargetFacts
from headrace.targets.base import Emitted


class Gcc:
    family = "gcc"
    machine = "x86-64"
    driver = "cpu"
    presets = {
        "gcc-x86": TargetFacts(
            preset="gcc-x86", triple="x86_64-unknown-linux-gnu", cpu="x86-64", features=(), vector_bytes=16,
            vector_registers=16, has_fma=False, l1_bytes=32768, l2_bytes=1 << 20,
        )
    }

    def host_preset(self):
        return None

    def required_features(self, preset):
        return ("sse2",)

    def refuses(self, operation, preset):
        return None

    def pipeline(self):
        return Path(__file__).parent / "mine.pipeline"

    def schedule(self, function, facts):
        return []

    def emit(self, functions, facts):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "k.c").write_text(emit_c(functions))
            flags = ["-O1", "-fPIC", "-ffreestanding", "-fno-math-errno", "-fno-tree-loop-distribute-patterns",
                     "-fvisibility=hidden", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"]
            subprocess.run(["gcc", "-std=c11", *flags, "-c", "k.c", "-o", "k.o"], cwd=folder, check=True)
            image = flatten([read_object("k.o", (Path(folder) / "k.o").read_bytes())])
        names = {f.function_name: kernel_name(f.function_name) for f in functions}
        scratch = {f.function_name: scratch_bytes(f) for f in functions}
        return Emitted(image.code, {n: image.entries[c] for n, c in names.items()}, scratch)


TARGET = Gcc()
'''

PIPELINE = """
# the shared passes, then loops as they come: no schedule
graph.decompose, graph.fold-constants, graph.canonicalize, graph.cse, graph.dce, graph.fold-batch-norm
graph.fold-constants, graph.dce
graph.cluster
kernel.lower
program.plan-memory
kernel.realize
kernel.expand-math
"""

SCRIPT = """
import sys
import headrace.ir.graph.ops, headrace.passes.graph, headrace.targets

headrace.ir.graph.ops.__path__.append(sys.argv[1] + "/ops")
headrace.passes.graph.__path__.append(sys.argv[1] + "/passes")
headrace.targets.__path__.append(sys.argv[1] + "/targets")
from headrace.compiler.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for the op, one for the pass, one folder for the target."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in {
        "ops/softsign.py": OP,
        "ops/gram.py": OWN_KERNEL,
        "passes/count_softsign.py": PASS,
        "targets/gcc/__init__.py": TARGET,
        "targets/gcc/mine.pipeline": PIPELINE,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def headrace(outside: Path, *arguments: object) -> str:
    command = [sys.executable, "-c", SCRIPT, str(outside), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_op_and_a_pass(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(
        'graph.func @main(%x: f32[n, 5]) {input_names = ["x"], output_names = ["y"]} {\n'
        "  %y = graph.softsign %x : f32[n, 5]\n  graph.return %y\n}\n"
    )
    pipeline = "graph.count-softsign,graph.cluster,kernel.lower,program.plan-memory,kernel.schedule,kernel.realize"
    said = headrace(outside, "compile", tmp_path / "m.hir", "-o", tmp_path / "m.hrm", "--pipeline", pipeline)
    assert said.startswith("1 softsigns\n")
    x = np.linspace(-3, 3, 35, dtype=np.float32).reshape(7, 5)
    np.save(tmp_path / "x.npy", x)
    headrace(
        outside, "run", tmp_path / "m.hrm", "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy"
    )
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), x / (1 + np.abs(x)), rtol=1e-6)


@pytest.mark.parametrize("target", ["x86-64-v3", "opencl"])
def test_an_op_for_matrix_units(outside: Path, tmp_path: Path, target: str, request: pytest.FixtureRequest) -> None:
    """Its own kernel multiplies tiles; machines without a unit for that write the products out."""
    if target == "opencl":
        request.getfixturevalue("opencl")
    (tmp_path / "m.hir").write_text(
        'graph.func @main(%x: f32[n, 8]) {input_names = ["x"], output_names = ["y"]} {\n'
        "  %y = graph.gram %x : f32[8, 8]\n  graph.return %y\n}\n"
    )
    headrace(
        outside, "compile", tmp_path / "m.hir", "-o", tmp_path / "m.hrm", "--target", target, "--verify-each=semantic"
    )
    for rows in (1, 9):
        x = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        headrace(
            outside, "run", tmp_path / "m.hrm", "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy"
        )
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), x.T @ x, rtol=1e-5, atol=1e-5)


def test_a_target(outside: Path, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """The demo's model through the target's own pipeline and emitter, run by the usual runtime."""
    require_tool("gcc")
    digits = example_named("digits")
    assert "gcc-x86" in headrace(outside, "targets")
    headrace(outside, "compile", digits.path, "-o", tmp_path / "m.hrm", "--target", "gcc-x86")
    inputs = digits.inputs(5)
    np.save(tmp_path / "x.npy", inputs["image"])
    headrace(
        outside, "run", tmp_path / "m.hrm", "--input", f"image={tmp_path}/x.npy", "--output-dir", tmp_path / "out"
    )
    assert_close(np.load(tmp_path / "out/probabilities.npy"), digits.expected(inputs)[0])


def test_a_target_by_entry_point(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """A package that is installed beside Headrace: its entry point is enough."""
    require_tool("gcc")
    package = tmp_path / "site"
    (package / "chip").mkdir(parents=True)
    (package / "chip/__init__.py").write_text(TARGET.replace('family = "gcc"', 'family = "chip"').replace("gcc-x86", "chip-1"))
    info = package / "chip-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chip\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrace.targets]\nchip = chip:TARGET\n")
    (package / "chip/mine.pipeline").write_text(PIPELINE)
    digits = example_named("digits")
    inputs = digits.inputs(3)
    np.save(tmp_path / "x.npy", inputs["image"])
    script = f"import sys; sys.path.insert(0, {str(package)!r})\nfrom headrace.compiler.cli import main\nsys.exit(main(sys.argv[1:]))"
    for arguments in (
        ["compile", digits.path, "-o", tmp_path / "m.hrm", "--target", "chip-1"],
        ["run", tmp_path / "m.hrm", "--input", f"image={tmp_path}/x.npy", "--output-dir", tmp_path / "out"],
    ):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    assert_close(np.load(tmp_path / "out/probabilities.npy"), digits.expected(inputs)[0])


def test_an_op_and_a_pass_by_entry_points(tmp_path: Path) -> None:
    """A model with an operator of a domain of its own, and a pass in the middle of the target's pipeline."""
    package = tmp_path / "site"
    package.mkdir()
    op = OP.replace('onnx="Softsign"', 'onnx=OnnxForm("Sign", domain="my.domain")').replace("graph.softsign", "graph.my_sign")
    op = op.replace("import op\n", "import OnnxForm, op\n")
    (package / "my_sign.py").write_text(op)
    own = PASS.replace("headrace.ir.graph.ops.softsign", "my_sign").replace("graph.count-softsign", "graph.my-count")
    (package / "my_count.py").write_text(own)
    info = package / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[headrace.graph.ops]\nmy_sign = my_sign\n[headrace.passes]\ngraph.my-count = my_count\n"
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Sign", ["x"], ["y"], "a", domain="my.domain")],
        "g",
        [value("x", TensorProto.FLOAT, ["n", 5])],
        [value("y", TensorProto.FLOAT, ["n", 5])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("my.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "m.onnx")
    script = f"import sys; sys.path.insert(0, {str(package)!r})\nfrom headrace.compiler.cli import main\nsys.exit(main(sys.argv[1:]))"
    x = np.linspace(-3, 3, 35, dtype=np.float32).reshape(7, 5)
    np.save(tmp_path / "x.npy", x)
    said = []
    for arguments in (
        ["compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--after", "graph.decompose=graph.my-count"],
        ["run", tmp_path / "m.hrm", "--input", f"x={tmp_path}/x.npy", "--output", f"y={tmp_path}/y.npy"],
        ["opt", "--list-passes"],
        ["compile", tmp_path / "m.onnx", "-o", tmp_path / "m.hrm", "--before", "graph.decompos=graph.my-count"],
    ):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        said.append(done.stdout or done.stderr)
    assert said[0].startswith("1 softsigns\n")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), x / (1 + np.abs(x)), rtol=1e-6)
    assert "graph.my-count" in said[2]
    assert said[3] == "headrace: the pipeline has no pass 'graph.decompos'; did you mean 'graph.decompose'?\n"
