"""The demo's model is small, keeps its BatchNorms for the compiler, and reads images that it never saw."""

import numpy as np
import onnx
import onnxruntime

from headrace.compiler import demo_data


def test_model_is_as_exported() -> None:
    model = onnx.load(demo_data.model_path())
    assert demo_data.model_path().stat().st_size < 200_000
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    kinds = [node.op_type for node in model.graph.node]
    block = ["Conv", "BatchNormalization", "Relu", "MaxPool"]
    assert kinds == [*block, *block, "Flatten", "Gemm", "Softmax"]
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", 1, 8, 8)
    ]


def test_images_are_raw_pixels_of_all_digits() -> None:
    images, labels = demo_data.held_back()
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (449, 8, 8)
    assert (int(images.min()), int(images.max())) == (0, 16)
    assert labels.shape == (449,)
    assert np.bincount(labels).min() > 30
    prepared = demo_data.preprocess(images)
    assert prepared.dtype == np.float32
    assert prepared.shape == (449, 1, 8, 8)
    assert (float(prepared.min()), float(prepared.max())) == (0.0, 1.0)


def test_accuracy_on_held_back_images() -> None:
    images, labels = demo_data.held_back()
    session = onnxruntime.InferenceSession(demo_data.model_path(), providers=["CPUExecutionProvider"])
    probabilities = session.run(None, {"image": demo_data.preprocess(images)})[0]
    assert (probabilities.argmax(1) == labels).mean() >= 0.96
