"""The project's promises about itself: README, CI, layers, news fragments, package data, docs."""

import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module, resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a Markdown text that are marked with this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_readme_has_two_commands_and_ci_runs_them() -> None:
    commands = [block.strip() for block in code_blocks((ROOT / "README.md").read_text(), "sh")]
    assert len(commands) == 2
    ci_lines = (ROOT / ".ci" / "run").read_text().splitlines()
    positions = [ci_lines.index(command) for command in commands]
    assert positions == sorted(positions)
    assert "headrace demo" in commands[0]
    assert "pytest" in commands[1]


def test_readme_c_example_fits_the_header(require_tool: Callable[[str], str]) -> None:
    (example,) = code_blocks((ROOT / "README.md").read_text(), "c")
    include = Path(import_module("headrace.runtime").__path__[0]) / "include"
    command = [require_tool("gcc"), "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    result = subprocess.run(
        [*command, "-fsyntax-only", "-I", str(include), "-x", "c", "-"],
        input=example,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_import_contracts_are_kept(tmp_path: Path) -> None:
    # From an empty folder: from the checkout's root `ir` and the others could be imported by their bare names.
    result = subprocess.run(
        [SCRIPTS / "lint-imports", "--no-logo", "--no-cache", ROOT / "pyproject.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize("statement", ["import headrace", "import headrace.errors", "from headrace import load"])
def test_the_running_side_imports_nothing_of_the_compiler(statement: str) -> None:
    script = f"""
import sys
before = set(sys.modules)
{statement}
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(tops & {{"onnx", "llvmlite", "lark", "networkx", "click", "rich"}}))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names_resolve() -> None:
    headrace = import_module("headrace")
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None
        assert name in dir(headrace)
    with pytest.raises(AttributeError, match="module 'headrace' has no attribute 'complie'"):
        _ = headrace.complie


def test_news_fragments_are_well_formed() -> None:
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    for path in fragments:
        assert re.fullmatch(r"\+[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name), path.name
        assert path.read_text().rstrip().endswith("."), f"{path.name} holds no sentence"
    draft = subprocess.run(
        [SCRIPTS / "towncrier", "build", "--draft", "--version", "0", "--dir", ROOT],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = " ".join(draft.split())
    for path in fragments:
        assert " ".join(path.read_text().split()) in words, path.name


def test_package_data_is_installed() -> None:
    assert (resources.files("headrace") / "py.typed").is_file()
    demo_data = resources.files("headrace.compiler.demo_data")
    assert (demo_data / "digits.onnx").is_file()
    assert (demo_data / "held_back.npz").is_file()
    assert "CC BY 4.0" in (demo_data / "LICENSE-DATA").read_text()


def test_every_command_is_documented() -> None:
    cli = import_module("headrace.compiler.cli")
    commands = [module.name for module in pkgutil.iter_modules(cli.__path__) if not module.name.startswith("_")]
    text = (ROOT / "docs" / "commands.md").read_text()
    undocumented = [name for name in commands if f"## headrace {name.replace('_', '-')}\n" not in text]
    assert commands
    assert not undocumented


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target} is not there"
