"""How the library is built: size, symbols, warnings, an installed prefix, another machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "runtime/src").glob("*.c")) + sorted((ROOT / "runtime/src/drivers").glob("*.c"))
TOOLS = sorted((ROOT / "runtime/src/tools").glob("*.c"))
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
DEFINES = ["-D_POSIX_C_SOURCE=200809L", '-DHR_VERSION_TEXT="test"']
INCLUDES = [f"-I{ROOT / 'runtime/include'}", f"-I{ROOT / 'runtime/src'}"]


def _run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def _cmake() -> str:
    """The cmake of the environment, which is newer than many machines' own."""
    beside = Path(sys.executable).parent / "cmake"
    return str(beside) if beside.exists() else "cmake"


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_no_warnings(compiler: Any, require_tool: Any) -> None:
    tool = require_tool(compiler)
    for source in SOURCES + TOOLS:
        _run(tool, "-std=c11", "-O2", *WARNINGS, *DEFINES, *INCLUDES, "-fsyntax-only", source)


def test_headers_stand_alone_in_c_and_cpp(require_tool: Any, tmp_path: Path) -> None:
    for header in ("headrace.h", "headrace_driver.h"):
        (tmp_path / "h.c").write_text(f"#include <{header}>\nint main(void) {{ return 0; }}\n")
        _run(require_tool("gcc"), "-std=c11", *WARNINGS, *INCLUDES, "-fsyntax-only", tmp_path / "h.c")
    (tmp_path / "h.cpp").write_text("#include <headrace.hpp>\n#include <headrace_driver.h>\nint main() { return 0; }\n")
    if (gxx := shutil.which("g++")) is not None:
        _run(gxx, "-std=c++17", *WARNINGS, INCLUDES[0], "-fsyntax-only", tmp_path / "h.cpp")


def test_the_library_is_small(library: Any, require_tool: Any, tmp_path: Path) -> None:
    shutil.copy(library, tmp_path / "l.so")
    _run(require_tool("strip"), tmp_path / "l.so")
    assert (tmp_path / "l.so").stat().st_size <= 150 * 1024


def test_the_library_needs_libc_and_threads_only(library: Any, require_tool: Any) -> None:
    needed = [
        line.split("[")[1].rstrip("]\n")
        for line in _run(require_tool("readelf"), "-d", library).splitlines()
        if "NEEDED" in line
    ]
    assert set(needed) <= {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}
    symbols = _run(require_tool("nm"), "-D", "--undefined-only", library).split()
    assert not {s.split("@")[0] for s in symbols} & {
        "exit",
        "abort",
        "_exit",
        "printf",
        "fprintf",
        "__tls_get_addr",
    }


def test_only_the_interface_is_visible(library: Any, require_tool: Any) -> None:
    lines = _run(require_tool("nm"), "-D", "--defined-only", library).splitlines()
    header = (ROOT / "runtime/include/headrace.h").read_text()
    names = {line.split()[2] for line in lines}
    assert names == {name for name in names if f" {name}(" in header or f"*{name}(" in header}
    assert {"hr_model_open", "hr_run", "hr_version"} <= names


def test_no_variable_is_shared_between_calls(require_tool: Any, tmp_path: Path) -> None:
    """No object file has writable data: no global or static variable but constants, none of a thread.

    But for who opened OpenCL, whose library is the process's own: what a fork inherits of it does not work.
    """
    allowed = {"opencl.c": ["opener"]}
    for source in SOURCES:
        _run(require_tool("gcc"), "-std=c11", "-fno-pic", *DEFINES, *INCLUDES, "-c", source, "-o", tmp_path / "o.o")
        lines = _run(require_tool("nm"), "--defined-only", tmp_path / "o.o").splitlines()
        found = [line.split()[2].partition(".")[0] for line in lines if line.split()[1] in "dDbBC"]
        assert found == (allowed.get(source.name, []) if source.parent.name == "src" else [])


CPP = """
#include <headrace.hpp>
#include <cstdio>
int main(int, char **arguments) {
    headrace::Model model(arguments[1]);
    headrace::Session session(model, 2);
    std::vector<float> x(3 * 32, 1.0f), y(3);
    std::vector<std::int64_t> dims{3, 32}, wrong{3, 31}, rows{3};
    std::vector<hr_value> inputs{headrace::tensor(x.data(), dims)};
    std::vector<hr_value> lent = session.run(inputs), given{headrace::tensor(y.data(), rows)};
    session.run(inputs, given);
    model.verify();
    try {
        session.run({headrace::tensor(x.data(), wrong)});
    } catch (const headrace::Error &error) {
        std::printf("%.0f %.0f %s %d %s\\n", static_cast<const float *>(lent[0].data)[2], y[0], model.target().c_str(),
                    error.status(), error.what());
    }
}
"""


@pytest.fixture(scope="session")
def prefix(require_tool: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as `cmake --install` puts it under a prefix, from the sources of this checkout."""
    require_tool("gcc")
    folder = tmp_path_factory.mktemp("prefix")
    _run(_cmake(), "-S", ROOT, "-B", folder / "build", "-G", "Ninja", "-DHEADRACE_PYTHON=OFF", "-DHEADRACE_WERROR=ON")
    _run(_cmake(), "--build", folder / "build")
    _run(_cmake(), "--install", folder / "build", "--prefix", folder / "installed")
    # Found by the files themselves: a prefix may be moved.
    (folder / "installed").rename(folder / "moved")
    return folder / "moved"


def _classify(maker: Any, program: Path, tmp_path: Path) -> None:
    path = maker.write(maker.scale())
    images = np.zeros((3, 32), np.float32)
    images[[0, 1, 2], [5, 31, 9]] = 1
    images.tofile(tmp_path / "images.raw")
    assert _run(program, path, tmp_path / "images.raw", 2) == "image 0: class 5\nimage 1: class 31\nimage 2: class 9\n"


def test_the_example_builds_by_find_package(prefix: Any, maker: Any, tmp_path: Path) -> None:
    build = tmp_path / "build"
    _run(_cmake(), "-S", ROOT / "examples/c", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    _run(_cmake(), "--build", build)
    _classify(maker, build / "classify", tmp_path)


def test_the_example_builds_by_pkg_config(prefix: Any, maker: Any, require_tool: Any, tmp_path: Path) -> None:
    found = prefix.glob("**/headrace.pc")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(next(found).parent)}
    flags = subprocess.run(
        [require_tool("pkg-config"), "--cflags", "--libs", "headrace"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    program = tmp_path / "classify"
    _run(require_tool("gcc"), "-std=c11", *WARNINGS, ROOT / "examples/c/classify.c", *flags, "-o", program)
    _classify(maker, program, tmp_path)


def test_the_driver_to_copy_builds_by_find_package(prefix: Any, maker: Any, tmp_path: Path) -> None:
    build = tmp_path / "build"
    _run(_cmake(), "-S", ROOT / "examples/driver", "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    _run(_cmake(), "--build", build)
    model = maker.write(maker.scale_squares())
    np.save(tmp_path / "x.npy", np.ones((2, 32), np.float32))
    where = ("--driver", build / "libnull.so", "--device", "null")
    _run(prefix / "bin/headrace-run", model, "--input", "x=x.npy", "--output", "y=y.npy", *where, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), [sum(i * i for i in range(32))] * 2)


def test_the_cpp_header_runs_a_model(prefix: Any, maker: Any, require_tool: Any, tmp_path: Path) -> None:
    gxx = require_tool("g++")
    (tmp_path / "m.cpp").write_text(CPP)
    library = next(prefix.glob("**/libheadrace.so")).parent
    link = [f"-L{library}", "-lheadrace", f"-Wl,-rpath,{library}"]
    _run(gxx, "-std=c++17", *WARNINGS, f"-I{prefix / 'include'}", tmp_path / "m.cpp", *link, "-o", tmp_path / "m")
    total = sum(i * i for i in range(32))
    expected = f"{total} {total} x86-64 7 input 'x': dim 1 is 31, expected 32\n"
    assert _run(tmp_path / "m", maker.write(maker.scale_squares())) == expected


def test_headrace_run_for_aarch64(aarch64_maker: Any, require_tool: Any, tmp_path: Path) -> None:
    """Cross-compiled without libraries, run by qemu on a core that has no more than the first Armv8."""
    table = tmp_path / "drivers.c"
    table.write_text(
        '#include "model.h"\nextern const hr_driver hr_driver_cpu;\n'
        "const hr_driver *const hr_builtin_drivers[] = {&hr_driver_cpu, NULL};\n"
    )
    program = tmp_path / "headrace-run"
    flags = ["-std=c11", "-O2", "-static", "-pthread", *DEFINES, *INCLUDES]
    _run(require_tool("aarch64-linux-gnu-gcc"), *flags, table, *SOURCES, *TOOLS, "-o", program)
    path = aarch64_maker.write(aarch64_maker.scale_squares("aarch64"))
    x = np.linspace(-1, 1, 9 * 32, dtype=np.float32).reshape(9, 32)
    np.save(tmp_path / "x.npy", x)
    qemu = [require_tool("qemu-aarch64-static"), "-cpu", "cortex-a53", program]
    _run(*qemu, path, "--input", "x=x.npy", "--output", "y=y.npy", "--threads", 3, cwd=tmp_path)
    y = ((x * np.arange(32, dtype=np.float32)) ** 2).sum(1)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), y, rtol=1e-5)
