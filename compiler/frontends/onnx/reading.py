"""Reads a model file.  In: a path.  Out: the protobuf message, the digest of its bytes, and where it lies.

Whatever the bytes are, the answer is a model with a graph or a ModelError of one line.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from headrace.codegen.artefact.layout import MAGIC
from headrace.ir.errors import ModelError, UnsupportedModelError

OLDEST_OPSET = 7
LARGEST_BYTES = 2**31 - 1  # of one protobuf message


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it was read: `name` is the file's, for messages; external data lies in `folder`."""

    name: str
    folder: Path
    proto: onnx.ModelProto
    digest: str

    @property
    def opsets(self) -> dict[str, int]:
        """Version by domain; the default domain is the empty name."""
        return opset_versions(self.proto.opset_import)


def opset_versions(imports: object) -> dict[str, int]:
    """Version by domain from a message's `opset_import`; `ai.onnx` is another name of the default domain."""
    return {canonical_domain(i.domain): i.version for i in imports}  # type: ignore[attr-defined]


def canonical_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def read_model(path: Path) -> Model:
    """The model in a file.  Raises ModelError where there is none, UnsupportedModelError for one too old or new."""
    name = path.name
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"{name}: the file has more than 2 GiB, which no protobuf message has")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not content:
        raise ModelError(f"{name}: the file is empty, expected an ONNX model")
    if content.startswith(MAGIC):
        raise ModelError(f"{name}: is compiled already; `headrace run` runs it")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{name}: not an ONNX model: the bytes are no protobuf message of one") from None
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{name}: not an ONNX model: there is no graph in it")
    if not _is_text(proto):
        raise ModelError(f"{name}: not an ONNX model: a name in it is no UTF-8")
    model = Model(name, path.parent, proto, hashlib.sha256(content).hexdigest())
    _check_opset(model)
    return model


def _is_text(message: Message) -> bool:
    """Whether every string field holds text; protobuf hands out bytes where one is no UTF-8."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        values = [value] if isinstance(value, str | bytes | Message) else value
        for one in values:
            if not (isinstance(one, str) or (isinstance(one, Message) and _is_text(one))):
                return False
    return True


def _check_opset(model: Model) -> None:
    version = model.opsets.get("")
    newest = onnx.defs.onnx_opset_version()
    if version is None:
        if any(canonical_domain(n.domain) == "" for n in model.proto.graph.node):
            raise ModelError(f"{model.name}: the model does not say which opset it uses")
    elif not OLDEST_OPSET <= version <= newest:
        raise UnsupportedModelError(f"{model.name}: opset {version}, expected {OLDEST_OPSET} to {newest}")
