"""Code generation knows no operation of the graph dialect, and takes loops only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.codegen.clike import emit_c
from headrace.codegen.llvm import emit_module
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.text import parse_module
from headrace.targets import find_target

CODEGEN = Path(__file__).parents[2] / "codegen"
STRUCTURED = """
kernel.func @f(%x: buffer<f32[8]>, %y: buffer<f32[8]>) {outputs = 1} {
  kernel.map (i: parallel 8) reads(%x[i]) writes(%y[i]) {
  ^(%a: f32):
    kernel.yield %a
  }
}
"""


@pytest.mark.parametrize("path", sorted(CODEGEN.rglob("*.py")), ids=lambda p: str(p.relative_to(CODEGEN)))
def test_no_graph_op_is_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("headrace.ir.graph"), f"line {node.lineno}"
        if isinstance(node, ast.Import):
            assert not any(a.name.startswith("headrace.ir.graph") for a in node.names), f"line {node.lineno}"


def test_no_graph_op_is_loaded_with_it() -> None:
    modules = sorted(".".join(p.relative_to(CODEGEN).with_suffix("").parts) for p in CODEGEN.rglob("*.py"))
    names = [f"headrace.codegen.{m}".removesuffix(".__init__") for m in modules if not m.endswith("child")]
    script = f"import sys\nfor name in {names!r}: __import__(name)\n"
    script += "print([m for m in sys.modules if m.startswith('headrace.ir.graph.ops')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_structured_operations_are_refused() -> None:
    kernels = list(parse_module(STRUCTURED).functions(KernelFunc))
    _, target = find_target("x86-64-v3")
    with pytest.raises(CodegenError, match=r"@f.*kernel\.map"):
        emit_module(kernels, target.presets["x86-64-v3"])
    with pytest.raises(CodegenError, match=r"@f.*kernel\.map"):
        emit_c(kernels)
