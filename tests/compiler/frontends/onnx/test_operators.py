"""One-node models against ONNX Runtime, over opsets, with fixed and with symbolic dims."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from operators_page import allowed_types, element_types

from headrace.ir.errors import ModelError, UnsupportedModelError
from headrace.ir.types import DTYPES, DType

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """A node: its inputs that vary, those that are constants of the model, its attributes, and opsets to try."""

    op_type: str
    inputs: list[Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opsets: tuple[int, ...] = (13, 17)
    constants: dict[int, Array] = field(default_factory=dict)
    outputs: int = 1
    symbolic: bool = True  # whether its dims may be symbols

    def __str__(self) -> str:
        return f"{self.op_type}-{'-'.join(self.attributes)}-{len(self.inputs)}"


def f32(*shape: int, low: float = -2.0) -> Array:
    return RNG.uniform(low, 2, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


ODD = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, 1.5, 2.5, -0.5, -1.5, 3.7, -3.7, 1e30], np.float32)
WHOLE = np.array([[7, -7, 5, 0], [-8, 8, 3, 1]], np.int32)
BOOLS = np.array([True, False, True]), np.array([[True], [False]])


def unary() -> Iterator[Case]:
    for name in ("Relu", "Exp", "Tanh", "Sigmoid", "Neg", "Abs", "Floor", "Ceil", "Reciprocal", "Identity"):
        yield Case(name, [ODD], opsets=(7, 13))
    for name in ("Sqrt", "Log"):
        yield Case(name, [ODD], opsets=(7, 13))
    yield Case("Erf", [ODD], opsets=(9, 13))
    yield Case("Round", [ODD], opsets=(11,))
    yield Case("Neg", [WHOLE])
    yield Case("Abs", [WHOLE])
    yield Case("LeakyRelu", [f32(2, 3)], {"alpha": 0.2}, (7, 16))
    yield Case("LeakyRelu", [f32(2, 3)], {}, (7, 16))
    for name in ("Elu", "Selu", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Celu", "ThresholdedRelu"):
        yield Case(name, [f32(3, 4)], opsets=(22,))
    for approximate in ("none", "tanh"):
        yield Case("Gelu", [f32(3, 4)], {"approximate": approximate}, (20,))
    yield Case("Dropout", [f32(2, 2)], {}, (7, 12, 13))
    yield Case("Not", [BOOLS[0]])


def binary() -> Iterator[Case]:
    for name in ("Add", "Sub", "Mul", "Div"):
        yield Case(name, [f32(2, 1, 4), f32(3, 1)], opsets=(7, 14))
        yield Case(name, [WHOLE, np.array([[2, -2, 3, 3], [3, 3, -2, 5]], np.int32)], opsets=(7, 14))
    for name in ("Min", "Max", "Sum", "Mean"):
        yield Case(name, [f32(2, 3), f32(3), f32(1, 3)], opsets=(8, 13))
        yield Case(name, [f32(2, 3)], opsets=(8, 13))
    for name in ("Less", "Greater", "Equal"):
        yield Case(name, [f32(2, 3), f32(3)], opsets=(11, 13))
        yield Case(name, [WHOLE, WHOLE[::-1]], opsets=(11, 13))
    for name in ("LessOrEqual", "GreaterOrEqual"):
        yield Case(name, [WHOLE, WHOLE[::-1]], opsets=(12, 16))
    yield Case("Equal", [BOOLS[0], BOOLS[1]])
    for name in ("And", "Or", "Xor"):
        yield Case(name, list(BOOLS), opsets=(7, 13))
    yield Case("Where", [BOOLS[1], f32(2, 3), f32(3)], opsets=(9, 16))
    for exponent in (2.0, 3.0, -1.0, -2.0, 0.5, 0.0, 1.7):
        yield Case("Pow", [f32(2, 3, low=0.1), None], {}, (7, 13), {1: np.array(exponent, np.float32)})
    yield Case("Pow", [np.array([-2, -2, -8, 0, 0, 1, 4], np.float32), np.array([2, 3, 0.5, 2, 0, 9, 0.5], np.float32)])
    yield Case("Pow", [WHOLE, None], {}, (13,), {1: np.array(3, np.int64)})
    yield Case("Mod", [WHOLE, np.array([3, -3, 4, 5], np.int32)])
    yield Case("Mod", [WHOLE, np.array([3, -3, 4, 5], np.int32)], {"fmod": 1})


def types() -> Iterator[Case]:
    yield Case("Cast", [ODD[5:-1]], {"to": TensorProto.INT32}, (9, 13))
    yield Case("Cast", [WHOLE], {"to": TensorProto.FLOAT}, (9, 13))
    yield Case("Cast", [WHOLE], {"to": TensorProto.BOOL}, (9, 13))
    yield Case("Cast", [BOOLS[1]], {"to": TensorProto.INT64}, (9, 13))
    yield Case("Clip", [f32(3, 4)], {"min": -0.5, "max": 0.75}, (7, 10))
    yield Case("Clip", [f32(3, 4), None, None], {}, (11, 13), {1: np.float32(-0.5), 2: np.float32(0.75)})
    yield Case("Clip", [f32(3, 4), None, None], {}, (11, 13), {2: np.float32(0.75)})
    yield Case("Clip", [f32(3, 4), np.float32(-0.5)], {}, (11, 13))


def contractions() -> Iterator[Case]:
    yield Case("MatMul", [f32(2, 3), f32(3, 4)], opsets=(7, 13))
    yield Case("MatMul", [f32(2, 1, 2, 3), f32(4, 3, 5)])
    yield Case("MatMul", [f32(3), f32(3)])
    yield Case("MatMul", [f32(2, 2, 3), f32(3)])
    for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
        first, second = (f32(3, 2) if a else f32(2, 3)), (f32(4, 3) if b else f32(3, 4))
        yield Case("Gemm", [first, second, f32(4)], {"transA": a, "transB": b, "alpha": 0.5, "beta": 2.0}, (7, 13))
    yield Case("Gemm", [f32(2, 3), f32(3, 4)], {}, (11, 13))
    yield Case("Conv", [f32(2, 3, 9), f32(4, 3, 3), f32(4)], {"pads": [1, 2]}, (7, 11))
    yield Case("Conv", [f32(1, 4, 7, 8), f32(6, 2, 3, 2)], {"group": 2, "strides": [2, 1], "dilations": [1, 2]})
    yield Case("Conv", [f32(1, 3, 5, 5), f32(3, 1, 3, 3), f32(3)], {"group": 3, "pads": [1, 0, 2, 1]})
    yield Case("Conv", [f32(1, 2, 4, 5, 6), f32(3, 2, 2, 3, 2)], {"strides": [1, 2, 2]})
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("Conv", [f32(1, 2, 6, 7), f32(2, 2, 3, 2)], {"auto_pad": auto, "strides": [2, 3]})


def transposed() -> Iterator[Case]:
    name = "ConvTranspose"
    yield Case(name, [f32(2, 3, 5), f32(3, 4, 3), f32(4)], {"pads": [1, 0]}, (7, 11))
    yield Case(name, [f32(1, 3, 4, 5), f32(3, 2, 2, 2), f32(2)], {"strides": [2, 2]})
    yield Case(name, [f32(1, 3, 4, 5), f32(3, 2, 3, 4)], {"strides": [2, 3], "pads": [1, 0, 1, 2]})
    spread = {"strides": [3, 2], "dilations": [2, 2], "output_padding": [2, 1], "group": 2}
    yield Case(name, [f32(1, 4, 4, 5), f32(4, 3, 3, 2), f32(6)], spread)
    yield Case(name, [f32(1, 2, 3, 3, 2), f32(2, 1, 2, 3, 2)], {"strides": [1, 2, 2], "dilations": [2, 1, 1]})
    yield Case(name, [f32(1, 2, 3, 4), f32(2, 1, 3, 3)], {"strides": [3, 2], "output_shape": [9, 8]}, symbolic=False)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case(name, [f32(1, 2, 6, 7), f32(2, 2, 4, 3)], {"auto_pad": auto, "strides": [2, 2]})


def windows() -> Iterator[Case]:
    for name, since in (("MaxPool", 8), ("AveragePool", 7)):
        yield Case(name, [f32(1, 2, 6, 7)], {"kernel_shape": [2, 3], "strides": [2, 2]}, (since, 12))
        yield Case(name, [f32(1, 2, 6, 7)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 0]}, (since, 12))
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            attributes = {"kernel_shape": [3, 2], "auto_pad": auto, "strides": [2, 2]}
            yield Case(name, [f32(1, 2, 6, 7)], attributes, (since, 12))
        for extent in range(5, 9):
            attributes = {"kernel_shape": [3], "strides": [3], "ceil_mode": 1, "pads": [1, 1]}
            yield Case(name, [f32(1, 2, extent)], attributes, (10, 19))
        yield Case(name, [f32(1, 1, 4, 4, 4)], {"kernel_shape": [2, 2, 2]}, (since,))
    yield Case("MaxPool", [f32(1, 1, 8, 8)], {"kernel_shape": [2, 2], "dilations": [2, 3]}, (10, 12))
    yield Case("AveragePool", [f32(1, 1, 8, 8)], {"kernel_shape": [2, 2], "dilations": [2, 3]}, (19,))
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    yield Case("AveragePool", [f32(1, 2, 6, 7)], padded, (7, 19))
    yield Case("AveragePool", [f32(1, 2, 6, 7)], padded | {"ceil_mode": 1, "strides": [2, 2]}, (19,))
    yield Case("GlobalAveragePool", [f32(2, 3, 4, 5)], opsets=(7, 13))
    yield Case("GlobalMaxPool", [f32(2, 3, 4)], opsets=(7, 13))


def reductions() -> Iterator[Case]:
    for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
        yield Case(name, [f32(2, 3, 4)], {}, (7, 12))
        yield Case(name, [f32(2, 3, 4)], {"axes": [-1, 0], "keepdims": 0}, (11, 12))
        yield Case(name, [f32(2, 3, 4), None], {"keepdims": 0}, (18,), {1: ints(1)})
        yield Case(name, [f32(2, 3, 4)], {"noop_with_empty_axes": 1}, (18,))
    yield Case("ReduceSum", [f32(2, 3, 4), None], {}, (13,), {1: ints(-2)})
    yield Case("ReduceMax", [WHOLE], {"axes": [1]}, (12,))
    for name in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"):
        yield Case(name, [f32(2, 3, low=0.5), None], {}, (18,), {1: ints(1)})
    for name in ("Softmax", "LogSoftmax"):
        for axis in (0, 1, 2, -1):
            yield Case(name, [f32(2, 3, 4)], {"axis": axis}, (11, 13))
        yield Case(name, [f32(2, 3, 4)], {}, (7, 13))
    statistics = [f32(3), f32(3), f32(3), f32(3, low=0.2)]
    yield Case("BatchNormalization", [f32(2, 3, 4, 5), *statistics], {"epsilon": 0.01}, (9, 15))
    yield Case("BatchNormalization", [f32(2, 3), *statistics], {}, (9, 15))
    yield Case("LayerNormalization", [f32(2, 3, 4), f32(4), f32(4)], {}, (17,))
    yield Case("LayerNormalization", [f32(2, 3, 4), f32(3, 4)], {"axis": 1, "epsilon": 0.1}, (17,))


def movements() -> Iterator[Case]:
    yield Case("Transpose", [f32(2, 3, 4)], {"perm": [2, 0, 1]}, (7, 13))
    yield Case("Transpose", [f32(2, 3, 4)], {}, (7, 13))
    for dims in ((6, 4), (-1,), (0, -1), (2, 3, 2, 2), (0, 0, 0), (4, 3, 2)):
        yield Case("Reshape", [f32(2, 3, 4), None], {}, (7, 13), {1: ints(*dims)})
        yield Case("Reshape", [f32(2, 3, 4), ints(*dims)])
    for axis in (0, 1, 2, 3):
        yield Case("Flatten", [f32(2, 3, 4)], {"axis": axis}, (9, 13))
    yield Case("Flatten", [f32(2, 3, 4)], {"axis": -1}, (11, 13))
    yield Case("Squeeze", [f32(1, 3, 1)], {"axes": [0, 2]}, (7, 11))
    yield Case("Squeeze", [f32(1, 3, 1), None], {}, (13,), {1: ints(-1)})
    yield Case("Unsqueeze", [f32(3)], {"axes": [0, 2]}, (7, 11))
    yield Case("Unsqueeze", [f32(3), None], {}, (13,), {1: ints(-1, 0)})
    for dims in ((2, 3, 4), (4,), (3, 1), (5, 1, 3, 4)):
        yield Case("Expand", [f32(3, 1), None], {}, (8, 13), {1: ints(*dims)})
        yield Case("Expand", [f32(3, 1), ints(*dims)])
    yield Case("Slice", [f32(5, 6)], {"starts": [1, -3], "ends": [99, -1]}, (7, 9))
    for start, end, step in ((0, 5, 2), (-1, -99, -1), (4, 0, -2), (1, 2**63 - 1, 1), (3, 3, 1), (-99, 99, 3)):
        constants = {1: ints(start), 2: ints(end), 3: ints(1), 4: ints(step)}
        yield Case("Slice", [f32(3, 5), None, None, None, None], {}, (10, 13), constants)
    yield Case("Concat", [f32(2, 3), f32(2, 1), f32(2, 4)], {"axis": -1}, (11, 13))
    yield Case("Split", [f32(6, 3)], {"axis": 0}, (7, 11), outputs=3)
    yield Case("Split", [f32(6, 3)], {"split": [1, 5]}, (7, 11), outputs=2)
    yield Case("Split", [f32(6, 3), None], {}, (13,), {1: ints(2, 4)}, outputs=2)
    yield Case("Split", [f32(7, 3)], {"num_outputs": 3}, (18,), outputs=3)
    yield Case("Pad", [f32(2, 3)], {"pads": [1, 0, 2, 3], "value": 1.5}, (7, 10))
    yield Case("Pad", [f32(2, 3), None, None], {}, (11, 13), {1: ints(1, 0, 2, 3), 2: np.float32(-1)})
    yield Case("Pad", [f32(4, 3), None], {}, (11, 13), {1: ints(-1, 0, -2, 1)})
    for indices in (np.array(1), ints(0, 2), ints(2, 0, 0), ints(-1, 1), np.array([[0, 1], [2, 3]])):
        yield Case("Gather", [f32(2, 4), None], {"axis": 1}, (11, 13), {1: indices})
    yield Case("Shape", [f32(2, 3, 4)], {}, (7, 13))
    yield Case("Shape", [f32(2, 3, 4)], {"start": 1, "end": -1}, (15,))
    yield Case("Size", [f32(2, 3, 4)])
    yield Case("ConstantOfShape", [None], {"value": helper.make_tensor("v", TensorProto.INT64, [1], [3])}, (9, 13),
               {0: ints(2, 3)})  # fmt: skip
    yield Case("ConstantOfShape", [None], {}, (9,), {0: ints(2)})
    yield Case("Range", [None, None, None], {}, (11,), {0: np.array(2), 1: np.array(9), 2: np.array(3)})
    yield Case("Range", [None, None, None], {}, (11,), {i: np.float32(n) for i, n in enumerate((0.5, -2, -0.75))})


def grids() -> Iterator[Case]:
    nothing = np.zeros(0, np.float32)
    scales, half = np.array([1, 1, 2, 3], np.float32), np.array([1, 1, 0.625, 1.5], np.float32)
    for mode in ("nearest", "linear"):
        yield Case("Upsample", [f32(1, 2, 3, 4)], {"mode": mode, "scales": [1.0, 1.0, 2.0, 1.5]}, (7,))
        yield Case("Upsample", [f32(1, 2, 3, 4), None], {"mode": mode}, (9,), {1: scales})
        yield Case("Resize", [f32(1, 2, 3, 4), None], {"mode": mode}, (10,), {1: scales})
        yield Case("Resize", [f32(1, 2, 10, 4), None], {"mode": mode}, (10,), {1: half})
    places = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn")
    for place in places:
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            attributes = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
            opsets = (11,) if place == "tf_half_pixel_for_nn" else (11, 19)
            yield Case("Resize", [f32(1, 2, 10, 4), None, None], attributes, opsets, {1: nothing, 2: half})
            yield Case("Resize", [f32(1, 2, 3, 4), None, None], attributes, opsets, {1: nothing, 2: scales})
            yield Case(
                "Resize",
                [f32(1, 2, 3, 8), None, None, None],
                attributes,
                opsets,
                {1: nothing, 2: nothing, 3: ints(1, 2, 7, 4)},
            )
    for place in places[:4]:
        for attributes in (
            {"mode": "linear"},
            {"mode": "cubic", "cubic_coeff_a": -0.5},
            {"mode": "cubic", "exclude_outside": 1},
        ):
            attributes["coordinate_transformation_mode"] = place
            yield Case("Resize", [f32(1, 2, 3, 4), None, None], attributes, (11, 19), {1: nothing, 2: scales})
            yield Case(
                "Resize",
                [f32(1, 2, 3, 8), None, None, None],
                attributes,
                (13,),
                {1: nothing, 2: nothing, 3: ints(1, 2, 7, 4)},
            )
    for mode in ("nearest", "linear", "cubic"):
        region = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": mode, "extrapolation_value": 9.0}
        for roi in ((0, 0, 0.2, 0.5, 1, 1, 0.8, 1.5), (0, 0, -0.25, 0.5, 1, 1, 1.25, 0.5)):
            constants = {1: np.array(roi, np.float32), 2: nothing, 3: ints(1, 2, 5, 6)}
            yield Case("Resize", [f32(1, 2, 4, 5), None, None, None], region, (11, 18), constants)
        for keep in ("not_larger", "not_smaller"):
            policy = {"mode": mode, "axes": [3, 2], "keep_aspect_ratio_policy": keep}
            yield Case("Resize", [f32(1, 2, 6, 4), None, None, None], policy, (18,), {3: ints(8, 9)}, symbolic=False)
    for mode in ("linear", "cubic"):
        attributes = {"mode": mode, "antialias": 1, "exclude_outside": 1}
        yield Case("Resize", [f32(1, 2, 10, 8), None, None], attributes, (18,), {1: nothing, 2: half})
        yield Case(
            "Resize", [f32(1, 2, 9, 8), None, None, None], attributes, (18,), {3: ints(1, 2, 3, 8)}, symbolic=False
        )
    yield Case("Resize", [WHOLE.reshape(1, 1, 2, 4), None, None], {}, (13,), {1: nothing, 2: scales})
    for mode in ("edge", "reflect", "wrap"):
        opsets = (19,) if mode == "wrap" else (11, 18)
        yield Case("Pad", [f32(3, 4), None], {"mode": mode}, opsets, {1: ints(2, 0, 1, 3)})
        yield Case("Pad", [f32(3, 4), None], {"mode": mode}, opsets, {1: ints(-1, 1, 0, 1)})
    for mode in ("edge", "reflect"):
        yield Case("Pad", [f32(3, 4)], {"mode": mode, "pads": [2, 0, 1, 3]}, (7,))


def bits_and_angles() -> Iterator[Case]:
    for name in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh"):
        yield Case(name, [RNG.uniform(-0.9, 0.9, (3, 4)).astype(np.float32)], opsets=(9, 22))
    yield Case("Acosh", [f32(3, 4) + np.float32(3.5)], opsets=(9, 22))
    for name in ("IsNaN", "IsInf", "Sign"):
        yield Case(name, [ODD], opsets=(10, 20))
    yield Case("IsInf", [ODD], {"detect_negative": 0}, (10, 20))
    for direction in ("LEFT", "RIGHT"):
        shifted = np.array([[1, 2, 255], [7, 8, 129]], np.uint8), np.array([1, 7, 3], np.uint8)
        yield Case("BitShift", list(shifted), {"direction": direction}, (11,))
    yield Case("BitwiseNot", [WHOLE], opsets=(18,))
    for upper in (0, 1):
        yield Case("Trilu", [f32(2, 3, 4)], {"upper": upper}, (14,))
        yield Case("Trilu", [f32(3, 3), np.array(-1)], {"upper": upper}, (14,))
    yield Case("EyeLike", [f32(3, 4)], {"k": 1}, (9,))
    yield Case("Mod", [f32(3, 4), f32(4)], {"fmod": 1})
    yield Case("Pow", [WHOLE, np.array([[3, 2, 1, 0]], np.int32)], opsets=(13,))


def choices() -> Iterator[Case]:
    ties = np.array([[3, 1, 3, 0], [2, 2, 0, 0]], np.float32)
    for name in ("ArgMax", "ArgMin"):
        for attributes in ({"axis": 1}, {"axis": 0, "keepdims": 0}, {"axis": -1, "select_last_index": 1}):
            yield Case(name, [ties], attributes, (12, 13))
    for axis in (0, 1):
        yield Case("Hardmax", [ties], {"axis": axis}, (11, 13))
        yield Case("TopK", [ties, None], {"axis": axis}, (10, 11), {1: ints(2)}, outputs=2)
    yield Case("TopK", [ties, ints(3)], {"largest": 0}, (11,), outputs=2)
    yield Case("OneHot", [ints(1, -1, 3, 9), None, np.array([2, 5], np.float32)], {}, (9, 11), {1: np.array(4)})
    yield Case("OneHot", [np.array([[1, 0]]), np.array(3), np.array([0, 1])], {"axis": 1}, (11,))
    for attributes in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
        yield Case("CumSum", [f32(2, 3, 2), None], attributes, (11, 14), {1: np.array(1)})
    yield Case("CumSum", [f32(2, 3), np.array(-2)], {}, (14,))
    indices = np.array([[1, -1, 0], [0, 2, 2]])
    for reduction in ("none", "add", "mul"):
        distinct = np.array([[0], [3]])
        yield Case("ScatterElements", [f32(4, 3), indices, f32(2, 3)], {"reduction": reduction}, (16,))
        yield Case("ScatterND", [f32(4, 3), distinct, f32(2, 3)], {"reduction": reduction}, (16,), symbolic=False)
    yield Case("ScatterElements", [f32(2, 5), indices, f32(2, 3)], {"axis": -1}, (11, 13))
    yield Case("Scatter", [f32(2, 5), indices, f32(2, 3)], {"axis": 1}, (9,))
    yield Case("ReverseSequence", [f32(4, 3, 2), ints(1, 4, 3)], {}, (10,))
    equations = "ij,jk->ik", "bij,bjk", "ii->i", "ij->", "...ij->...ji", "i,j,k->kji", "ij,kj,k->i"
    dims = {"b": 2, "i": 3, "j": 4, "k": 2}
    for equation in equations:
        terms = equation.split("->")[0].replace("...", "b").split(",")
        yield Case("Einsum", [f32(*(dims[c] for c in t)) for t in terms], {"equation": equation}, (12,))


def samples_and_norms() -> Iterator[Case]:
    grid = RNG.uniform(-1.3, 1.3, (2, 4, 5, 2)).astype(np.float32)
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            attributes = {"mode": mode, "padding_mode": padding, "align_corners": int(padding == "border")}
            yield Case("GridSample", [f32(2, 3, 5, 6), grid], attributes, (16,))
    rois = np.array([[0, 0, 4, 5], [1, 2, 5, 3]], np.float32)
    for mode in ("avg", "max"):
        attributes = {"mode": mode, "sampling_ratio": 2, "output_height": 2, "output_width": 3}
        yield Case("RoiAlign", [f32(2, 3, 6, 7), rois, ints(1, 0)], attributes, (10, 16))
    yield Case("DFT", [f32(2, 6, 1)], {"axis": 1}, (17,), symbolic=False)
    yield Case("DFT", [f32(2, 5, 2)], {"axis": 1, "inverse": 1}, (17,), symbolic=False)
    yield Case("DFT", [f32(2, 6, 1)], {"axis": 1, "onesided": 1}, (17,), symbolic=False)
    frames = {1: np.int64(3), 3: np.int64(8)}
    yield Case("STFT", [f32(2, 20, 1), None, None, None], {}, (17,), frames, symbolic=False)
    yield Case("STFT", [f32(2, 20, 1), None, f32(8), None], {"onesided": 0}, (17,), frames, symbolic=False)
    grams: dict[str, Any] = {
        "ngram_counts": [0, 4], "ngram_indexes": [0, 6, 2, 3, 4, 5, 1], "pool_int64s": [2, 3, 5, 4, 5, 6, 7, 8, 6, 7],
    }  # fmt: skip
    grams |= {"min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 3}
    words = RNG.integers(2, 9, (3, 20))
    yield Case("TfIdfVectorizer", [words], grams | {"mode": "TF"}, (9,))
    yield Case("TfIdfVectorizer", [words[0]], grams | {"mode": "TF"}, (9,), symbolic=False)
    for mode in ("IDF", "TFIDF"):
        weighted = grams | {"mode": mode, "weights": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]}
        yield Case("TfIdfVectorizer", [words], weighted, (9,))
    for size in (1, 2, 3, 4):
        yield Case("Det", [f32(2, size, size)], {}, (11, 22), symbolic=False)
    offsets = [f32(1, 4, 5, 6), f32(6, 2, 2, 3), f32(1, 24, 4, 4), f32(6), f32(1, 12, 4, 4)]
    yield Case("DeformConv", offsets, {"group": 2, "offset_group": 2}, (19, 22), symbolic=False)
    strided = {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]}
    yield Case("DeformConv", [f32(2, 2, 5, 7), f32(3, 2, 2, 2), f32(2, 8, 3, 7)], strided, (19,), symbolic=False)
    yield Case("Col2Im", [f32(1, 8, 6), None, None], {}, (18,), {1: ints(3, 4), 2: ints(2, 2)}, symbolic=False)
    pads = {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "strides": [2, 1]}
    yield Case("LpPool", [f32(1, 2, 5, 6)], pads, (11, 18))
    yield Case("LpPool", [f32(1, 2, 5, 6)], pads | {"p": 1}, (11, 18))
    yield Case("GlobalLpPool", [f32(1, 2, 5, 6)], {}, (7,))
    yield Case("MaxPool", [f32(1, 2, 5, 6)], pads, (12,), outputs=2)
    yield Case("MaxPool", [f32(1, 2, 5, 6)], pads | {"storage_order": 1}, (12,), outputs=2)
    indices = np.array([[[[5, 7], [13, 15]]]])
    yield Case("MaxUnpool", [f32(1, 1, 2, 2), indices], {"kernel_shape": [2, 2], "strides": [2, 2]}, (11,))
    for p in (1, 2):
        yield Case("LpNormalization", [f32(2, 3, 4)], {"p": p, "axis": 1}, (7, 22))
    yield Case("LRN", [f32(2, 5, 3, 3)], {"size": 3, "alpha": 0.1, "beta": 0.5}, (13,))
    yield Case("InstanceNormalization", [f32(2, 3, 4, 5), f32(3), f32(3)], {"epsilon": 0.01}, (7, 22))


def integer_products() -> Iterator[Case]:
    def bytes_of(*shape: int, kind: type = np.uint8) -> Array:
        return RNG.integers(0, 120, shape).astype(kind)

    zero, scale = np.uint8(7), np.float32(0.02)
    yield Case("MatMulInteger", [bytes_of(3, 4), bytes_of(4, 5, kind=np.int8), zero, np.int8(3)], {}, (10,))
    yield Case("ConvInteger", [bytes_of(1, 2, 5, 5), bytes_of(3, 2, 3, 3), zero], {"pads": [1, 1, 1, 1]}, (10,))
    product = [bytes_of(3, 4), scale, zero, bytes_of(4, 5), scale, zero, np.float32(0.1), zero]
    yield Case("QLinearMatMul", product, {}, (10,))
    conv = [bytes_of(1, 2, 5, 5), scale, zero, bytes_of(3, 2, 3, 3), scale, zero, np.float32(0.3), zero]
    yield Case("QLinearConv", conv, {"pads": [1, 1, 1, 1]}, (10,))


GROUPS = (
    unary, binary, types, contractions, transposed, windows, reductions, movements, grids,
    bits_and_angles, choices, samples_and_norms, integer_products,
)  # fmt: skip
CASES = [(case, opset) for group in GROUPS for case in group() for opset in case.opsets]


def model_of(case: Case, opset: int, symbolic: bool) -> onnx.ModelProto:
    names = [f"x{i}" if a is not None or i in case.constants else "" for i, a in enumerate(case.inputs)]
    node = helper.make_node(case.op_type, names, [f"y{i}" for i in range(case.outputs)], "n", **case.attributes)
    inputs = []
    for name, array in zip(names, case.inputs, strict=True):
        if array is not None:
            # An operand of rank 1 may be a shape, whose length is the rank of a result.
            fixed = not symbolic or array.ndim < 2
            shape = array.shape if fixed else [f"{name}_{i}" for i in range(array.ndim)]
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    constants = [onnx.numpy_helper.from_array(np.asarray(a), f"x{i}") for i, a in case.constants.items()]
    graph = helper.make_graph([node], "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def fed(case: Case) -> dict[str, Array]:
    return {f"x{i}": np.asarray(a) for i, a in enumerate(case.inputs) if a is not None}


@pytest.mark.parametrize(("case", "opset"), CASES, ids=lambda v: str(v))
def test_as_onnxruntime(
    case: Case, opset: int, imported: Callable[..., Any], evaluate: Callable[..., list[Array]]
) -> None:
    model = onnx.shape_inference.infer_shapes(model_of(case, opset, symbolic=False))
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, fed(case))
    for symbolic in (False, True)[: 1 + case.symbolic]:
        found = evaluate(imported(model_of(case, opset, symbolic)), fed(case))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def _with_type(case: Case, opset: int, dtype: np.dtype[Any]) -> Case:
    """The case with another element type for the first operand and those that have to be like it."""
    schema = onnx.defs.get_schema(case.op_type, opset)
    like = schema.inputs[0].type_str
    floats = case.op_type == "BatchNormalization"  # whose types are three variables, of which any may differ

    def converted(number: int, array: Any) -> Any:
        if array is None:
            return None
        own = schema.inputs[min(number, len(schema.inputs) - 1)].type_str
        return np.nan_to_num(array).astype(dtype) if own == like or floats else array

    with np.errstate(all="ignore"):
        inputs = [converted(i, a) for i, a in enumerate(case.inputs)]
        return replace(case, inputs=inputs, constants={i: converted(i, a) for i, a in case.constants.items()})


@pytest.mark.parametrize("op_type", sorted({case.op_type for case, _ in CASES}))
def test_element_types(op_type: str, imported: Callable[..., Any]) -> None:
    """What docs/operators.md says: each is taken by one of the cases at least, and no other one that ONNX allows."""
    cases = [(case, opset) for case, opset in CASES if case.op_type == op_type]

    def accepted(case: Case, opset: int, dtype: DType) -> bool:
        try:
            imported(model_of(_with_type(case, opset, dtype.numpy), opset, symbolic=False))
        except (ModelError, UnsupportedModelError):
            return False
        return True

    allowed = element_types(op_type, less={})
    found = {name for name in allowed if any(accepted(*case, DTYPES[name]) for case in cases)}
    assert found <= element_types(op_type)
    # The page is about the newest opset; an older case has to do without the types that came later.
    newest = onnx.defs.get_schema(op_type, max(opset for _, opset in cases))
    assert element_types(op_type) & allowed_types(newest) <= found
