"""headrace-run: .hrm and .npy in, .npy out; one line and status 2 when something is wrong."""

import os
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.codegen.artefact.model import Base, Buffer, Copy, Port, Segment, Signature
from headrace.ir.dims import as_dim
from headrace.ir.types import BF16, DTYPES, F32, I64


@pytest.fixture
def call(headrace_run: Any) -> Any:
    def run(*arguments: Any, prefix: Any = (), cwd: Any = None) -> Any:
        command = [*prefix, str(headrace_run), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    return run


@pytest.fixture
def model(maker: Any) -> Any:
    return maker.write(maker.scale_squares())


@pytest.fixture
def x(tmp_path: Path) -> Any:
    array = np.linspace(-1, 1, 5 * 32, dtype=np.float32).reshape(5, 32)
    np.save(tmp_path / "x.npy", array)
    return array


def _y(x: Any) -> Any:
    return ((x * np.arange(32, dtype=np.float32)) ** 2).sum(1)


def test_a_model_runs(call: Any, model: Any, x: Any, tmp_path: Path) -> None:
    options = ("--threads", 2, "--runs", 3)
    done = call(model, "--input", "x=x.npy", "--output", "y=y.npy", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran on cpu, by the code for x86-64\n", "")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), _y(x), rtol=1e-5)


def test_outputs_into_a_folder(call: Any, model: Any, x: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert call(model, "--input", "x=x.npy", "--output-dir", "out", cwd=tmp_path).returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out" / "y.npy"), _y(x), rtol=1e-5)
    assert os.listdir(tmp_path / "out") == ["y.npy"]


def test_version_2_headers_and_odd_shapes_are_read(call: Any, maker: Any, tmp_path: Path) -> None:
    """Copies from inputs to outputs: no dims, one dim, bf16, an empty array, narrow types, a long header."""
    ports = (
        Port("scalar", F32, ()),
        Port("row", I64, (as_dim("n"),)),
        Port("half", BF16, (as_dim(2), as_dim("m"))),
        Port("a/b", F32, (as_dim("n"), as_dim(0))),
        Port("nibbles", DTYPES["u4"], (as_dim("m"),)),
        Port("small", DTYPES["f8e5m2"], (as_dim("m"),)),
    )
    sizes = [4, as_dim("n") * 8, as_dim("m") * 4, 0, as_dim("m"), as_dim("m")]
    buffers = tuple(
        Buffer(Base(kind, i), as_dim(0), as_dim(size)) for kind in ("input", "output") for i, size in enumerate(sizes)
    )
    steps = tuple(Copy(i, i + 6) for i in range(6))
    path = maker.write(maker.artefact(Signature(ports, ports), (Segment(buffers=buffers, steps=steps),), ()))
    arrays = {
        "scalar": np.float32(7),
        "row": np.arange(3),
        "half": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
        "a/b": np.zeros((3, 0), np.float32),
        "nibbles": np.arange(3).astype(ml_dtypes.uint4),
        "small": np.arange(3).astype(ml_dtypes.float8_e5m2),
    }
    arguments = []
    for number, (name, array) in enumerate(arrays.items()):
        with (tmp_path / f"{number}.npy").open("wb") as file:
            np.lib.format.write_array(file, np.asarray(array), version=(2, 0) if number % 2 else (1, 0))
        arguments += ["--input", f"{name}={number}.npy"]
    done = call(path, *arguments, "--output-dir", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name, array in arrays.items():
        found = np.load(tmp_path / f"{name.replace('/', '_')}.npy")
        assert found.shape == array.shape
        np.testing.assert_array_equal(found.view(array.dtype), array)


def _arrays(folder: Path) -> None:
    x = np.zeros((5, 32), np.float32)
    np.save(folder / "f64.npy", x.astype(np.float64))
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.save(folder / "complex.npy", x.astype(np.complex64))
    np.save(folder / "wide.npy", np.zeros((5, 33), np.float32))
    data = (folder / "x.npy").read_bytes()
    (folder / "short.npy").write_bytes(data[:-1])
    (folder / "long.npy").write_bytes(data + b"\0")
    (folder / "text.npy").write_text("not an array")
    (folder / "shape.npy").write_bytes(data.replace(b"(5, 32)", b"(5, -2)"))
    (folder / "huge.npy").write_bytes(data.replace(b"(5, 32), }", b"(9999999999, 9999999999), }")[: len(data)])


WRONG = {
    "expected a compiled model, M.hrm": [],
    "unknown argument '--inputs'; expected --input, --output, --output-dir, --threads, --runs, --device or --driver": [
        "m.hrm",
        "--inputs",
        "x",
    ],
    "--runs 0: expected a number from 1 to 1000000": ["m.hrm", "--runs", "0"],
    "--threads two: expected a number from 1 to 1024": ["m.hrm", "--threads", "two"],
    "--output: expected a value behind it": ["m.hrm", "--output"],
    "--input x: expected NAME=FILE.npy": ["m.hrm", "--input", "x"],
    "none.hrm: cannot be opened: No such file or directory": ["none.hrm"],
    "x.npy: is no compiled model: it does not start like one": ["x.npy", "--input", "x=x.npy"],
    "m.hrm: input 'x' is missing; give it by --input x=FILE.npy": ["m.hrm", "--output", "y=y.npy"],
    "m.hrm: has no input 'z'; it has 'x'": ["m.hrm", "--input", "z=x.npy", "--output", "y=y.npy"],
    "m.hrm: has no output 'z'; it has 'y'": ["m.hrm", "--input", "x=x.npy", "--output", "z=y.npy"],
    "input 'x': is given twice": ["m.hrm", "--input", "x=x.npy", "--input", "x=x.npy", "--output", "y=y.npy"],
    "no output is asked for; expected --output NAME=FILE.npy or --output-dir DIR": ["m.hrm", "--input", "x=x.npy"],
    "none.npy: cannot be opened: No such file or directory": ["m.hrm", "--input", "x=none.npy", "--output", "y=y.npy"],
    "input 'x': is f64, expected f32": ["m.hrm", "--input", "x=f64.npy", "--output", "y=y.npy"],
    "input 'x': dim 1 is 33, expected 32": ["m.hrm", "--input", "x=wide.npy", "--output", "y=y.npy"],
    "fortran.npy: is not in row-major order": ["m.hrm", "--input", "x=fortran.npy", "--output", "y=y.npy"],
    "complex.npy: its dtype '<c8' is none that models take": ["m.hrm", "--input", "x=complex.npy", "--output", "y=y.npy"],
    "short.npy: does not hold the 640 bytes that its shape says": [
        "m.hrm",
        "--input",
        "x=short.npy",
        "--output",
        "y=y.npy",
    ],
    "long.npy: does not hold the 640 bytes that its shape says": [
        "m.hrm",
        "--input",
        "x=long.npy",
        "--output",
        "y=y.npy",
    ],
    "text.npy: is no .npy file of version 1 or 2": ["m.hrm", "--input", "x=text.npy", "--output", "y=y.npy"],
    "shape.npy: its shape is damaged": ["m.hrm", "--input", "x=shape.npy", "--output", "y=y.npy"],
    "huge.npy: its shape is damaged": ["m.hrm", "--input", "x=huge.npy", "--output", "y=y.npy"],
}


@pytest.mark.parametrize("message", WRONG)
def test_one_line_and_no_output(message: Any, call: Any, model: Any, x: Any, tmp_path: Path) -> None:
    _arrays(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = call(*WRONG[message], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"headrace-run: {message}\n")
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_cannot_be_written(call: Any, model: Any, x: Any, tmp_path: Path) -> None:
    done = call(model, "--input", "x=x.npy", "--output", "y=none/y.npy", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "headrace-run: none/y.npy: cannot be written: No such file or directory\n"


def test_a_full_disk_leaves_nothing(call: Any, model: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5000, 32), np.float32))
    before = sorted(tmp_path.iterdir())
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$0" "$@"']
    done = call(model, "--input", "x=x.npy", "--output", "y=y.npy", prefix=limited, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("cannot be written: File too large\n")
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_help_and_version(call: Any) -> None:
    assert call("--help").stdout.startswith("usage: headrace-run M.hrm")
    assert call("--version").stdout.startswith("headrace-run 0.")
