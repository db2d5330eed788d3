"""Damaged artefacts under sanitizers, a few thousand; `fuzz_artefacts.py` runs as many as one likes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import fuzz_artefacts
import pytest

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the artefacts are for x86-64")


def test_none_is_accepted_or_does_harm(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    require_tool("gcc")
    program, paths = fuzz_artefacts.build(tmp_path), fuzz_artefacts.make_models(tmp_path)
    for kind, least in (("damage", 1), ("forge", 500), ("table", 500)):
        done = fuzz_artefacts.run(program, kind, 1, 0, 3000, paths)
        assert done.returncode == 0, done.stderr + done.stdout
        ran = int(done.stdout.partition("runs: ")[2].partition(",")[0])
        assert ran >= least, "too few get as far as a run for this to say anything"
