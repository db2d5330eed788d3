"""headrace bench, as users call it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from headrace.compiler.cli import main
from headrace.compiler.driver import compile


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"], name="Exp_0")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    compile(folder / "m.onnx", output=folder / "m.hrm")
    return folder / "m.hrm"


def _call(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


@pytest.mark.slow
def test_everything_at_once(artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    trace = tmp_path / "t.json"
    options = ("--rounds", 2, "--shape", "x=8,64", "--threads", 2, "--kernels", "--trace", trace, "--json")
    assert _call(artefact, "--against", "onnxruntime", artefact.with_suffix(".onnx"), *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert [e["engine"] for e in found["engines"]] == ["headrace", "onnxruntime"]
    assert found["error"] < 1e-5
    assert found["memory"]["planned"] == found["memory"]["measured"]
    assert found["second_run_allocations"] == 0
    (launch,) = found["profile"]["launches"]
    assert (launch["nodes"], launch["flops"], launch["bytes"]) == ("Exp_0", 512, 4096)
    assert {e["name"] for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"} == {launch["kernel"]}


def test_an_input_file_decides_the_shape(artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 64), np.float32))
    assert _call(artefact, "--rounds", 2, "--input", f"x={tmp_path / 'x.npy'}") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].endswith("1 thread: x [3, 64]")
    assert "second run: 0 allocations" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "input 'x' is of shape n,64; give it as --shape x=NUMBER,..."),
        (
            ["--against", "onnxruntim", "m.onnx"],
            "--against 'onnxruntim'; did you mean 'onnxruntime'?; expected onnxruntime",
        ),
        (["--shape", "x=1,64", "--against", "onnxruntime", "none.onnx"], "--against onnxruntime: none.onnx: "),
    ],
)
def test_one_line_on_what_is_wrong(
    options: list[str], message: str, artefact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call(artefact, *options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"headrace: {message}")
    assert said.err.count("\n") == 1
