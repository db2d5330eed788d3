"""docs/commands.md and docs/pipelines.md: every command that they show runs, every option is there and documented."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from doc_blocks import commands, indented, page
from onnx import TensorProto, helper

import headrace.compiler.cli
from headrace.ir.pipeline import Pipeline
from headrace.targets import find_target

SHOWN = dict.fromkeys(c for name in ("commands.md", "pipelines.md") for c in commands(page(name)))
NAMES = sorted(m.name for m in pkgutil.iter_modules(headrace.compiler.cli.__path__) if not m.name.startswith("_"))
HIR = "graph.func @main(%x: f32[n]) {\n  %y = graph.relu %x : f32[n]\n  graph.return %y\n}\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of."""
    place = tmp_path_factory.mktemp("commands")
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"], name="mean")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    (place / "m.onnx").write_bytes(model.SerializeToString())
    (place / "m.hir").write_text(HIR)
    (place / "check").write_text("#!/bin/sh\n! grep -q GlobalAveragePool $1\n")
    (place / "check").chmod(0o755)
    np.save(place / "x.npy", np.ones((1, 3, 224, 224), np.float32))
    shutil.copy(find_target("host")[1].pipeline(), place / "mine.pipeline")
    done = run(place, "headrace compile m.onnx -o m.hrm")
    assert done.returncode == 0, done.stderr
    return place


def run(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line)
    assert program == "headrace"
    command = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("line", SHOWN)
def test_commands_run(line: str, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    if line.split()[1] == "bench" and "--rounds" not in line:
        line += " --rounds 2"
    done = run(tmp_path, line)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_options_are_those_of_the_command(name: str) -> None:
    """What a section calls an option is one; what the command has beyond --help stands in its section."""
    command = importlib.import_module(f"headrace.compiler.cli.{name}").command
    assert isinstance(command, click.Command)
    own = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
    (section,) = re.findall(rf"^## headrace {name}\n(.*?)(?=^## |\Z)", page("commands.md"), re.MULTILINE | re.DOTALL)
    shown = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", re.sub(r"`headrace-run`.*?outside\.", "", section, flags=re.S)))
    assert shown <= own, f"{name} has no {', '.join(sorted(shown - own))}"
    spelled = [p.opts for p in command.params if isinstance(p, click.Option)]
    missing = [opts[0] for opts in spelled if not set(opts) & shown]
    assert not missing, f"not in docs/commands.md, headrace {name}: {', '.join(missing)}"


def test_the_pipeline_is_one() -> None:
    text = indented(page("pipelines.md"))[0]
    steps = [str(step) for step in Pipeline.parse(text, "docs/pipelines.md").steps]
    assert steps[-1] == "kernel.tile{func=matmul axis=i by=6}"
    assert steps.count("graph.cse") == 1


def test_options_are_written_as_the_table_says() -> None:
    (table,) = re.findall(r"^\| type of the field.*?\n\n", page("pipelines.md"), re.MULTILINE | re.DOTALL)
    written = re.findall(r"`(\w+=[^`]*)`", table)
    assert len(written) > 5
    for option in written:
        (step,) = Pipeline.parse(f"kernel.tile{{{option}}}").steps
        assert [name for name, _ in step.options] == [option.partition("=")[0]]
