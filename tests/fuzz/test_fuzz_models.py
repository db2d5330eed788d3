"""Damaged ONNX models on the command line, a few hundred; `fuzz_models.py` tries as many as one likes."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import fuzz_models


def test_each_compiles_or_is_refused_in_good_order(tmp_path: Path) -> None:
    # In a process of its own, whose memory counts from its start.
    with get_context("spawn").Pool(1) as pool:
        outcome = pool.apply(fuzz_models.try_numbers, (fuzz_models.small_models(), 1, range(400), tmp_path))
    assert outcome.findings == []
    assert 20 < outcome.compiled < 200, "hardly any model was damaged, or hardly any can still be compiled"
