"""The models that tests of whole compilations run on, and the runtime for a machine that is emulated."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from model_examples import REAL, Example, example_named


@pytest.fixture(scope="module", params=["digits", *REAL])
def example(request: pytest.FixtureRequest) -> Example:
    return example_named(request.param)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> list[str]:
    """The command that runs headrace-run for aarch64 on a core that has no more than the first Armv8."""
    gcc, qemu = require_tool("aarch64-linux-gnu-gcc"), require_tool("qemu-aarch64-static")
    folder = tmp_path_factory.mktemp("aarch64")
    runtime = Path(__file__).parents[2] / "runtime"
    table = folder / "drivers.c"
    table.write_text(
        '#include "model.h"\nextern const hr_driver hr_driver_cpu;\n'
        "const hr_driver *const hr_builtin_drivers[] = {&hr_driver_cpu, NULL};\n"
    )
    sources = [
        *(runtime / "src").glob("*.c"),
        *(runtime / "src/drivers").glob("*.c"),
        *(runtime / "src/tools").glob("*.c"),
    ]
    flags = ["-std=c11", "-O2", "-static", "-pthread", "-D_POSIX_C_SOURCE=200809L", '-DHR_VERSION_TEXT="test"']
    includes = [f"-I{runtime / 'include'}", f"-I{runtime / 'src'}"]
    program = folder / "headrace-run"
    subprocess.run([gcc, *flags, *includes, table, *sorted(sources), "-o", program], check=True, timeout=120)
    return [qemu, "-cpu", "cortex-a53", str(program)]
