"""Train the model of `headrace demo`: images of handwritten digits go in, digits.onnx and held_back.npz come out.

    pip install '.[test]'                # scikit-learn for the images, ONNX Runtime for the check
    python examples/digits/train.py      # ten seconds on one core

The data are scikit-learn's digits: 1797 images of 8 by 8 pixels, each pixel from 0 to 16.  A quarter of them,
drawn with a fixed seed, is held back: it is neither trained on nor looked at to choose anything, neither
the network nor when to stop.  The one number that is taken from it is the accuracy printed at the end.
The images do not say who wrote them, so the same hand may occur on both sides.

The network is written out here in numpy, forward and backward, so that nothing about it is hidden:

    image f32[batch,1,8,8]
      -> Conv 3x3, 16 -> BatchNorm -> Relu -> MaxPool 2x2
      -> Conv 3x3, 32 -> BatchNorm -> Relu -> MaxPool 2x2
      -> Flatten -> Gemm -> Softmax -> probabilities f32[batch,10]

The ONNX file keeps the BatchNorms as nodes of their own, as a training framework exports them; to fold them
into the convolutions is the compiler's work.  Before anything is written, ONNX Runtime has to agree with
the forward pass below.  The last bits of the weights, and so the bytes of digits.onnx, depend on the
machine and its number of threads, since the sums are numpy's; the split does not.
"""

import argparse
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from headrace.compiler.demo_data import preprocess

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

SEED = 0
HELD_BACK = 449  # a quarter of 1797
EPOCHS = 40
BATCH = 32
LEARNING_RATE = 3e-3
EPSILON = 1e-5
MOMENTUM = 0.9
DEMO_DATA = Path(__file__).resolve().parents[2] / "compiler" / "demo_data"


def load_data() -> tuple[Bytes, Bytes]:
    """All images, uint8[1797,8,8], and the digit that each shows, uint8[1797]."""
    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)


def split() -> tuple[Indices, Indices]:
    """The indices to train on and those held back.  RandomState's stream is frozen: every numpy draws the same."""
    order = np.random.RandomState(SEED).permutation(1797).astype(np.int64)
    return np.sort(order[HELD_BACK:]), np.sort(order[:HELD_BACK])


class Parameter:
    """A trained tensor with its gradient and the two running means of Adam."""

    def __init__(self, value: npt.NDArray[np.float64] | Floats) -> None:
        self.value: Floats = value.astype(np.float32)
        self.gradient = np.zeros_like(self.value)
        self._mean = np.zeros_like(self.value)
        self._square = np.zeros_like(self.value)

    def step(self, rate: float, time: int) -> None:
        """One step of Adam."""
        self._mean += 0.1 * (self.gradient - self._mean)
        self._square += 0.001 * (self.gradient**2 - self._square)
        mean = self._mean / (1 - 0.9**time)
        square = self._square / (1 - 0.999**time)
        self.value -= (rate * mean / (np.sqrt(square) + 1e-8)).astype(np.float32)


class Layer(Protocol):
    """forward keeps what backward needs; backward takes the loss's gradient by the output, gives that by the input."""

    def parameters(self) -> list[Parameter]: ...

    def forward(self, x: Floats, training: bool) -> Floats: ...

    def backward(self, gradient: Floats) -> Floats: ...


class Conv:
    """3x3, padding 1, no bias: the BatchNorm behind it has one."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        self.weight = Parameter(random.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, inputs, 3, 3)))

    def parameters(self) -> list[Parameter]:
        return [self.weight]

    def forward(self, x: Floats, training: bool) -> Floats:
        self._windows = _windows(x)
        y: Floats = np.einsum("nchwij,ocij->nohw", self._windows, self.weight.value, optimize=True)
        return y

    def backward(self, gradient: Floats) -> Floats:
        self.weight.gradient = np.einsum("nohw,nchwij->ocij", gradient, self._windows, optimize=True)
        turned = self.weight.value[:, :, ::-1, ::-1]
        below: Floats = np.einsum("nohwij,ocij->nchw", _windows(gradient), turned, optimize=True)
        return below


def _windows(x: Floats) -> Floats:
    """[n,c,h,w] -> the 3x3 neighbourhood of every pixel, [n,c,h,w,3,3]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))


class BatchNorm:
    """Normalises each channel: by the batch's own statistics in training, by their running means afterwards."""

    def __init__(self, channels: int) -> None:
        self.scale = Parameter(np.ones(channels))
        self.bias = Parameter(np.zeros(channels))
        self.mean = np.zeros(channels, np.float32)
        self.variance = np.ones(channels, np.float32)

    def parameters(self) -> list[Parameter]:
        return [self.scale, self.bias]

    def forward(self, x: Floats, training: bool) -> Floats:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * mean
            self.variance = MOMENTUM * self.variance + (1 - MOMENTUM) * variance
        self._deviation = _by_channel(np.sqrt(variance + np.float32(EPSILON)))
        self._normal = (x - _by_channel(mean)) / self._deviation
        return self._normal * _by_channel(self.scale.value) + _by_channel(self.bias.value)

    def backward(self, gradient: Floats) -> Floats:
        self.bias.gradient = gradient.sum((0, 2, 3))
        self.scale.gradient = (gradient * self._normal).sum((0, 2, 3))
        count = gradient.size // gradient.shape[1]
        # The batch's mean and deviation depend on x too: that is what the two terms take off.
        by_mean = _by_channel(self.bias.gradient / count)
        by_deviation = self._normal * _by_channel(self.scale.gradient / count)
        return _by_channel(self.scale.value) / self._deviation * (gradient - by_mean - by_deviation)


def _by_channel(values: Floats) -> Floats:
    return values[np.newaxis, :, np.newaxis, np.newaxis]


class ReluMaxPool:
    """Relu, then the largest of each 2x2 block."""

    def parameters(self) -> list[Parameter]:
        return []

    def forward(self, x: Floats, training: bool) -> Floats:
        n, c, h, w = x.shape
        blocks = np.maximum(x, 0).reshape(n, c, h // 2, 2, w // 2, 2)
        largest: Floats = blocks.max((3, 5), keepdims=True)
        self._winners = (blocks == largest) & (blocks > 0)
        return largest[:, :, :, 0, :, 0]

    def backward(self, gradient: Floats) -> Floats:
        n, c, h, w = gradient.shape
        spread: Floats = self._winners * gradient[:, :, :, np.newaxis, :, np.newaxis]
        return spread.reshape(n, c, 2 * h, 2 * w)


class FlattenGemm:
    """Flatten, then a matrix product and a bias."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        self.weight = Parameter(random.normal(0, np.sqrt(1 / inputs), (outputs, inputs)))
        self.bias = Parameter(np.zeros(outputs))

    def parameters(self) -> list[Parameter]:
        return [self.weight, self.bias]

    def forward(self, x: Floats, training: bool) -> Floats:
        self._shape = x.shape
        self._rows = x.reshape(len(x), -1)
        return self._rows @ self.weight.value.T + self.bias.value

    def backward(self, gradient: Floats) -> Floats:
        self.weight.gradient = gradient.T @ self._rows
        self.bias.gradient = gradient.sum(0)
        return (gradient @ self.weight.value).reshape(self._shape)


class Network:
    """The layers in order; softmax is the last step of both the loss and the prediction."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.conv1, self.norm1 = Conv(1, 16, random), BatchNorm(16)
        self.conv2, self.norm2 = Conv(16, 32, random), BatchNorm(32)
        self.dense = FlattenGemm(2 * 2 * 32, 10, random)
        first: list[Layer] = [self.conv1, self.norm1, ReluMaxPool()]
        second: list[Layer] = [self.conv2, self.norm2, ReluMaxPool()]
        self.layers = [*first, *second, self.dense]
        self.parameters = [parameter for layer in self.layers for parameter in layer.parameters()]

    def forward(self, x: Floats, training: bool = False) -> Floats:
        for layer in self.layers:
            x = layer.forward(x, training)
        powers: Floats = np.exp(x - x.max(1, keepdims=True))
        probabilities: Floats = powers / powers.sum(1, keepdims=True)
        return probabilities

    def backward(self, gradient: Floats) -> None:
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)


def train(images: Bytes, labels: Bytes, epochs: int) -> Network:
    """Adam on the cross entropy; the images are moved by up to one pixel, anew each epoch."""
    network = Network(SEED)
    random = np.random.default_rng(SEED + 1)
    wanted = np.eye(10, dtype=np.float32)[labels]
    time, steps = 0, epochs * -(-len(images) // BATCH)
    for epoch in range(epochs):
        x = preprocess(_moved(images, random))
        order = random.permutation(len(x))
        loss = 0.0
        for batch in np.array_split(order, -(-len(x) // BATCH)):
            probabilities = network.forward(x[batch], training=True)
            loss -= float(np.log((probabilities * wanted[batch]).sum(1)).sum())
            network.backward((probabilities - wanted[batch]) / np.float32(len(batch)))
            rate = LEARNING_RATE * 0.5 * (1 + float(np.cos(np.pi * time / steps)))
            time += 1
            for parameter in network.parameters:
                parameter.step(rate, time)
        print(f"epoch {epoch + 1:2} of {epochs}: loss {loss / len(x):.4f}", flush=True)
    return network


def _moved(images: Bytes, random: np.random.Generator) -> Bytes:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corners = random.integers(0, 3, (len(images), 2))
    return np.stack([image[y : y + 8, x : x + 8] for image, (y, x) in zip(padded, corners, strict=True)])


def to_onnx(network: Network) -> onnx.ModelProto:
    """The trained network as an ONNX model, opset 17, with a symbolic batch."""
    values: dict[str, Floats] = {}
    nodes: list[onnx.NodeProto] = []
    at = "image"
    blocks = [("1", network.conv1, network.norm1), ("2", network.conv2, network.norm2)]
    for number, conv, norm in blocks:
        conv_name, norm_name, relu_name, pool_name = (f"{kind}{number}" for kind in ("conv", "norm", "relu", "pool"))
        values[f"{conv_name}.weight"] = conv.weight.value
        values[f"{norm_name}.scale"] = norm.scale.value
        values[f"{norm_name}.bias"] = norm.bias.value
        values[f"{norm_name}.mean"] = norm.mean
        values[f"{norm_name}.variance"] = norm.variance
        norm_inputs = [conv_name, *(f"{norm_name}.{part}" for part in ("scale", "bias", "mean", "variance"))]
        nodes += [
            helper.make_node(
                "Conv", [at, f"{conv_name}.weight"], [conv_name], conv_name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
            ),
            helper.make_node("BatchNormalization", norm_inputs, [norm_name], norm_name, epsilon=EPSILON),
            helper.make_node("Relu", [norm_name], [relu_name], relu_name),
            helper.make_node("MaxPool", [relu_name], [pool_name], pool_name, kernel_shape=[2, 2], strides=[2, 2]),
        ]
        at = pool_name
    values["dense.weight"], values["dense.bias"] = network.dense.weight.value, network.dense.bias.value
    nodes += [
        helper.make_node("Flatten", [at], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["dense"], "dense", transB=1),
        helper.make_node("Softmax", ["dense"], ["probabilities"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="headrace examples/digits",
        doc_string="handwritten digits, 8 by 8 pixels from 0 to 1, to the probabilities of 0 to 9",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def predict(model: onnx.ModelProto, images: Bytes) -> Floats:
    """The probabilities that ONNX Runtime computes, f32[n,10]."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    probabilities: Floats = session.run(None, {"image": preprocess(images)})[0]
    return probabilities


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the model of `headrace demo` on scikit-learn's digits.")
    parser.add_argument("--output", type=Path, default=DEMO_DATA, help="folder to write to (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="times over the data (default: %(default)s)")
    arguments = parser.parse_args()

    images, labels = load_data()
    training, held_back = split()
    network = train(images[training], labels[training], arguments.epochs)
    model = to_onnx(network)
    difference = float(np.abs(predict(model, images) - network.forward(preprocess(images))).max())
    if difference > 1e-5:
        raise SystemExit(f"digits.onnx: ONNX Runtime differs from the trained network by {difference:.1e}")
    right = predict(model, images[held_back]).argmax(1) == labels[held_back]

    onnx.save(model, arguments.output / "digits.onnx")
    np.savez_compressed(arguments.output / "held_back.npz", images=images[held_back], labels=labels[held_back])
    print(f"largest difference from ONNX Runtime: {difference:.1e}")
    print(f"accuracy on held-back images: {100 * right.mean():.1f} % of {len(right)}")


if __name__ == "__main__":
    main()
