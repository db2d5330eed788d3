"""The images that ship are those held back by the script, and the script trains what it says."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

from headrace.compiler import demo_data

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "digits" / "train.py"


def test_shipped_images_are_the_held_back_ones() -> None:
    train = runpy.run_path(str(SCRIPT))
    images, labels = train["load_data"]()
    training, held_back = train["split"]()
    assert sorted([*training, *held_back]) == list(range(1797))
    shipped_images, shipped_labels = demo_data.held_back()
    assert np.array_equal(shipped_images, images[held_back])
    assert np.array_equal(shipped_labels, labels[held_back])
    # No held-back image is trained on under another index.
    assert not {image.tobytes() for image in images[training]} & {image.tobytes() for image in shipped_images}


def test_short_training_exports_a_working_model(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--epochs", "8", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    last = result.stdout.splitlines()[-1]
    assert last.startswith("accuracy on held-back images: ")
    assert float(last.split()[4]) > 90
    written, shipped = onnx.load(tmp_path / "digits.onnx"), onnx.load(demo_data.model_path())
    assert [node.name for node in written.graph.node] == [node.name for node in shipped.graph.node]
    with np.load(tmp_path / "held_back.npz") as arrays:
        assert np.array_equal(arrays["images"], demo_data.held_back()[0])
