"""Artefacts to run: kernels compiled by gcc to a blob, programs made by hand, and C programs that drive the library."""

import struct
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from headrace.codegen.artefact.model import (
    Artefact,
    Base,
    Buffer,
    Check,
    Constant,
    Copy,
    Device,
    Kernel,
    KernelBuffer,
    Launch,
    Loop,
    Machine,
    Port,
    Program,
    Read,
    Segment,
    Set,
    Signature,
    Site,
    Variant,
    Work,
)
from headrace.codegen.artefact.writer import write
from headrace.ir.dims import Dim, as_dim
from headrace.ir.types import F32, I32, I64

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
RequireTool = Callable[[str], str]

LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": ("sse2",),
    "x86-64-v2": ("sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"),
    "x86-64-v3": ("sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "bmi", "bmi2", "f16c", "fma"),
}


@dataclass(frozen=True)
class Blob:
    image: bytes
    entries: dict[str, int]


def _compile_blob(gcc: str, objcopy: str, nm: str, folder: Path) -> Blob:
    folder.mkdir()
    flags = ["-std=c11", "-O2", "-fPIC", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-fno-tree-vectorize"]
    # Alignment on a page would add nothing; what matters is that no relocation is left.
    run([gcc, *flags, "-fno-asynchronous-unwind-tables", "-c", HERE / "kernels.c", "-o", folder / "kernels.o"])
    run([objcopy, "-O", "binary", "-j", ".text", folder / "kernels.o", folder / "kernels.bin"])
    symbols = run([nm, folder / "kernels.o"]).split("\n")
    entries = {line.split()[2]: int(line.split()[0], 16) for line in symbols if " T " in line}
    return Blob((folder / "kernels.bin").read_bytes(), entries)


def run(command: Sequence[object], **environment: str) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, env=environment or None, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def blob(require_tool: RequireTool, tmp_path_factory: pytest.TempPathFactory) -> Blob:
    """The kernels for the machine that runs the tests, an x86-64."""
    tools = (require_tool("gcc"), require_tool("objcopy"), require_tool("nm"))
    return _compile_blob(*tools, tmp_path_factory.mktemp("native") / "blob")


@pytest.fixture(scope="session")
def aarch64_blob(require_tool: RequireTool, tmp_path_factory: pytest.TempPathFactory) -> Blob:
    tools = [require_tool(f"aarch64-linux-gnu-{tool}") for tool in ("gcc", "objcopy", "nm")]
    return _compile_blob(*tools, tmp_path_factory.mktemp("aarch64") / "blob")


class Maker:
    """Makes artefacts from a blob; each method is one small model."""

    def __init__(self, blob: Blob, folder: Path) -> None:
        self.blob = blob
        self.folder = folder

    def kernel(self, name: str, buffers: Sequence[tuple[str, bool]], scalars: Sequence[str], **more: object) -> Kernel:
        """`buffers`: the bytes and whether it is written."""
        listed = tuple(KernelBuffer(as_dim(size), written) for size, written in buffers)
        return Kernel(name, self.blob.entries[name], listed, tuple(scalars), **more)

    @property
    def scale_kernel(self) -> Kernel:
        buffers = (("rows*n*4", False), ("n*4", False), ("rows*n*4", True))
        work = Work(as_dim("rows*n"), as_dim("rows*n*8 + n*4"))
        return self.kernel("scale", buffers, ("n", "rows"), work=work, text="kernel.func @scale")

    @property
    def squares_kernel(self) -> Kernel:
        return self.kernel("squares", (("rows*n*4", False), ("rows*4", True)), ("n", "rows"), scratch=as_dim("n*4"))

    def scale_squares(self, machine: Machine = "x86-64") -> Artefact:
        """y[batch] = sum over j of (x[batch, n] * w[n])^2, n = 32."""
        x, w, t, y = (
            buffer("input", 0, "batch*128"),
            buffer("constant", 0, 128),
            buffer("arena", 0, "batch*128"),
            buffer("output", 0, "batch*4"),
        )
        steps = (
            Launch(0, (0, 1, 2), dims(32, "batch"), as_dim("batch"), nodes=("Mul_0",)),
            Launch(1, (2, 3), dims(32, "batch"), as_dim("batch"), nodes=("Mul_1", "ReduceSum_2")),
        )
        segment = Segment((), (x, w, t, y), as_dim("batch*128"), steps)
        signature = Signature((port("x", "batch", 32),), (port("y", "batch"),))
        return self.artefact(
            signature, (segment,), (self.scale_kernel, self.squares_kernel), (weights(32),), (machine,), machine
        )

    def row_by_row(self, machine: Machine = "x86-64") -> Artefact:
        """The same as `scale_squares`, the product a row a turn, in a state that grows."""
        start = Segment(buffers=(buffer("constant", 0, 128),), reads=(Set("t", as_dim(0)),))
        head = Segment(loop=Loop(as_dim("batch"), as_dim(0), 1))
        x, t, row = buffer("input", 0, 128, "t*128"), buffer("arena", 2, 128), buffer("state", 0, 128, "t*128")
        turn = Launch(0, (1, 0, 2), dims(32, 1), as_dim(1), nodes=("Mul_0",))
        body = Segment((), (x, t, row), as_dim(128), (turn, Copy(2, 3)), (Set("t", as_dim("t + 1")),))
        end = Segment(
            buffers=(buffer("state", 0, "batch*128"), buffer("output", 0, "batch*4")),
            steps=(Launch(1, (4, 5), dims(32, "batch"), as_dim("batch"), nodes=("Mul_1", "ReduceSum_2")),),
        )
        made = self.scale_squares(machine)
        program = Program((start, head, body, end), states=1)
        return replace(made, variants=(replace(made.variants[0], program=program),))

    def beside(self, machine: Machine = "x86-64") -> Artefact:
        """The same as `scale_squares`, the product on a device `null` beside the CPU, which takes the squares."""
        start = Segment(buffers=(buffer("arena", 0, "batch*128"),), arena=as_dim("batch*128"))
        x, w = buffer("input", 0, "batch*128"), buffer("constant", 0, 128)
        far = buffer("arena", 1, "batch*128"), buffer("arena", 1, "batch*128", "batch*128")
        product = Launch(0, (3, 2, 4), dims(32, "batch"), as_dim("batch"), nodes=("Mul_0",))
        there = Segment((), (x, w, *far), as_dim("batch*256"), (Copy(1, 3), product, Copy(4, 0)), device=1)
        squares = Launch(1, (0, 5), dims(32, "batch"), as_dim("batch"), nodes=("Mul_1", "ReduceSum_2"))
        end = Segment(buffers=(buffer("output", 0, "batch*4"),), steps=(squares,))
        made = self.scale_squares(machine)
        variant = replace(
            made.variants[0],
            program=Program((start, there, end)),
            kernels=(replace(self.scale_kernel, device=1), self.squares_kernel),
            devices=(Device("null", self.blob.image),),
        )
        return replace(made, variants=(variant,))

    def scale(self) -> Artefact:
        """y[batch, 32] = x[batch, 32] * w[32], which a classifier could be: the class is where y is largest."""
        buffers = (buffer("input", 0, "batch*128"), buffer("constant", 0, 128), buffer("output", 0, "batch*128"))
        launch = Launch(0, (0, 1, 2), dims(32, "batch"), as_dim("batch"))
        signature = Signature((port("x", "batch", 32),), (port("y", "batch", 32),))
        segment = Segment((), buffers, steps=(launch,))
        return self.artefact(signature, (segment,), (self.scale_kernel,), (weights(32),))

    def gather(self) -> Artefact:
        """y[k] = x[index[k]], with a check that k <= 8 and a launch that names its node."""
        kernel = self.kernel(
            "gather",
            (("n*4", False), ("k*8", False), ("k*4", True)),
            ("n", "k"),
            scratch=as_dim(16),
            sites=(Site("index {0} is out of range for {1} {2} elements {"),),
        )
        buffers = (buffer("input", 0, "n*4"), buffer("input", 1, "k*8"), buffer("output", 0, "k*4"))
        launch = Launch(0, (0, 1, 2), dims("n", "k"), as_dim("k"), nodes=("Gather_3",))
        check = Check(as_dim("8 - k"), "node 'Gather_3': at most 8 indices are possible")
        signature = Signature((port("x", "n"), Port("index", I64, dims("k"))), (port("y", "k"),))
        return self.artefact(signature, (Segment((check,), buffers, steps=(launch,)),), (kernel,))

    def compact(self) -> Artefact:
        """y[k] = the k elements of x[n] that are above 0: k is read from data, between two segments."""
        kernels = (
            self.kernel("count", (("n*4", False), ("8", True)), ("n",)),
            self.kernel("compact", (("n*4", False), ("k*4", True)), ("n", "k")),
        )
        read = Read("k", 1, as_dim(0), I64, as_dim(0), as_dim("n"), "node 'Compress_1': the number of elements")
        first = Segment((), (buffer("input", 0, "n*4"), buffer("arena", 0, 8)), as_dim(8),
                        (Launch(0, (0, 1), dims("n"), as_dim(1)),), (read,))  # fmt: skip
        second = Segment((), (buffer("output", 0, "k*4"), buffer("arena", 1, "k*4")), as_dim("k*4"),
                         (Launch(1, (0, 3), dims("n", "k"), as_dim(1)), Copy(3, 2)))  # fmt: skip
        signature = Signature((port("x", "n"),), (port("y", "k"),))
        return self.artefact(signature, (first, second), kernels)

    def guarded(self) -> Artefact:
        """y[n] = x[n] + 1 by one of two launches, chosen by n >= 16; the other would write past its buffer."""
        kernel = self.kernel("increment", (("n*4", False), ("n*4", True)), ("n",))
        buffers = (buffer("input", 0, "n*4"), buffer("output", 0, "n*4"))
        many = Launch(0, (0, 1), dims("n"), as_dim("n"), as_dim(4), as_dim("n - 16"), ("many",))
        few = Launch(0, (0, 1), dims("n"), as_dim("n"), when=as_dim("15 - n"), nodes=("few",))
        shape = dims("n")
        signature = Signature((Port("x", I32, shape),), (Port("y", I32, shape),))
        return self.artefact(signature, (Segment((), buffers, steps=(many, few)),), (kernel,))

    def artefact(
        self,
        signature: Signature,
        segments: tuple[Segment, ...],
        kernels: tuple[Kernel, ...],
        constants: tuple[Constant, ...] = (),
        presets: Sequence[str] = ("x86-64",),
        machine: Machine = "x86-64",
    ) -> Artefact:
        variants = tuple(
            Variant(preset, machine, LEVELS.get(preset, ()), Program(segments), kernels, self.blob.image)
            for preset in presets
        )
        return Artefact(signature, variants, constants, (("compiler", "headrace test"),))

    def write(self, artefact: Artefact, name: str = "m.hrm") -> Path:
        path = self.folder / name
        write(artefact, path)
        return path


def dims(*values: int | str) -> tuple[Dim, ...]:
    return tuple(as_dim(v) for v in values)


def port(name: str, *shape: int | str) -> Port:
    return Port(name, F32, dims(*shape))


def buffer(kind: str, index: int, size: int | str, offset: int | str = 0) -> Buffer:
    return Buffer(Base(kind, index), as_dim(offset), as_dim(size))


def weights(n: int) -> Constant:
    return Constant(4 * n, lambda: np.arange(n, dtype=np.float32).tobytes(), "w")


@pytest.fixture
def aarch64_maker(aarch64_blob: Blob, tmp_path: Path) -> Maker:
    return Maker(aarch64_blob, tmp_path)


@pytest.fixture
def maker(blob: Blob, tmp_path: Path) -> Maker:
    return Maker(blob, tmp_path)


# ---- C programs ------------------------------------------------------------------------------------------------------

SANITIZERS = {
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread"],
    "plain": [],
}


@dataclass(frozen=True)
class Driver:
    """A C program with the whole runtime, compiled with one of the sanitizers."""

    program: Path

    def __call__(self, *arguments: object) -> str:
        return run([self.program, *arguments])


@pytest.fixture(scope="session")
def build_driver(require_tool: RequireTool, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Driver]:
    """`build_driver("asan")` is the folder driver; other files, as paths from here, may be named after the sanitizer."""
    gcc = require_tool("gcc")
    built: dict[tuple[str, ...], Driver] = {}
    of_folder = [str(f.relative_to(HERE)) for f in sorted(HERE.glob("driver/*.c"))]

    def build(sanitizer: str, *sources: str) -> Driver:
        key = sanitizer, *sources
        if key not in built:
            folder = tmp_path_factory.mktemp(sanitizer)
            table = folder / "drivers.c"
            source = ROOT / "runtime" / "src"
            drivers = sorted((source / "drivers").glob("*.c"))
            table.write_text(
                '#include "model.h"\n'
                + "".join(f"extern const hr_driver hr_driver_{d.stem};\n" for d in drivers)
                + f"const hr_driver *const hr_builtin_drivers[] = {{{''.join(f'&hr_driver_{d.stem}, ' for d in drivers)}NULL}};\n"
            )
            own = [HERE / f for f in sources or (*of_folder, "counted.c")]
            files = [table, *own, *sorted(source.glob("*.c")), *drivers]
            flags = ["-std=c11", "-O1", "-g", "-pthread", "-D_POSIX_C_SOURCE=200809L", '-DHR_VERSION_TEXT="test"']
            include = [f"-I{f}" for f in (source, ROOT / "runtime" / "include", ROOT / "tests" / "support", HERE)]
            program = folder / "driver"
            run([gcc, *flags, *SANITIZERS[sanitizer], *include, *files, "-o", program])
            built[key] = Driver(program)
        return built[key]

    return build


@pytest.fixture(scope="session")
def asan(build_driver: Callable[..., Driver]) -> Driver:
    return build_driver("asan")


@pytest.fixture(scope="session")
def tsan(build_driver: Callable[..., Driver]) -> Driver:
    return build_driver("tsan")


@pytest.fixture(scope="session")
def headrace_run() -> Path:
    """The program that came with the package under test: beside it where it was built in place, else installed."""
    import headrace.runtime

    installed = Path(sysconfig.get_path("scripts")) / "headrace-run"
    built = Path(headrace.runtime.__path__[0]) / "headrace-run"
    found = built if built.exists() else installed
    assert found.exists(), "headrace-run is neither installed nor built"
    return found


@pytest.fixture(scope="session")
def library() -> Path:
    """libheadrace.so, as the Python face loads it."""
    import headrace.runtime._face

    return Path(headrace.runtime._face.__file__).parent / "libheadrace.so"


@pytest.fixture
def rehash() -> Callable[[bytearray], None]:
    """Makes the hashes of a changed file right again, so that what lies behind them is tested."""
    import hashlib

    def fix(data: bytearray) -> None:
        (count,) = struct.unpack_from("<I", data, 12)
        for i in range(count):
            entry = 64 + 64 * i
            offset, size = struct.unpack_from("<QQ", data, entry + 8)
            if offset + size <= len(data):
                data[entry + 32 : entry + 64] = hashlib.sha256(data[offset : offset + size]).digest()
        data[32:64] = hashlib.sha256(data[:32] + data[64 : 64 + 64 * count]).digest()

    return fix
