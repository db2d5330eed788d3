"""The flattening linker on objects that LLVM makes: what runs, what is refused, and with which words."""

import ctypes
import mmap
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.codegen.image.elf import read_object
from headrace.codegen.image.flatten import Image, flatten
from headrace.codegen.workers import Job, WorkerPool
from headrace.ir.errors import LinkError

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
CPUS = {"x86_64": "x86-64", "aarch64": "cortex-a53"}
MACHINES = tuple(TRIPLES)

# Constants of every size that a load can take, a call that is not inlined, and a function that falls in between.
PROGRAM = """
@halves = internal constant [4 x float] [float 0.5, float 1.5, float 2.5, float 3.5]
@bytes = internal constant [3 x i8] c"\\01\\02\\03"
@shorts = internal constant [2 x i16] [i16 10, i16 20]
@longs = internal constant [2 x i64] [i64 100, i64 200]

define internal float @twice(float %x) noinline nounwind {
  %y = fmul float %x, 2.0
  ret float %y
}

define hidden float @pick(float %x) nounwind {
  %i = fptosi float %x to i64
  %p = getelementptr float, ptr @halves, i64 %i
  %v = load float, ptr %p
  %r = call float @twice(float %v)
  ret float %r
}

define hidden float @sizes(float %x) nounwind {
  %i = fptosi float %x to i64
  %pb = getelementptr i8, ptr @bytes, i64 1
  %b = load volatile i8, ptr %pb
  %ps = getelementptr i16, ptr @shorts, i64 1
  %s = load volatile i16, ptr %ps
  %pl = getelementptr i64, ptr @longs, i64 1
  %l = load volatile i64, ptr %pl
  %bf = uitofp i8 %b to float
  %sf = uitofp i16 %s to float
  %lf = uitofp i64 %l to float
  %1 = fadd float %bf, %sf
  %2 = fadd float %1, %lf
  %3 = fadd float %2, %x
  ret float %3
}

define hidden float @vector(float %x) nounwind {
  %1 = insertelement <4 x float> poison, float %x, i64 0
  %2 = shufflevector <4 x float> %1, <4 x float> poison, <4 x i32> zeroinitializer
  %3 = fmul <4 x float> %2, <float 1.25, float 2.5, float 5.0, float 10.0>
  %4 = extractelement <4 x float> %3, i64 3
  %5 = extractelement <4 x float> %3, i64 0
  %6 = fadd float %4, %5
  ret float %6
}

define hidden float @branch(float %x) nounwind "no-jump-tables"="true" {
  %i = fptosi float %x to i32
  switch i32 %i, label %other [ i32 0, label %a
                                i32 1, label %b
                                i32 2, label %c
                                i32 3, label %d
                                i32 4, label %a ]
a:
  ret float 7.0
b:
  ret float 11.0
c:
  ret float 13.0
d:
  ret float 17.0
other:
  ret float -1.0
}
"""
# entry, argument, result
CASES = [
    ("pick", 0.0, 1.0),
    ("pick", 3.0, 7.0),
    ("sizes", 0.5, 222.5),
    ("vector", 2.0, 22.5),
    ("branch", 2.0, 13.0),
    ("branch", 4.0, 7.0),
    ("branch", 9.0, -1.0),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1) as workers:
        yield workers


def compiled(pool: WorkerPool, machine: str, *texts: str) -> Image:
    jobs = [Job(f"part{i}", text, TRIPLES[machine], CPUS[machine]) for i, text in enumerate(texts)]
    return flatten([read_object(job.name, data) for job, data in zip(jobs, pool.run(jobs), strict=True)])


class Mapped:
    """An image in memory of this process, `skip` pages into a larger block."""

    def __init__(self, image: Image, skip: int) -> None:
        self.image = image
        self.block = mmap.mmap(-1, (skip + 16) * mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        start = skip * mmap.PAGESIZE
        self.block[start : start + len(image.code)] = image.code
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.block)) + start

    def __call__(self, entry: str, x: float) -> float:
        function = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(self.base + self.image.entries[entry])
        return float(function(x))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code natively")
@pytest.mark.parametrize("skip", [0, 1, 5])
def test_image_runs_at_any_page(pool: WorkerPool, skip: int) -> None:
    run = Mapped(compiled(pool, "x86_64", PROGRAM), skip)
    assert [run(entry, x) for entry, x, _ in CASES] == [want for _, _, want in CASES]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86-64 code natively")
def test_several_objects_keep_their_own_internals(pool: WorkerPool) -> None:
    def part(name: str, constant: str) -> str:
        return (
            f"@c = internal constant float {constant}\n"
            f"define hidden float @{name}(float %x) nounwind {{\n"
            "  %c = load volatile float, ptr @c\n  %r = fadd float %x, %c\n  ret float %r\n}\n"
        )

    image = compiled(pool, "x86_64", part("second", "2.0"), part("first", "8.0"))
    run = Mapped(image, 1)
    assert list(image.entries) == ["first", "second"]
    assert (run("first", 1.0), run("second", 1.0)) == (9.0, 3.0)


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = "aarch64-linux-gnu-gcc"
    for tool in (compiler, "qemu-aarch64-static"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    program = tmp_path_factory.mktemp("loader") / "loader"
    source = Path(__file__).with_name("loader.c")
    subprocess.run([compiler, "-std=gnu11", "-O1", "-Wall", "-Werror", "-static", source, "-o", program], check=True)
    return program


@pytest.mark.parametrize(("entry", "x", "want"), CASES)
def test_aarch64_image_runs_under_qemu(
    pool: WorkerPool, loader: Path, tmp_path: Path, entry: str, x: float, want: float
) -> None:
    image = compiled(pool, "aarch64", PROGRAM)
    assert image.alignment == 4096
    path = tmp_path / "image"
    path.write_bytes(image.code)
    emulator = ["qemu-aarch64-static", "-cpu", "cortex-a53"]
    command = [*emulator, str(loader), str(path), str(image.entries[entry]), str(x)]
    assert float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == want


@pytest.mark.parametrize("machine", MACHINES)
def test_internal_functions_are_no_entries_and_names_are_sorted(pool: WorkerPool, machine: str) -> None:
    assert list(compiled(pool, machine, PROGRAM).entries) == ["branch", "pick", "sizes", "vector"]


@pytest.mark.parametrize("machine", MACHINES)
def test_same_objects_same_bytes(pool: WorkerPool, machine: str) -> None:
    assert compiled(pool, machine, PROGRAM) == compiled(pool, machine, PROGRAM)


REFUSED = {
    "library call": (
        "declare float @expf(float)\n"
        "define hidden float @f(float %x) nounwind {\n %r = call float @expf(float %x)\n ret float %r\n}",
        "part0: undefined symbol 'expf'; an image has no imports: emit the operation inline, or define the function"
        " in the same object",
    ),
    "two library calls": (
        "declare float @expf(float)\ndeclare ptr @memcpy(ptr, ptr, i64)\n"
        "define hidden float @f(float %x, ptr %p, ptr %q, i64 %n) nounwind {\n"
        " %m = call ptr @memcpy(ptr %p, ptr %q, i64 %n)\n %r = call float @expf(float %x)\n ret float %r\n}",
        "undefined symbols 'expf', 'memcpy'",
    ),
    "zeroed memory": (
        "@g = internal global i32 0\ndefine hidden i32 @f() nounwind {\n"
        " %1 = load volatile i32, ptr @g\n store volatile i32 1, ptr @g\n ret i32 %1\n}",
        "part0: section '.bss' is writable (4 bytes); an image is mapped read-only",
    ),
    "initialised memory": (
        "@g = internal global i32 5\ndefine hidden i32 @f() nounwind {\n"
        " %1 = load volatile i32, ptr @g\n store volatile i32 1, ptr @g\n ret i32 %1\n}",
        "part0: section '.data' is writable (4 bytes)",
    ),
    "table of addresses": (
        "@t = internal constant [2 x ptr] [ptr @a, ptr @b]\n"
        "define internal i32 @a() noinline nounwind {\n ret i32 1\n}\n"
        "define internal i32 @b() noinline nounwind {\n ret i32 2\n}\n"
        "define hidden i32 @f(i64 %i) nounwind {\n %p = getelementptr ptr, ptr @t, i64 %i\n"
        " %g = load ptr, ptr %p\n %r = call i32 %g()\n ret i32 %r\n}",
        "part0: section '.data.rel.ro' is writable (16 bytes)",
    ),
    "default visibility": (
        "@g = constant i32 5\ndefine hidden i32 @f() nounwind {\n %1 = load volatile i32, ptr @g\n ret i32 %1\n}",
        "symbol 'g': R_.*GOT.* goes through the global offset table, which the image has not; make the symbol"
        " internal, private or hidden",
    ),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("what", REFUSED)
def test_refuses(pool: WorkerPool, machine: str, what: str) -> None:
    text, message = REFUSED[what]
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(LinkError, match=pattern) as caught:
        compiled(pool, machine, text)
    assert "\n" not in str(caught.value)


def test_refuses_a_function_defined_twice(pool: WorkerPool) -> None:
    text = "define hidden i32 @f() nounwind {\n ret i32 1\n}"
    with pytest.raises(LinkError, match=r"^part1: function 'f' is also defined by part0; rename one, or make it"):
        compiled(pool, "x86_64", text, text)


def test_refuses_two_machines_in_one_image(pool: WorkerPool) -> None:
    text = "define hidden i32 @f() nounwind {\n ret i32 1\n}"
    jobs = [Job(machine, text, TRIPLES[machine], CPUS[machine]) for machine in MACHINES]
    objects = [read_object(job.name, data) for job, data in zip(jobs, pool.run(jobs), strict=True)]
    with pytest.raises(LinkError, match=r"^aarch64: object is for aarch64, but x86_64 is for x86_64"):
        flatten(objects)


def test_refuses_another_machine(pool: WorkerPool) -> None:
    (data,) = pool.run([Job("r", "define void @f() {\n ret void\n}", TRIPLES["x86_64"], "x86-64")])
    with pytest.raises(LinkError, match=r"^r: object is for ELF machine 243; the linker knows x86_64, aarch64"):
        read_object("r", data[:18] + (243).to_bytes(2, "little") + data[20:])


@pytest.mark.parametrize("machine", MACHINES)
def test_a_damaged_object_raises_nothing_but_link_errors(pool: WorkerPool, machine: str) -> None:
    (data,) = pool.run([Job("k", PROGRAM, TRIPLES[machine], CPUS[machine])])
    refused = 0
    damaged = [data[:size] for size in range(0, len(data), 7)]
    damaged += [data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(len(data))]
    for bytes_ in damaged:
        try:
            flatten([read_object("k", bytes_)])
        except LinkError:
            refused += 1
    assert refused > len(data) // 7
