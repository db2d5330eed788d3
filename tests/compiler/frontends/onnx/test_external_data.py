"""External data: read from the model's own folder, and from nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from headrace.compiler.frontends.onnx import import_model
from headrace.ir.errors import ModelError

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(folder: Path, **entries: Any) -> Path:
    """A model whose weights are external, with those entries."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, found in entries.items():
        tensor.external_data.add(key=key, value=str(found))
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [onnx.ValueInfoProto(name="y")],
        [tensor],
    )
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def weights_of(path: Path) -> np.ndarray[Any, Any]:
    module = import_model(path)
    (ref,) = module.constants
    return module.constants.array(ref)


@pytest.mark.parametrize("offset", [0, 4096, 13])
def test_reads_a_part_of_a_file(tmp_path: Path, offset: int) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\xff" * offset + WEIGHTS.tobytes() + b"more")
    path = write(tmp_path, location="sub/w.bin", offset=offset, length=24)
    np.testing.assert_array_equal(weights_of(path), WEIGHTS)


@pytest.mark.parametrize("bits", [4, 2])
def test_elements_narrower_than_a_byte_are_packed(tmp_path: Path, bits: int) -> None:
    """Lowest bits first, in raw data and in a file alike; the last byte may be half full."""
    numbers = np.array([1, 0, 3, 2, 1])
    packed = sum(int(n) << (bits * i) for i, n in enumerate(numbers)).to_bytes(-(-5 * bits // 8), "little")
    kind = TensorProto.UINT4 if bits == 4 else TensorProto.UINT2
    for external in (False, True):
        w = TensorProto(name="w", data_type=kind, dims=[5])
        if external:
            (tmp_path / "w.bin").write_bytes(packed)
            w.data_location = TensorProto.EXTERNAL
            w.external_data.add(key="location", value="w.bin")
        else:
            w.raw_data = packed
        nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])
        graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], [w])
        path = tmp_path / "model.onnx"
        path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)]).SerializeToString())
        np.testing.assert_array_equal(weights_of(path).astype(int), numbers)


def test_a_link_inside_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "w.bin").symlink_to("real.bin")
    np.testing.assert_array_equal(weights_of(write(tmp_path, location="w.bin")), WEIGHTS)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "none.bin"}, "external data 'none.bin': no such file in the model's folder"),
        ({"location": "../w.bin"}, "external data '../w.bin': expected a path inside of the model's folder"),
        ({"location": "a/../../w.bin"}, "external data 'a/../../w.bin': expected a path inside of the model's folder"),
        ({"location": "/etc/passwd"}, "external data '/etc/passwd': expected a path inside of the model's folder"),
        ({"location": "out.bin"}, "external data 'out.bin' lead out of the model's folder"),
        ({"location": "linked/w.bin"}, "external data 'linked/w.bin' lead out of the model's folder"),
        ({"location": "."}, "external data '.' are no file"),
        ({"location": "a\0b"}, "external data have no location"),
        ({}, "external data have no location"),
        ({"location": "short.bin"}, "external data end at byte 24, but 'short.bin' has 20 bytes"),
        ({"location": "w.bin", "offset": -4}, "external data end at byte 20, but 'w.bin' has 24 bytes"),
        ({"location": "w.bin", "offset": 2**70}, f"external data end at byte {2**70 + 24}, but 'w.bin' has 24 bytes"),
        ({"location": "w.bin", "length": 20}, "20 bytes of external data, expected 24"),
        ({"location": "w.bin", "offset": "x"}, "offset or length of the external data is no number"),
    ],
)
def test_refuses(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "w.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "short.bin").write_bytes(WEIGHTS.tobytes()[:20])
    (folder / "out.bin").symlink_to(tmp_path / "w.bin")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(ModelError) as error:
        import_model(write(folder, **entries))
    assert str(error.value).startswith(f"model.onnx: initializer 'w': {message}")


def test_data_that_nobody_uses_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, location="none.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.node[0].CopyFrom(helper.make_node("Relu", ["x"], ["y"]))
    path.write_bytes(model.SerializeToString())
    assert not list(import_model(path).constants)
