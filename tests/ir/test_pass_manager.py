"""The pass manager: order, printing, verification, what a failure leaves behind, bisection."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.ir.core import walk
from headrace.ir.errors import PassError, SemanticError
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.pass_manager import Hooks, PassManager, bisect
from headrace.ir.pipeline import Pipeline, Step
from headrace.ir.text import load_hir, parse_module, print_op

TEXT = "graph.func @main(%x: f32[n]) { %a = graph.relu %x %b = graph.relu %a graph.return %b }"

# A folder of passes outside of the tree.
PASSES = {
    "add_relu": """
class AddRelu(Pass):
    summary = "one more relu at the start"

    def run(self, module, rewriter, context):
        function = module.function("main")
        relu = rewriter.before(function.block.operations[0]).add(Relu(function.parameters[0]))
        rewriter.set_operand(function.block.operations[1], 0, relu.result)
""",
    "expand_twice": """
class ExpandTwice(Expanding):
    summary = "add-relu, twice"

    def expand(self, module, context):
        return ["graph.add-relu", "graph.add-relu"]
""",
    "expand_wrongly": """
class ExpandWrongly(Expanding):
    summary = "names a pass that does not exist"

    def expand(self, module, context):
        return ["graph.add-rely"]
""",
    "crash": """
class Crash(Pass):
    summary = "fails halfway"

    def run(self, module, rewriter, context):
        AddRelu.run(self, module, rewriter, context)
        raise ZeroDivisionError("by zero")
""",
    "lie": """
class Lie(Pass):
    summary = "changes something behind the rewriter's back"

    def run(self, module, rewriter, context):
        AddRelu.run(self, module, rewriter, context)
        rewriter.changed = False
""",
    "spoil": """
class Spoil(Pass):
    summary = "leaves what does not verify"

    def run(self, module, rewriter, context):
        rewriter.changed = True
        module.function("main").block.operations[0].result.type = module.function("main").parameters[0].type.of(F32)
""",
    "two_passes": """
class One(Pass): ...
class Two(Pass): ...
""",
}
HEAD = """
from dataclasses import dataclass
from headrace.ir.graph.ops.relu import Relu
from headrace.ir.pass_base import Expanding, Pass
from headrace.ir.types import F32
"""


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The passes above, found through the package's path as those of another package would be."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name, text in PASSES.items():
        above = "from headrace.passes.graph.add_relu import AddRelu\n" if name in ("crash", "lie") else ""
        (folder / f"{name}.py").write_text(HEAD + above + text.replace("class ", "@dataclass(frozen=True)\nclass "))
    package = importlib.import_module("headrace.passes.graph")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    importlib.invalidate_caches()
    yield
    for name in PASSES:
        importlib.sys.modules.pop(f"headrace.passes.graph.{name}", None)


def relus(module: Module) -> int:
    return sum(1 for _ in walk(module, Relu))


def run(pipeline: str, module: Module, hooks: Hooks | None = None) -> list[str]:
    timings = PassManager(Pipeline.parse(pipeline), PassContext(), hooks).run(module)
    return [f"{t.step} {t.changed}" for t in timings]


def test_order_and_changes() -> None:
    module = parse_module(TEXT)
    assert run("graph.add-relu,graph.dce,graph.expand-twice", module, Hooks(verify_each="structure")) == [
        "graph.add-relu True",
        "graph.dce False",
        "graph.add-relu True",
        "graph.add-relu True",
    ]
    assert relus(module) == 5


def test_nothing_runs_before_all_passes_are_known() -> None:
    module = parse_module(TEXT)
    with pytest.raises(PassError, match=r"^unknown pass 'graph\.add-rely'; did you mean 'graph\.add-relu'\?$"):
        run("graph.add-relu,graph.add-rely", module)
    assert relus(module) == 2
    with pytest.raises(PassError, match=r"unknown pass 'graph\.dc' to print after; did you mean 'graph\.dce'"):
        PassManager(Pipeline(), PassContext(), Hooks(print_ir_after=("graph.dc",)))


def test_print_after() -> None:
    shown: list[tuple[str, str]] = []
    hooks = Hooks(print_ir_after=("graph.add-relu",), show=lambda head, text: shown.append((head, text)))
    module = parse_module(TEXT)
    run("graph.add-relu,graph.dce", module, hooks)
    assert shown == [("// after graph.add-relu", print_op(module))]
    shown.clear()
    run("graph.expand-twice,graph.dce", module, Hooks(print_ir_after=("all",), show=hooks.show))
    assert [head.split()[-1] for head, _ in shown] == [
        "graph.add-relu",
        "graph.add-relu",
        "graph.expand-twice",
        "graph.dce",
    ]


def test_a_crash_leaves_a_reproducer(tmp_path: Path) -> None:
    path = tmp_path / "crash.hir"
    module = parse_module(TEXT)
    message = f"graph.crash: ZeroDivisionError: by zero; to repeat it: {path}"
    with pytest.raises(PassError) as caught:
        run("graph.add-relu,graph.crash,graph.dce", module, Hooks(reproducer=path))
    assert str(caught.value) == message
    first, _, _ = path.read_text().partition("\n")
    assert first == "// RUN: opt --pass-pipeline graph.crash,graph.dce %s"
    again = load_hir(path)
    assert relus(again) == 3
    with pytest.raises(PassError, match=r"graph\.crash: ZeroDivisionError"):
        run("graph.crash,graph.dce", again)


def test_a_crash_inside_an_expansion_keeps_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "crash.hir"
    with pytest.raises(PassError, match=r"graph\.expand-wrongly: unknown pass 'graph\.add-rely'"):
        run("graph.expand-wrongly,graph.dce", parse_module(TEXT), Hooks(reproducer=path))
    assert path.read_text().startswith("// RUN: opt --pass-pipeline graph.expand-wrongly,graph.dce %s\n")


def test_a_pass_that_lies() -> None:
    run("graph.lie", parse_module(TEXT))
    with pytest.raises(PassError, match=r"^graph\.lie: changed the module, but not by its rewriter"):
        run("graph.lie", parse_module(TEXT), Hooks(verify_each="structure"))


def test_a_pass_that_leaves_what_does_not_verify() -> None:
    with pytest.raises(PassError) as caught:
        run("graph.spoil", parse_module(TEXT), Hooks(verify_each="structure"))
    expected = "graph.spoil: left what does not verify: @main: graph.relu: gives f32[], expected f32[n]"
    assert str(caught.value) == expected


def test_a_file_with_two_passes() -> None:
    with pytest.raises(PassError, match=r"headrace\.passes\.graph\.two_passes has 2 public passes, expected one"):
        run("graph.two-passes", parse_module(TEXT))


class Check:
    """Counts relus; three are too many."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before(self, module: Module, pass_: Pass) -> None:
        self.seen.append(f"before {pass_.name}")

    def after(self, module: Module, pass_: Pass) -> None:
        self.seen.append(f"after {pass_.name}")
        if relus(module) > 3:
            raise SemanticError(f"{pass_.name}: @main gives other numbers")


def test_semantic_check(tmp_path: Path) -> None:
    check = Check()
    hooks = Hooks(verify_each="semantic", semantic=check, reproducer=tmp_path / "r.hir")
    with pytest.raises(SemanticError, match=r"^graph\.add-relu: @main gives other numbers; to repeat it: .*r\.hir$"):
        run("graph.expand-twice,graph.dce", parse_module(TEXT), hooks)
    assert check.seen == ["before graph.add-relu", "after graph.add-relu"] * 2
    check.seen.clear()
    run("graph.add-relu", parse_module(TEXT), Hooks(verify_each="structure", semantic=check))
    assert check.seen == []


def test_bisect() -> None:
    module = parse_module(TEXT)
    pipeline = Pipeline.parse("graph.dce,graph.add-relu,graph.cse,graph.expand-twice,graph.dce")
    asked: list[int] = []

    def few(after: Module) -> bool:
        asked.append(relus(after))
        return relus(after) < 4

    assert bisect(module, pipeline, few, PassContext()) == Step("graph.add-relu")
    assert len(asked) <= 5
    assert relus(module) == 2
    assert bisect(module, pipeline, lambda m: relus(m) < 9, PassContext()) is None
    with pytest.raises(PassError, match="does not hold before the first pass"):
        bisect(module, pipeline, lambda m: False, PassContext())
