"""Every pass is found by its file's name, says what it does, and has a text test of the same name."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.ir.errors import PassError
from headrace.ir.pass_registry import find_pass, pass_names

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("name", pass_names())
def test_pass(name: str) -> None:
    found = find_pass(name)
    assert found.name == name
    assert dataclasses.is_dataclass(found)
    assert cast(Any, found).__dataclass_params__.frozen
    assert found.summary
    assert found.summary[0].islower()
    assert not found.summary.endswith(".")
    heading = (inspect.getmodule(found).__doc__ or "").partition("\n")[0]
    assert heading.startswith(f"{name}: ")


@pytest.mark.parametrize("name", pass_names())
def test_pass_has_a_text_test(name: str) -> None:
    partner = TESTS / "passes" / f"{name.replace('.', '/').replace('-', '_')}.hir"
    assert partner.is_file(), f"{name} has no {partner.relative_to(TESTS)}"
    assert name in partner.read_text().partition("\n")[0]


@pytest.mark.parametrize("name", ["graph.fold-constant", "graph.fold_constants", "fold-constants", "graph.", ""])
def test_unknown(name: str) -> None:
    with pytest.raises(PassError, match=f"^unknown pass '{name}'"):
        find_pass(name)


def test_listing_imports_no_pass() -> None:
    code = (
        "import sys; from headrace.ir.pass_registry import pass_names; pass_names();"
        "print([m for m in sys.modules if m.startswith('headrace.passes.') and m.count('.') > 2])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
