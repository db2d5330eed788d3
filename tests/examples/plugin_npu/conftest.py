"""The NPU's package is installed once."""

from collections.abc import Callable

import pytest
from npu_plugin import Installed, copy_plugin, install


@pytest.fixture(scope="session")
def npu(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Installed:
    require_tool("cc")
    folder = tmp_path_factory.mktemp("npu")
    return install(copy_plugin(folder), folder / "site")
