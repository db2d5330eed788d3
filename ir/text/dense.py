"""Small arrays inside the text: `dense<[1.0, 2.0]> : f32[2]`.

In: a constant of at most 16 elements.  Out: nested lists that read back as the same bytes, or None where the
array is big or decimals would lose something (the payload of a NaN); it then goes to the .constants file.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from lark import Token

from headrace.ir.constants import Array, ConstantRef, ConstantStore
from headrace.ir.errors import IRError
from headrace.ir.text.syntax import Expr, Node
from headrace.ir.types import DType, TensorType

MOST_ELEMENTS = 16


def write_dense(ref: ConstantRef, constants: ConstantStore) -> str | None:
    """The elements of a small array in the store; None for any other."""
    if int(np.prod(ref.shape)) > MOST_ELEMENTS or ref not in constants:
        return None
    array = constants.array(ref)
    words = [_word(element, ref.dtype) for element in array.reshape(-1)]
    again = np.array([_number(word, ref.dtype) for word in words], dtype=ref.dtype.numpy)
    if again.tobytes() != array.tobytes():
        return None
    return _nested(words, ref.shape)


def read_dense(content: Expr, kind: TensorType) -> Array:
    """The array that nested lists of numbers describe.  Raises IRError where they do not fit the type."""
    shape = tuple(d.value for d in kind.dims)
    words = _flatten(content, shape, kind)
    array = np.array([_number(word, kind.dtype) for word in words], dtype=kind.dtype.numpy)
    return array.reshape(shape)


def _word(element: Any, dtype: DType) -> str:
    if dtype.kind == "bool":
        return "true" if element else "false"
    # numpy's str is the shortest decimal that gives the same number of this type; ml_dtypes' is not.
    return str(float(element)) if dtype.name == "bf16" or dtype.is_narrow_float else str(element)


def _number(word: str, dtype: DType) -> Any:
    if dtype.kind == "bool":
        if word not in ("true", "false"):
            raise IRError(f"element {word} of a bool constant, expected true or false")
        return word == "true"
    try:
        return float(word) if dtype.is_float or dtype.is_narrow_float else _integer(word, dtype)
    except ValueError:
        raise IRError(f"element {word} does not fit {dtype}") from None


def _integer(word: str, dtype: DType) -> int:
    value, limits = int(word), ml_dtypes.iinfo(dtype.numpy)  # type: ignore[no-untyped-call]
    if not limits.min <= value <= limits.max:
        raise ValueError(word)
    return value


def _nested(words: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return words[0]
    size = len(words) // shape[0] if shape[0] else 0
    return f"[{', '.join(_nested(words[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0]))}]"


def _flatten(node: Expr, shape: tuple[int, ...], kind: TensorType) -> list[str]:
    if not shape:
        if isinstance(node, Node) and node.kind == "negative" and isinstance(node.parts[0], Token):
            return [f"-{node.parts[0]}"]
        if isinstance(node, Token):
            return [str(node)]
    elif isinstance(node, Node) and node.kind == "list" and len(node.parts) == shape[0]:
        return [word for part in node.parts for word in _flatten(part, shape[1:], kind)]
    raise IRError(f"the elements of a dense constant do not have the shape of {kind}")
