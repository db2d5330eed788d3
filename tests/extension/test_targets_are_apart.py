"""No code outside targets/ asks for a target by its name, or for more of it than the interface has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_examples import assert_close, example_named

from headrace import targets
from headrace.compiler.driver import compile
from headrace.runtime.python import load
from headrace.targets import Target, list_targets

ROOT = Path(__file__).parents[2]
FOLDERS = ("ir", "passes", "codegen", "compiler", "src", "runtime/python")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NAMES = {
    *list_targets(),
    *(name for target in list_targets().values() for name in (target.family, target.driver)),
}
INTERFACE = {name for name in (*Target.__annotations__, *vars(Target)) if not name.startswith("_")}


def test_no_name_of_a_target_is_compared_with() -> None:
    found = {str(path.relative_to(ROOT)): list(_comparisons(ast.parse(path.read_text()))) for path in FILES}
    assert len(found) > 300
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        'target == "opencl"',
        '"x86-64-v4" != preset',
        'driver in ("cpu", "opencl")',
        'preset.startswith("x86-64-v")',
        "facts.preset == wanted",
        'match preset:\n case "aarch64": pass',
        '{"opencl": 1}[preset]',
    ],
)
def test_such_comparisons_are_found(code: str) -> None:
    assert list(_comparisons(ast.parse(code))) == [1 if "match" not in code else 2]


def test_nothing_is_imported_from_a_targets_own_module() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("headrace.targets."), f"{path.relative_to(ROOT)}: {name}"


class _Narrow:
    """A target of which only the interface is there."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        assert name in INTERFACE, f"Target has no {name}"
        return getattr(self._target, name)


def test_targets_in_the_tree_need_no_more_than_the_interface(tmp_path: Path, monkeypatch: Any) -> None:
    whole = targets._families()
    presets = ["host", "aarch64", "opencl", "opencl-cpu", "opencl+host"]
    example = example_named("digits")
    compile(example.path, output=tmp_path / "whole.hrm", target=presets)
    monkeypatch.setattr(targets, "_families", lambda: {name: _Narrow(target) for name, target in whole.items()})
    compile(example.path, output=tmp_path / "narrow.hrm", target=presets)
    assert (tmp_path / "narrow.hrm").read_bytes() == (tmp_path / "whole.hrm").read_bytes()
    inputs = example.inputs(3)
    (found,) = load(tmp_path / "narrow.hrm").run(inputs).values()
    assert_close(found, example.expected(inputs)[0])


# ---- what a comparison with a name looks like ------------------------------------------------------------------------


def _comparisons(tree: ast.AST) -> Iterator[int]:
    """The lines of those."""
    for node in ast.walk(tree):
        if any(_is_name(each) for each in _compared(node)):
            yield getattr(node, "lineno", 0)


def _compared(node: ast.AST) -> list[ast.expr]:
    """What is compared here: operands, patterns, beginnings, keys of a table."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.MatchValue):
        return [node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.args if node.func.attr in ("startswith", "endswith") else []
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        return [key for key in node.value.keys if key is not None]
    return []


def _is_name(node: ast.expr) -> bool:
    """A target's preset or family, one by name, the beginning of one, or a list with one."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(_is_name(each) for each in node.elts)
    if isinstance(node, ast.Attribute):
        return node.attr in ("preset", "family")
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return len(node.value) >= 3 and any(name.startswith(node.value) for name in NAMES)
