"""Text tests: `.hir` files that say in their first line how they run, and in FileCheck lines what comes out.

    // RUN: opt --pass-pipeline graph.fold-constants %s
    // CHECK: graph.constant

`--target x86-64-v3` gives the passes that target's facts and schedule, `--strict` asks for strict numerics, and
`not opt` expects an error, whose message is checked then.  Each pass leaves valid IR, and says whether it
changed anything; what comes out must survive printing and parsing.  `conftest.py` collects these files.
"""

import argparse
import contextlib
import io
import shlex
from collections.abc import Iterable
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import Options
from filecheck.parser import Parser

from headrace.compiler.placement import context_of, machines
from headrace.ir.errors import HeadraceError
from headrace.ir.pass_base import PassContext
from headrace.ir.pass_manager import Hooks, PassManager
from headrace.ir.pipeline import Pipeline
from headrace.ir.text import load_hir, parse_module, print_op

RUN = "// RUN: "


class HirFile(pytest.File):
    """One `.hir` file, which is one test."""

    def collect(self) -> Iterable[pytest.Item]:
        yield HirTest.from_parent(self, name=self.path.stem)


class HirTest(pytest.Item):
    """Runs the file and compares what comes out with its FileCheck lines."""

    def runtest(self) -> None:
        mismatch = run_hir_test(self.path)
        if mismatch is not None:
            pytest.fail(mismatch, pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


def run_hir_test(path: Path) -> str | None:
    """None if the test in `path` passes, otherwise what is wrong with it."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith(RUN):
        return f"{path}: first line is {first!r}, expected '{RUN}opt --pass-pipeline NAMES %s'"
    command = shlex.split(first.removeprefix(RUN))
    fails = command[:1] == ["not"]
    arguments = _arguments(command[1:] if fails else command)
    try:
        output = _run(path, arguments)
    except HeadraceError as error:
        if not fails:
            raise
        output = f"{error}\n".replace(str(path), path.name)
    else:
        if fails:
            return f"{path}: expected an error, and there was none; what came out:\n{output}"
    return _mismatch(path, output)


def _arguments(command: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="RUN", exit_on_error=False)
    parser.add_argument("command", choices=["opt"])
    parser.add_argument("--pass-pipeline", default="")
    parser.add_argument("--target")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("file", choices=["%s"])
    return parser.parse_args(command)


def _run(path: Path, arguments: argparse.Namespace) -> str:
    module = load_hir(path)
    context = PassContext(strict=arguments.strict)
    if arguments.target is not None:
        context = context_of(machines(arguments.target)[0])
        context.strict = arguments.strict
    PassManager(Pipeline.parse(arguments.pass_pipeline), context, Hooks(verify_each="structure")).run(module)
    output = print_op(module)
    assert print_op(parse_module(output, constants=module.constants)) == output, "text changes when printed again"
    return output


def _mismatch(path: Path, output: str) -> str | None:
    options = Options(match_filename=str(path))
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
        code = Matcher(options, FInput("output", output), Parser.from_opts(options)).run()
    return None if code == 0 else f"{heard.getvalue()}\nwhat came out:\n{output}"
