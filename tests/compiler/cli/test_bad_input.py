"""Bad input: one line on stderr that names the place, exit code 2, and no file that was not there before."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

Prepare = Callable[[], None]


def save(path: Path, nodes: Sequence[onnx.NodeProto], tensors: Sequence[TensorProto] = ()) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every bad file, and a good model, its artefact and its input."""
    place = tmp_path_factory.mktemp("bad") / "models"
    place.mkdir()
    make = helper.make_node
    save(place / "good.onnx", [make("Relu", ["x"], ["y"], name="relu")])
    (place / "text.onnx").write_bytes(b"\x12hello, this is no protobuf")
    (place / "empty.onnx").write_bytes(b"")
    save(place / "cycle.onnx", [make("Relu", ["b"], ["a"], name="one"), make("Add", ["a", "x"], ["b"], name="two")])
    save(place / "missing.onnx", [make("Add", ["x", "nope"], ["y"], name="add")])
    save(place / "unknown.onnx", [make("Frobnicate", ["x"], ["y"], name="frob"), make("Blah", ["x"], ["z"], name="bl")])
    save(place / "outside.onnx", [make("Add", ["x", "w"], ["y"], name="add")], [external("../secret.bin")])
    (place.parent / "secret.bin").write_bytes(bytes(16))
    (place / "syntax.hir").write_text("graph.func @main(%x: f32[n]) {\n  %y = graph.relu %x %x\n  graph.return %y\n}\n")
    done = headrace(place, "compile", "good.onnx", "-o", "good.hrm")
    assert done.returncode == 0, done.stderr
    whole = (place / "good.hrm").read_bytes()
    (place / "cut.hrm").write_bytes(whole[: len(whole) // 2])
    (place / "version.hrm").write_bytes(whole[:8] + b"\x63" + whole[9:])
    (place / "flipped.hrm").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    np.save(place / "good.npy", np.zeros((2, 4), np.float32))
    (place / "cut.npy").write_bytes((place / "good.npy").read_bytes()[:-3])
    np.savez(place / "archive.npz", x=np.zeros((2, 4), np.float32))
    np.save(place / "objects.npy", np.array([1, "a"], dtype=object))
    np.save(place / "shape.npy", np.zeros((2, 5), np.float32))
    np.save(place / "dtype.npy", np.zeros((2, 4), np.float64))
    return place


def headrace(
    place: Path, *arguments: str, script: str | None = None, prepare: Prepare | None = None
) -> subprocess.CompletedProcess[str]:
    how = ["-m", "headrace"] if script is None else ["-c", script]
    command = [sys.executable, *how, *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, preexec_fn=prepare)


def complains(
    place: Path, message: str, *arguments: str, script: str | None = None, prepare: Prepare | None = None
) -> None:
    """The command says exactly one line that contains `message`, and leaves the folder as it was."""
    before = {p: p.read_bytes() for p in place.iterdir()}
    done = headrace(place, *arguments, script=script, prepare=prepare)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("headrace: ")
    assert message in done.stderr
    assert {p: p.read_bytes() for p in place.iterdir()} == before


COMPILE = {
    "text.onnx": "text.onnx: not an ONNX model",
    "empty.onnx": "empty.onnx: the file is empty",
    "cycle.onnx": "cycle.onnx: node 'one': a cycle: 'one' -> 'two' -> 'one'",
    "missing.onnx": "missing.onnx: node 'add': input 'nope': nothing makes it",
    "unknown.onnx": "node 'frob' (Frobnicate, opset 17",
    "outside.onnx": "outside.onnx: initializer 'w': external data '../secret.bin': expected a path inside",
    "nothing.onnx": "nothing.onnx: cannot be read: no such file or directory",
    "syntax.hir": "syntax.hir:2:22: found '%x', expected",
}


@pytest.mark.parametrize(("model", "message"), COMPILE.items())
def test_models(folder: Path, model: str, message: str) -> None:
    complains(folder, message, "compile", model, "-o", "out.hrm")


def test_all_unknown_operators_are_named_at_once(folder: Path) -> None:
    complains(folder, "node 'bl' (Blah", "compile", "unknown.onnx", "-o", "out.hrm")


OPTIONS = {
    "--pipeline=graph.fold-constant": "unknown pass 'graph.fold-constant'; did you mean 'graph.fold-constants'?",
    "--pipeline=kernel.tile{fun=f}": "kernel.tile: no option 'fun'; did you mean 'func'?",
    "--target=x86-64-v5": "unknown target 'x86-64-v5'; did you mean",
    "--shape=x": "--shape 'x': expected INPUT=DIM,DIM",
    "--shape=x=2,5,": "--shape 'x=2,5,': an empty dim",
    "--shape=x=2,3.5": "--shape 'x=2,3.5': a dim of '3.5', expected a whole number or a name",
    "--shape=x=2*n,4": "a dim of '2*n', expected",
    "--shape=x=-1,4": "a dim of '-1', expected",
    "--shape=x=0,4": "good.onnx: input 'x': a dim of 0, expected a name or a whole number from 1 on",
    "--shape=w=2,5": "good.onnx: shape for 'w', which is no input; expected one of x",
    "--shape=x=9223372036854775807,4": "good.onnx: node 'relu': its result would be f32[9223372036854775807, 4], whose bytes do not fit 64 bits",
    "--shape=x=n,4 --shape=x=m,4": "--shape 'x=m,4': a second shape for 'x'",
    "--verify-each=hard": "hard",
    "--print-ir-after=graph.cs": "unknown pass 'graph.cs' to print after; did you mean 'graph.cse'?",
    "--frobnicate": "no such option '--frobnicate'",
}


@pytest.mark.parametrize(("option", "message"), OPTIONS.items())
def test_options(folder: Path, option: str, message: str) -> None:
    complains(folder, message, "compile", "good.onnx", "-o", "out.hrm", *option.split())


def test_a_compiled_model_is_not_compiled(folder: Path) -> None:
    message = "good.hrm: is compiled already; `headrace run` runs it"
    complains(folder, message, "compile", "good.hrm", "-o", "out.hrm")


def test_a_text_without_a_function(folder: Path) -> None:
    (folder / "empty.hir").write_text("")
    complains(folder, "empty.hir: holds no function", "compile", "empty.hir", "-o", "out.hrm")


def test_where_nothing_can_be_written_nothing_is_compiled(folder: Path) -> None:
    complains(
        folder,
        "none/out.hrm: cannot be written: no such file or directory",
        "compile",
        "text.onnx",
        "-o",
        "none/out.hrm",
    )
    arguments = ("reduce", "unknown.onnx", "-o", "none/r.onnx")
    complains(folder, "none/r.onnx: cannot be written: no such file or directory", *arguments)


REDUCE = {
    "--command=false": "--command 'false': no {model} in it, which stands for the file to try",
    "--seconds=0": "invalid value for '--seconds': 0.0 is not in the range x>0",
    "--memory=0": "invalid value for '--memory': 0 is not in the range x>=1",
}


@pytest.mark.parametrize(("option", "message"), REDUCE.items())
def test_reducing(folder: Path, option: str, message: str) -> None:
    complains(folder, message, "reduce", "unknown.onnx", "-o", "out.onnx", option)


def test_no_command_at_all_shows_the_commands(folder: Path) -> None:
    done = headrace(folder)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: headrace [OPTIONS] COMMAND [ARGS]...\n\n")


def test_unknown_command(folder: Path) -> None:
    complains(folder, "unknown command 'comple'; did you mean 'compile'?", "comple")


RUN = {
    ("good.hrm", "--input=x=shape.npy"): "input 'x': dim 1 is 5, expected 4",
    ("good.hrm", "--input=x=dtype.npy"): "input 'x': is float64, expected float32",
    ("good.hrm", "--input=z=good.npy"): "input 'x' is missing",
    ("good.hrm", "--input=x=none.npy"): "none.npy: no such file",
    ("good.hrm", "--input=x=good.onnx"): "good.onnx: not a .npy file: it does not start like one",
    ("good.hrm", "--input=x=."): ".: cannot be read: is a directory",
    ("good.hrm", "--input=x=archive.npz"): "archive.npz: an archive of arrays; expected one array in a .npy file",
    ("good.hrm", "--input=x=objects.npy"): "objects.npy: a .npy file that is cut off or not of numbers: Object arrays",
    ("good.hrm", "--input=x=cut.npy"): "cut.npy: a .npy file that is cut off or not of numbers: ",
    ("good.hrm", "--input=x=good.npy", "--output-dir=good.onnx"): "good.onnx: is no folder",
    ("good.hrm", "--input=x"): "'x': expected NAME=FILE.npy",
    ("cut.hrm", "--input=x=good.npy"): "cut.hrm: has ",
    ("version.hrm", "--input=x=good.npy"): "version.hrm: is of format 99",
    ("good.onnx", "--input=x=good.npy"): "good.onnx: ",
    ("none.hrm", "--input=x=good.npy"): "none.hrm: ",
    ("good.hrm", "--input=x=good.npy", "--input=x=good.npy"): "'x=good.npy': a second file for 'x'",
}


@pytest.mark.parametrize(("arguments", "message"), RUN.items())
def test_running(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    complains(folder, message, "run", *arguments, "--output=y=y.npy")


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize(("artefact", "message"), [("cut.hrm", "cut off or damaged"), ("version.hrm", "format 99")])
def test_damaged_artefacts(folder: Path, command: str, artefact: str, message: str) -> None:
    complains(folder, message, command, artefact)


def test_verify_sees_a_flipped_bit(folder: Path) -> None:
    complains(folder, "flipped.hrm: ", "verify", "flipped.hrm")


@pytest.mark.parametrize("output", ["none/out.hrm", ".", "good.onnx/out.hrm"])
@pytest.mark.parametrize("emit", ["hrm", "c"])
def test_output_that_cannot_be_written(folder: Path, output: str, emit: str) -> None:
    complains(folder, ": cannot be written: ", "compile", "good.onnx", "-o", output, "--emit", emit)


@pytest.mark.parametrize("emit", ["hrm", "c"])
def test_the_model_itself_is_not_overwritten(folder: Path, emit: str) -> None:
    message = "good.onnx: cannot be written: it is the model that is compiled"
    complains(folder, message, "compile", "good.onnx", "-o", "../models/good.onnx", "--emit", emit)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "good.hrm", "--input=x=good.npy", "--output=y="),
        ("compile", "good.onnx", "-o"),
        ("opt", "good.onnx", "-o"),
    ],
    ids=["run", "compile", "opt"],
)
def test_devices_stay_what_they_are(folder: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = [*command[:-1], f"{command[-1]}{pipe}"] if command[-1].endswith("=") else [*command, str(pipe)]
    complains(folder, f"{pipe}: cannot be written: it is there and is no file", *words)
    assert pipe.is_fifo()


def test_opt_into_a_folder_that_is_not_there(folder: Path) -> None:
    complains(
        folder, "none/x.hir: cannot be written: no such file or directory", "opt", "good.onnx", "-o", "none/x.hir"
    )


def small_disk() -> None:
    """No file may grow beyond 1,000 bytes: writing more fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_full_disk_leaves_the_old_file(folder: Path) -> None:
    complains(folder, "good.hrm: cannot be written: ", "compile", "good.onnx", "-o", "good.hrm", prepare=small_disk)


DYING_WORKER = """
import os, sys
from headrace.codegen.workers.pool import Worker
from headrace.compiler.cli import main

ask = Worker.ask

def killed(self, header, payload, timeout):
    if payload:  # a job, not the question for the host
        os.kill(self.pid, 9)
    return ask(self, header, payload, timeout)

Worker.ask = killed
sys.exit(main(sys.argv[1:]))
"""


def test_worker_killed_midway(folder: Path) -> None:
    arguments = ("compile", "good.onnx", "-o", "out.hrm", "--target=x86-64-v2")
    complains(folder, "the code generator died: killed by SIGKILL", *arguments, script=DYING_WORKER)


def test_passes_are_for_one_target(folder: Path) -> None:
    said = "passes run for one target; found x86-64-v2, x86-64-v3"
    complains(folder, said, "opt", "good.onnx", "--target=x86-64-v2,x86-64-v3", "--pass-pipeline=graph.dce")


INTERRUPTED = """
import sys
from headrace.compiler import driver
from headrace.compiler.cli import main

def interrupted(*arguments):
    raise KeyboardInterrupt

driver.write = interrupted
sys.exit(main(sys.argv[1:]))
"""


def test_interrupt(folder: Path) -> None:
    done = headrace(folder, "compile", "good.onnx", "-o", "out.hrm", script=INTERRUPTED)
    assert done.returncode == 130
    assert done.stderr == "\nheadrace: interrupted\n"  # the first line end closes the terminal's ^C
    assert not (folder / "out.hrm").exists()


IMPORTING = """
import builtins, sys

plain = builtins.__import__

def interrupted(name, *arguments, **named):
    if name == "headrace.compiler.cli":
        raise KeyboardInterrupt
    return plain(name, *arguments, **named)

builtins.__import__ = interrupted
from headrace.__main__ import main
sys.exit(main())
"""


def test_interrupt_while_importing(folder: Path) -> None:
    done = headrace(folder, "compile", "good.onnx", "-o", "out.hrm", script=IMPORTING)
    assert done.returncode == 130
    assert done.stderr == "\nheadrace: interrupted\n"


def test_arrays_of_another_byte_order_and_layout(folder: Path) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4) - 3
    np.save(folder / "big=endian.npy", x.astype(">f4"))
    np.save(folder / "columns.npy", np.asfortranarray(x))
    for name in ("big=endian", "columns"):
        done = headrace(folder, "run", "good.hrm", f"--input=x={name}.npy", f"--output=y=./{name}.y.npy")
        assert done.returncode == 0, done.stderr
        assert np.array_equal(np.load(folder / f"{name}.y.npy"), np.maximum(x, 0))
