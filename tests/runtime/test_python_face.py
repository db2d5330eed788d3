"""headrace.runtime.python: load, run, and what it says when something is wrong."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from headrace.codegen.artefact.model import Base, Buffer, Launch, Port, Segment, Signature
from headrace.ir.dims import as_dim
from headrace.ir.types import DTYPES, I32
from headrace.runtime import python as hr


@pytest.fixture
def session(maker: Any) -> Any:
    return hr.load(maker.write(maker.scale_squares()), threads=2)


def _x(batch: Any) -> Any:
    return np.linspace(-1, 1, batch * 32, dtype=np.float32).reshape(batch, 32)


def _y(x: Any) -> Any:
    return ((x * np.arange(32, dtype=np.float32)) ** 2).sum(1)


@pytest.mark.parametrize("batch", [1, 3, 64, 0])
def test_a_symbolic_batch(session: Any, batch: Any) -> None:
    y = session.run({"x": _x(batch)})["y"]
    assert y.shape == (batch,)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, _y(_x(batch)), rtol=1e-5)


def test_description(session: Any) -> None:
    assert [(p.name, p.dtype, p.shape) for p in session.inputs] == [("x", np.dtype(np.float32), ("batch", 32))]
    assert [(p.name, p.dtype, p.shape) for p in session.outputs] == [("y", np.dtype(np.float32), ("batch",))]
    assert (session.target, session.threads) == ("x86-64", 2)
    assert repr(session) == "<Session for x86-64: x -> y>"


def test_into_the_callers_memory(session: Any) -> None:
    y = np.zeros(5, np.float32)
    result = session.run({"x": _x(5)}, outputs={"y": y})
    assert result["y"] is y
    np.testing.assert_allclose(y, _y(_x(5)), rtol=1e-5)


def test_results_of_two_runs_are_two_arrays(session: Any) -> None:
    first = session.run({"x": _x(4)})["y"]
    kept = first.copy()
    session.run({"x": _x(4) * 2})
    np.testing.assert_array_equal(first, kept)
    first[0] = 7  # writable


@pytest.mark.parametrize("change", [lambda x: x.T.copy().T, lambda x: np.repeat(x, 2, 0)[::2], memoryview, bytearray])
def test_arrays_of_every_layout_and_kind(change: Any, session: Any) -> None:
    x = _x(3)
    given_ = change(x)
    if isinstance(given_, bytearray):
        with pytest.raises(hr.InputError, match=r"^input 'x': is uint8, expected float32$"):
            session.run({"x": given_})
        return
    np.testing.assert_allclose(session.run({"x": given_})["y"], _y(x), rtol=1e-5)


def test_an_array_by_dlpack(session: Any) -> None:
    class Foreign:
        def __init__(self, array: Any) -> None:
            self._array = array

        def __dlpack__(self, **more: Any) -> Any:
            return self._array.__dlpack__(**more)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    np.testing.assert_allclose(session.run({"x": Foreign(_x(3))})["y"], _y(_x(3)), rtol=1e-5)


WRONG = {
    "input 'x' is missing; given: none": {},
    "input 'x' is missing; given: 'X'": {"X": _x(1)},
    "there is no input 'xx'; did you mean 'x'?": {"x": _x(1), "xx": _x(1)},
    "there is no input 'mask'; the model has 'x'": {"x": _x(1), "mask": _x(1)},
    "input 'x': is float64, expected float32": {"x": _x(1).astype(np.float64)},
    "input 'x': is >f4, expected float32": {"x": _x(1).astype(">f4")},
    "input 'x': has 1 dims, expected 2": {"x": _x(1)[0]},
    "input 'x': dim 1 is 31, expected 32": {"x": _x(2)[:, 1:].copy()},
    "input 'x': is a list, expected an array of float32": {"x": [1.0]},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_inputs(message: Any, session: Any) -> None:
    with pytest.raises(hr.InputError) as caught:
        session.run(WRONG[message])
    assert str(caught.value) == message


WRONG_OUTPUTS = {
    "there is no output 'z'; the model has 'y'": {"z": np.zeros(2, np.float32)},
    "output 'y': is int32, expected float32": {"y": np.zeros(2, np.int32)},
    "output 'y': dim 0 is given as 3, the result has 2": {"y": np.zeros(3, np.float32)},
    "output 'y': is given 2 dims, the result has 1": {"y": np.zeros((2, 1), np.float32)},
    "output 'y': must be writable and C-contiguous": {"y": np.zeros(4, np.float32)[::2]},
    "output 'y': is a str, expected an array of float32": {"y": "y"},
}


@pytest.mark.parametrize("message", WRONG_OUTPUTS)
def test_wrong_outputs(message: Any, session: Any) -> None:
    with pytest.raises(hr.InputError) as caught:
        session.run({"x": _x(2)}, outputs=WRONG_OUTPUTS[message])
    assert str(caught.value) == message


def test_an_output_that_lies_in_an_input(session: Any) -> None:
    x = _x(2)
    with pytest.raises(hr.InputError, match=r"^output 'y': its memory overlaps that of input 'x'$"):
        session.run({"x": x}, outputs={"y": x.reshape(-1)[:2]})


def test_a_symbol_must_have_one_value(maker: Any) -> None:
    signature = Signature(
        (Port("a", DTYPES["i32"], (as_dim("n"), as_dim("n"))), Port("b", DTYPES["i32"], (as_dim("2*n + 1"),))), ()
    )
    session = hr.load(maker.write(maker.artefact(signature, (Segment(),), ())))
    session.run({"a": np.zeros((2, 2), np.int32), "b": np.zeros(5, np.int32)})
    with pytest.raises(hr.InputError, match=r"^input 'a': dim 1 is 3, expected 2 \(n\)$"):
        session.run({"a": np.zeros((2, 3), np.int32), "b": np.zeros(5, np.int32)})
    with pytest.raises(hr.InputError, match=r"^input 'b': dim 0 is 4, expected 5 \(n\*2 \+ 1\)$"):
        session.run({"a": np.zeros((2, 2), np.int32), "b": np.zeros(4, np.int32)})


def test_checks_and_error_sites_name_the_node(maker: Any) -> None:
    session = hr.load(maker.write(maker.gather()), threads=4)
    x = np.arange(5, dtype=np.float32)
    index = np.array([4, 0, 0, 2, 1])
    np.testing.assert_array_equal(session.run({"x": x, "index": index})["y"], x[index])
    wrong = r"^node 'Gather_3': index 5 is out of range for 5 \{2\} elements \{$"  # only {0} and {1} are numbers
    with pytest.raises(hr.InputError, match=wrong):
        session.run({"x": x, "index": np.array([0, 5, 0, -7])})  # the first in order, whichever thread is faster
    with pytest.raises(hr.InputError, match=r"^node 'Gather_3': at most 8 indices are possible$"):
        session.run({"x": x, "index": np.zeros(9, np.int64)})
    np.testing.assert_array_equal(session.run({"x": x, "index": index})["y"], x[index])


def test_a_size_that_is_read_from_data(maker: Any) -> None:
    session = hr.load(maker.write(maker.compact()))
    for x in ([1, -1, 2, 0, 3], [-1, -1], [], [5], [1, -1, 2, 0, 3]):
        x = np.array(x, np.float32)
        np.testing.assert_array_equal(session.run({"x": x})["y"], x[x > 0])
    out = np.zeros(2, np.float32)
    session.run({"x": np.array([3, -1, 4], np.float32)}, outputs={"y": out})
    np.testing.assert_array_equal(out, [3, 4])
    with pytest.raises(hr.InputError, match=r"^node 'Compress_1': its values decide sizes, so the memory"):
        session.memory_needed({"x": (3,)})


def test_a_value_that_is_read_must_be_in_bounds(maker: Any) -> None:
    artefact = maker.compact()
    variant = artefact.variants[0]
    first, second = variant.program.segments
    narrow = replace(first, reads=(replace(first.reads[0], high=as_dim(2)),))
    program = replace(variant.program, segments=(narrow, second))
    session = hr.load(maker.write(replace(artefact, variants=(replace(variant, program=program),))))
    with pytest.raises(hr.InputError, match=r"^node 'Compress_1': the number of elements: is 3, expected 0 to 2$"):
        session.run({"x": np.ones(3, np.float32)})


def test_guarded_launches(maker: Any) -> None:
    session = hr.load(maker.write(maker.guarded()), threads=3)
    for n in (0, 1, 15, 16, 1000):
        x = np.arange(n, dtype=np.int32)
        np.testing.assert_array_equal(session.run({"x": x})["y"], x + 1)


def test_a_kernel_sets_limits_to_its_launches(maker: Any) -> None:
    """y[n] = x[n] + 1 for even n, a task each: a program that asks for more, or for an odd n, is refused."""
    kernel = maker.kernel(
        "increment", (("n*4", False), ("n*4", True)), ("n",), tasks=as_dim("n"), requires=(-(as_dim("n") % 2),)
    )
    buffers = tuple(Buffer(Base(kind, 0), as_dim(0), as_dim("n*4")) for kind in ("input", "output"))
    signature = Signature((Port("x", I32, (as_dim("n"),)),), (Port("y", I32, (as_dim("n"),)),))

    def session(tasks: str) -> Any:
        segment = Segment(buffers=buffers, steps=(Launch(0, (0, 1), (as_dim("n"),), as_dim(tasks)),))
        return hr.load(maker.write(maker.artefact(signature, (segment,), (kernel,))), threads=1)

    x = np.arange(6, dtype=np.int32)
    np.testing.assert_array_equal(session("n").run({"x": x})["y"], x + 1)
    with pytest.raises(hr.HeadraceRuntimeError, match="kernel 'increment' would have 7 tasks"):
        session("n + 1").run({"x": x})
    with pytest.raises(hr.HeadraceRuntimeError, match="the shapes lead to dims that kernel 'increment' is not made for"):
        session("n").run({"x": x[:5]})


@pytest.mark.parametrize("name", list(DTYPES))
def test_every_dtype_goes_in_and_out(name: Any, maker: Any) -> None:
    """A copy from input to output, of two dims and of none."""
    from headrace.codegen.artefact.model import Copy

    dtype = DTYPES[name]
    ports = tuple(Port(n, dtype, shape) for n, shape in (("a", (as_dim("n"), as_dim(3))), ("b", ())))
    sizes = (as_dim("n") * 3 * dtype.bytes, as_dim(dtype.bytes))
    buffers = tuple(Buffer(Base(kind, i), as_dim(0), sizes[i]) for kind in ("input", "output") for i in (0, 1))
    signature = Signature(ports, tuple(replace(p, name=p.name + "_out") for p in ports))
    segment = Segment(buffers=buffers, steps=(Copy(0, 2), Copy(1, 3)))
    session = hr.load(maker.write(maker.artefact(signature, (segment,), ())))
    a = np.arange(6).reshape(2, 3).astype(dtype.numpy)
    b = np.array(1).astype(dtype.numpy)
    result = session.run({"a": a, "b": b}, outputs={"b_out": (out := np.zeros((), dtype.numpy))})
    assert result["a_out"].dtype == dtype.numpy
    assert result["a_out"].shape == a.shape and result["a_out"].tobytes() == a.tobytes()
    assert out.tobytes() == b.tobytes()


def test_some_outputs_into_the_callers_memory(maker: Any) -> None:
    from headrace.codegen.artefact.model import Copy

    ports = tuple(Port(name, DTYPES["bf16"], (as_dim(3),)) for name in "ab")
    buffers = tuple(Buffer(Base(kind, i), as_dim(0), as_dim(6)) for kind in ("input", "output") for i in (0, 1))
    segment = Segment(buffers=buffers, steps=(Copy(0, 2), Copy(1, 3)))
    session = hr.load(maker.write(maker.artefact(Signature(ports, ports), (segment,), ())))
    a, b, out = (np.full(3, v, ml_dtypes.bfloat16) for v in (1, 2, 0))
    for outputs in ({"b": out}, MappingProxyType({"b": out})):
        out[:] = 0
        result = session.run(MappingProxyType({"b": b, "a": a}), outputs=outputs)
        assert list(result) == ["a", "b"]
        assert result["b"] is out
        np.testing.assert_array_equal(result["a"], a)
        np.testing.assert_array_equal(out, b)
    with pytest.raises(hr.InputError, match=r"^input 'a': is uint16, expected bfloat16$"):
        session.run({"a": a.view(np.uint16), "b": b})


def test_bf16_arrays_are_of_ml_dtypes(maker: Any) -> None:
    assert DTYPES["bf16"].numpy == np.dtype(ml_dtypes.bfloat16)


def test_busy_is_an_error_of_its_own(maker: Any) -> None:
    """Runs that take a while, from two threads at once: some are refused, all others are right."""
    session = hr.load(maker.write(maker.scale_squares()), threads=1)
    x = _x(200_000)
    refused, wrong = [], []

    def run_often() -> None:
        for _ in range(5):
            try:
                y = session.run({"x": x})["y"]
                if not np.allclose(y, _y(x), rtol=1e-4):
                    wrong.append(y)
            except hr.BusyError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=run_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert refused[0].endswith("this session is running; one run at a time")
    assert not wrong


def test_a_forked_process_runs_and_ends(maker: Any) -> None:
    """Its parent's threads are not there; it starts its own."""
    code = (
        "import os, sys, numpy as np\n"
        "from headrace.runtime.python import load\n"
        "session = load(sys.argv[1], threads=2)\n"
        "x = np.ones((64, 32), np.float32)\n"
        "def run(): return session.run({'x': x})['y'][63]\n"
        "first = run()\n"
        "if (child := os.fork()) == 0:\n"
        "    assert run() == first\n"
        "    del session\n"
        "    sys.exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "if (child := os.fork()) == 0:\n"
        "    del session\n"
        "    sys.exit(8)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8\n"
        "assert run() == first\n"
    )
    command = [sys.executable, "-c", code, str(maker.write(maker.scale_squares()))]
    subprocess.run(command, check=True, timeout=60)


def test_memory_needed(session: Any) -> None:
    assert session.memory_needed({"x": (0, 32)}) == 0
    # An arena of batch * 128 bytes, and a page of scratch for each of two threads.
    assert session.memory_needed({"x": (1000, 32)}) == 128_000 + 2 * 4096
    with pytest.raises(hr.InputError, match=r"^input 'x': dim 1 is 31, expected 32$"):
        session.memory_needed({"x": (1, 31)})
    with pytest.raises(hr.InputError, match=r"^there is no input 'y'; the model has 'x'$"):
        session.memory_needed({"y": (1, 31)})


def test_verify(maker: Any) -> None:
    path = maker.write(maker.scale_squares())
    data = bytearray(path.read_bytes())
    from headrace.codegen.artefact.reader import read

    region = next(r for r in read(path).regions if r.owner == "constants")
    data[region.offset + 9] ^= 1
    path.write_bytes(data)
    session = hr.load(path)
    with pytest.raises(hr.DamagedError, match=r"constant 0 \(w\) has changed: its hash is not the one stated$"):
        session.verify()


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_files_that_are_no_models(tmp_path: Path, maker: Any) -> None:
    with pytest.raises(hr.LoadError, match=r"none\.hrm: cannot be opened: No such file or directory$"):
        hr.load(tmp_path / "none.hrm")
    with pytest.raises(hr.LoadError, match=r"is not a file$"):
        hr.load(tmp_path)
    path = tmp_path / "m.hrm"
    path.write_bytes(b"")
    with pytest.raises(hr.DamagedError, match=r"m\.hrm: is no compiled model: 0 bytes are less than a header$"):
        hr.load(path)
    path.write_text("import this\n" * 20)
    with pytest.raises(hr.DamagedError, match=r"m\.hrm: is no compiled model: it does not start like one$"):
        hr.load(path)
    data = bytearray(maker.write(maker.scale_squares()).read_bytes())
    path.write_bytes(data[:-1])
    with pytest.raises(hr.DamagedError, match=r"the file is cut off or damaged$"):
        hr.load(path)
    data[8] = 9
    path.write_bytes(data)
    with pytest.raises(hr.VersionError, match=r"m\.hrm: is of format 9, this library \(.*\) reads formats 1 to 4$"):
        hr.load(path)


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_wrong_threads(threads: Any, tmp_path: Path) -> None:
    with pytest.raises(hr.InputError, match=rf"^threads is {threads}, expected 1 to 1024$"):
        hr.load(tmp_path, threads=threads)


def test_values_that_are_no_tensors_are_refused(maker: Any) -> None:
    artefact = maker.scale_squares()
    inputs = (replace(artefact.signature.inputs[0], kind="sequence"),)
    path = maker.write(replace(artefact, signature=replace(artefact.signature, inputs=inputs)))
    with pytest.raises(
        hr.UnsupportedError, match=r"input 'x' is a sequence; this version of the runtime runs tensors only$"
    ):
        hr.load(path)


def test_variants_are_picked_by_what_the_cpu_has(maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = maker.scale_squares()
    segments, kernels = artefact.variants[0].program.segments, artefact.variants[0].kernels
    presets = ("x86-64", "x86-64-v3", "x86-64-v2")
    every = maker.artefact(artefact.signature, segments, kernels, artefact.constants, presets)
    path = maker.write(every, "every.hrm")
    for limit in ("x86-64", "x86-64-v2"):
        monkeypatch.setenv("HEADRACE_CPU", limit)
        session = hr.load(path)
        assert session.target == limit
        np.testing.assert_allclose(session.run({"x": _x(3)})["y"], _y(_x(3)), rtol=1e-5)
    only = maker.artefact(artefact.signature, segments, kernels, artefact.constants, ("x86-64-v3",))
    only = replace(
        only, variants=(*only.variants, replace(only.variants[0], preset="aarch64", machine="aarch64", features=()))
    )
    path = maker.write(only, "only.hrm")
    with pytest.raises(
        hr.UnsupportedError,
        match=r"only\.hrm: no target in it runs on this machine: x86-64-v3 needs avx, aarch64 is for aarch64$",
    ):
        hr.load(path)
    monkeypatch.setenv("HEADRACE_CPU", "x86-64-v9")
    with pytest.raises(
        hr.InputError, match=r"^HEADRACE_CPU is 'x86-64-v9', expected one of x86-64, x86-64-v2, x86-64-v3, x86-64-v4$"
    ):
        hr.load(path)


def test_the_face_imports_nothing_of_the_compiler() -> None:
    code = (
        "import sys, headrace.runtime.python as hr\n"
        "known = {'headrace', 'headrace.runtime'}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('llvmlite', 'onnx', 'lark', 'networkx')"
        " or m.startswith('headrace') and m not in known and not m.startswith('headrace.runtime.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
