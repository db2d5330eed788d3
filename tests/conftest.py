"""What all tests share: how hypothesis draws, missing outside tools, and `.hir` files as tests."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples every time, so that a failure on one machine is a failure on all, and no time limit for
# one example, since machines are shared.  `--hypothesis-profile=default` searches at random.
settings.register_profile("headrace", deadline=None, derandomize=True)
settings.load_profile("headrace")


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """`require_tool("qemu-aarch64-static")`: the tool's path.

    Without the tool the test is skipped; where HEADRACE_REQUIRE_TOOLS=1 says that all tools are installed,
    as .ci/run does, it fails.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and os.environ.get("HEADRACE_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is not on PATH, and HEADRACE_REQUIRE_TOOLS is 1")
        if path is None:
            pytest.skip(f"{name} is not on PATH")
        return path

    return find


@pytest.fixture(scope="session")
def opencl() -> Any:
    """PoCL's device, an `opencl_device.OpenCL`.

    Without it the test is skipped; where HEADRACE_REQUIRE_TOOLS=1 says that all tools are installed, it fails.
    """
    from opencl_device import Missing, OpenCL  # imported late: it imports the compiler

    try:
        return OpenCL()
    except Missing as error:
        if os.environ.get("HEADRACE_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{error}, and HEADRACE_REQUIRE_TOOLS is 1")
        pytest.skip(str(error))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A `.hir` file is a test; see hir/hir_runner.py."""
    if file_path.suffix != ".hir":
        return None
    from hir_runner import HirFile  # imported late: tests without .hir files need none of what it imports

    return HirFile.from_parent(parent, path=file_path)
