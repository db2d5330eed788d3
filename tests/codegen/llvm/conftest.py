"""Kernels compiled by LLVM and called through their ABI: on this machine, or under an emulator."""

import ctypes
import itertools
import mmap
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.codegen.image.elf import read_object
from headrace.codegen.image.flatten import Image, flatten
from headrace.codegen.llvm import emit_module, scratch_bytes
from headrace.codegen.workers import Job, WorkerPool, host
from headrace.ir.bind import bind
from headrace.ir.facts import TargetFacts
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import task_count
from headrace.ir.types import BufferType
from headrace.targets import find_target

Array = np.ndarray[Any, Any]
Call = Callable[[int, Sequence[Array], Sequence[int], int, tuple[int, int]], int]
Range = tuple[int, int]
GUARD = 64  # bytes on either side of a buffer that no kernel may touch


class Compiled:
    """Kernels of one module, in an image; `call` runs an entry on buffers."""

    def __init__(self, functions: Sequence[KernelFunc], image: Image, call: Call) -> None:
        self.functions = {f.function_name: f for f in functions}
        self.image = image
        self.call = call

    def run(
        self,
        name: str,
        inputs: Sequence[Array],
        symbols: Mapping[str, int] | None = None,
        ranges: Sequence[Range] | None = None,
    ) -> list[Array]:
        """The outputs after running all tasks, or some ranges of them; bytes that nobody wrote are 0xA5."""
        function = self.functions[name]
        shaped = [(f"input {i}", p.type, a.shape) for i, (p, a) in enumerate(zip(function.inputs, inputs, strict=True))]
        known = bind(f"@{name}", shaped, function.known, symbols or {})
        arrays = [self._guarded(np.ascontiguousarray(a)) for a in inputs]
        for parameter in function.written:
            kind = parameter.type
            assert isinstance(kind, BufferType)
            shape = [int(d.evaluate(known)) for d in kind.dims]
            empty = np.frombuffer(b"\xa5" * (int(np.prod(shape)) * kind.dtype.bytes), kind.dtype.numpy).reshape(shape)
            arrays.append(self._guarded(empty))
        scalars = [known[s] for s in function.scalars]
        whole = (0, int(task_count(function).evaluate(known)))
        scratch = int(scratch_bytes(function).evaluate(known))
        for range_ in ranges or [whole]:
            entry = self.image.entries[name]
            assert self.call(entry, [a for _, a in arrays], scalars, scratch, range_) == 0
        for block, array in arrays:
            start = GUARD + array.itemsize
            assert (block[:start] == 0x5A).all() and (block[start + array.nbytes :] == 0x5A).all(), "wrote outside"
        return [a for _, a in arrays[len(inputs) :]]

    def _guarded(self, array: Array) -> tuple[Array, Array]:
        """(a block of bytes, a copy of the array inside, aligned to its elements and no more)."""
        block = np.full(array.nbytes + 2 * GUARD + array.itemsize, 0x5A, np.uint8)
        start = GUARD + array.itemsize
        inner = block[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        inner[...] = array
        return block, inner


class Toolchain:
    """Compiles for one preset."""

    def __init__(self, preset: str, facts: TargetFacts, pool: WorkerPool, load: Callable[[Image], Call]) -> None:
        self.preset = preset
        self.facts = facts
        self._pool = pool
        self._load = load

    def compile(self, functions: Sequence[KernelFunc]) -> Compiled:
        facts = self.facts
        job = Job("test", emit_module(functions, facts), facts.triple, facts.cpu, facts.features)
        (data,) = self._pool.run([job])
        image = flatten([read_object(job.name, data)])
        return Compiled(functions, image, self._load(image))


def load_natively(image: Image) -> Call:
    block = mmap.mmap(-1, len(image.code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    block.write(image.code)
    base = ctypes.addressof(ctypes.c_char.from_buffer(block))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, pointer, number, number)

    def call(entry: int, buffers: Sequence[Array], scalars: Sequence[int], scratch: int, range_: Range) -> int:
        pointers = (pointer * len(buffers))(*(b.ctypes.data for b in buffers))
        numbers = (number * max(1, len(scalars)))(*scalars)
        memory = np.full(scratch + 64, 0xA5, np.uint8)
        aligned = -memory.ctypes.data % 64 + memory.ctypes.data
        return int(kind(base + entry)(pointers, numbers, aligned if scratch else None, *range_))

    call.block = block  # keeps the mapping alive
    return call


def emulated(loader: Path, folder: Path) -> Callable[[Image], Call]:
    numbers = itertools.count()

    def load(image: Image) -> Call:
        path = folder / f"image{next(numbers)}"
        path.write_bytes(image.code)

        def call(entry: int, buffers: Sequence[Array], scalars: Sequence[int], scratch: int, range_: Range) -> int:
            files = [folder / f"buffer{i}" for i in range(len(buffers))]
            for file, buffer in zip(files, buffers, strict=True):
                file.write_bytes(buffer.tobytes())
            listed = ",".join(map(str, scalars)) or "-"
            command = ["qemu-aarch64-static", "-cpu", "cortex-a53", loader, path, entry, *range_, scratch, listed, *files]
            status = subprocess.run([str(word) for word in command]).returncode
            for file, buffer in zip(files, buffers, strict=True):
                buffer[...] = np.frombuffer(file.read_bytes(), buffer.dtype).reshape(buffer.shape)
            return status

        return call

    return load


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as workers:
        yield workers


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Path:
    """`caller.c` for the emulator."""
    compiler = require_tool("aarch64-linux-gnu-gcc")
    require_tool("qemu-aarch64-static")
    program = tmp_path_factory.mktemp("caller") / "caller"
    source = Path(__file__).with_name("caller.c")
    subprocess.run([compiler, "-std=gnu11", "-O1", "-Wall", "-Werror", "-static", source, "-o", program], check=True)
    return program


@pytest.fixture(scope="session", params=["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def toolchain(request: pytest.FixtureRequest, pool: WorkerPool, tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    """One for each preset that this machine can run, by itself or emulated."""
    preset = request.param
    target = find_target(preset)[1]
    load: Callable[[Image], Call] = load_natively
    if preset == "aarch64" and platform.machine() != "aarch64":
        load = emulated(request.getfixturevalue("caller"), tmp_path_factory.mktemp("run"))
    elif not set(target.required_features(preset)) <= set(host().features):
        pytest.skip(f"this machine is no {preset}")
    return Toolchain(preset, target.presets[preset], pool, load)


