"""What `headrace demo` shows: a trained model and images that it never saw, read from files beside this one.

    digits.onnx      image f32[batch,1,8,8] -> probabilities f32[batch,10]; 26 kB, opset 17
    held_back.npz    images u8[449,8,8] (pixels from 0 to 16) and labels u8[449]

examples/digits/train.py wrote both and tells how the images were held back.  LICENSE-DATA says where the
images come from and on what terms they are passed on.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

_FOLDER = Path(__file__).parent


def model_path() -> Path:
    """The ONNX file, as it was trained: its BatchNormalizations are still nodes of their own."""
    return _FOLDER / "digits.onnx"


def held_back() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The held-back images, u8[449,8,8], and the digit that each shows, u8[449]."""
    with np.load(_FOLDER / "held_back.npz") as arrays:
        return arrays["images"], arrays["labels"]


def preprocess(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the model wants for its input `image`: pixels from 0 to 16 become f32[n,1,8,8] from 0 to 1."""
    return images[:, np.newaxis].astype(np.float32) / np.float32(16)
