"""Types of a model's inputs, and the names of its dim symbols.  In: what the model declares and what the user
overrides.  Out: tensor types.

A named dim becomes a symbol of that name, as far as a symbol may have it; two names stay two symbols.  A dim
without a name, of -1 or of 0, becomes a symbol of its own, `INPUT_AXIS`.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

from onnx import GraphProto, TensorShapeProto, ValueInfoProto

from headrace.compiler.frontends.onnx.ports import Shapes, tensors_of
from headrace.compiler.frontends.onnx.tensors import element_type, type_name
from headrace.ir.dims import Dim
from headrace.ir.errors import ModelError, OptionError, UnsupportedModelError, nearest
from headrace.ir.naming import FreshNames
from headrace.ir.types import DTYPES, TensorType

_WORDS = frozenset({"floordiv", "mod", "min", "max", "inf"})  # of formulas


class Symbols:
    """Hands out names that formulas can mention, each once."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._names = FreshNames()

    def named(self, name: str) -> str:
        """The symbol for a name of the model's or the user's; always the same one."""
        if name not in self._of:
            self._of[name] = self.fresh(name)
        return self._of[name]

    def fresh(self, wish: str) -> str:
        """A symbol that nothing has yet."""
        base = re.sub(r"\W", "_", wish, flags=re.ASCII).strip("_") or "dim"
        if base[0].isdigit() or keyword.iskeyword(base) or base in _WORDS:
            base = f"d_{base}"
        return self._names.fresh(base)


def input_types(file: str, graph: GraphProto, shapes: Shapes, symbols: Symbols) -> dict[str, TensorType]:
    """The type of each tensor that is an input, or part of one, for which no initializer stands.

    Raises ModelError for an input without a type, UnsupportedModelError for one that is no tensor of a known
    rank, OptionError for a shape of an unknown input or of another rank.
    """
    constants = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    declared = [i for i in graph.input if i.name not in constants]
    given = [tensor for i in declared for tensor in tensors_of(file, i, shapes)]
    names = [i.name for i in given]
    structures = [i.name for i in declared if i.type.WhichOneof("value") != "tensor_type"]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"{file}: input {name!r} is declared twice")
    for name in shapes:
        if name not in names and name not in structures:
            known = f"expected one of {', '.join(names)}"
            raise OptionError(f"{file}: shape for {name!r}, which is no input{nearest(name, names)}; {known}")
    for value in given:  # names that need no change get to keep them
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.isidentifier():
                symbols.named(dim.dim_param)
    return {i.name: _input_type(file, i, shapes.get(i.name), symbols) for i in given}


def _input_type(
    file: str, value: ValueInfoProto, override: Sequence[int | str | None] | None, symbols: Symbols
) -> TensorType:
    place = f"{file}: input {value.name!r}"
    kind = value.type.WhichOneof("value")
    if kind is None:
        raise ModelError(f"{place}: no type, expected a tensor's")
    if kind != "tensor_type":
        raise UnsupportedModelError(f"{place}: a {kind.removesuffix('_type').replace('_', ' ')}, expected a tensor")
    tensor = value.type.tensor_type
    dtype = element_type(tensor.elem_type)
    if dtype is None:
        found = type_name(tensor.elem_type)
        raise UnsupportedModelError(f"{place}: element type is {found}, expected one of {', '.join(DTYPES)}")
    if not tensor.HasField("shape") and override is None:
        raise UnsupportedModelError(f"{place}: no declared rank; give its shape")
    declared = list(tensor.shape.dim) if tensor.HasField("shape") else None
    if declared is not None and override is not None and len(declared) != len(override):
        raise OptionError(f"{place}: shape {list(override)} has rank {len(override)}, the model's is {len(declared)}")
    rank = len(override) if override is not None else len(declared or ())
    dims = []
    for axis in range(rank):
        wanted = override[axis] if override is not None else None
        known = declared[axis] if declared is not None else None
        dims.append(_dim(place, f"{value.name}_{axis}", wanted, known, symbols))
    return TensorType(dtype, tuple(dims))


def _dim(place: str, wish: str, wanted: object, declared: TensorShapeProto.Dimension | None, symbols: Symbols) -> Dim:
    if isinstance(wanted, str):
        return Dim.symbol(symbols.named(wanted))
    if wanted is not None:
        if not isinstance(wanted, SupportsIndex) or index(wanted) < 1:
            raise OptionError(f"{place}: a dim of {wanted}, expected a name or a whole number from 1 on")
        return Dim.constant(index(wanted))
    # Some exporters write '?' for every dim that is open: no name, and no two of them are meant to be equal.
    if declared is not None and re.search(r"\w", declared.dim_param):
        return Dim.symbol(symbols.named(declared.dim_param))
    if declared is not None and declared.dim_value > 0:
        return Dim.constant(declared.dim_value)
    return Dim.symbol(symbols.fresh(wish))
