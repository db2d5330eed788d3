"""The package of examples/plugin-npu, installed by pip into a folder of its own.  In: a folder.  Out: commands with it.

Nothing is downloaded: pip gets neither an index nor a build environment, as on a machine without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples/plugin-npu"
OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")


@dataclass(frozen=True)
class Installed:
    """Runs commands that find the package in `site`, beside the Headrace of these tests."""

    site: Path

    @property
    def driver(self) -> Path:
        return self.site / "headrace_npu/libnpu.so"

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS`."""
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=240, check=False)

    def headrace(self, *arguments: object) -> str:
        """What `headrace ARGUMENTS` says; it has to succeed."""
        done = self.run("-m", "headrace", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def refused(self, *arguments: object) -> str:
        """The line with which `headrace ARGUMENTS` ends; it has to fail."""
        done = self.run("-m", "headrace", *arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr.strip().splitlines()[-1]


def copy_plugin(folder: Path) -> Path:
    """The package's sources, for a change or for pip, which would leave files beside them."""
    return Path(shutil.copytree(PLUGIN, folder / "plugin-npu", ignore=shutil.ignore_patterns("__pycache__")))


def install(source: Path, folder: Path) -> Installed:
    """By pip, from a folder."""
    command = [sys.executable, "-m", "pip", "install", *OFFLINE, "--target", folder, source]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Installed(folder)
