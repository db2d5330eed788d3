"""What a name of a model stands for while it is imported: a tensor, a sequence of tensors, or an optional."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.ir.core import Value


@dataclass(frozen=True, slots=True)
class Tensors:
    """A sequence."""

    elements: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """An optional, empty where there is no content."""

    content: Value | Tensors | None


Held = Value | Tensors | Maybe


def is_structure(held: object) -> bool:
    return isinstance(held, Tensors | Maybe)


def flat(name: str, held: Held) -> Mapping[str, Value]:
    """The tensors that an input or output of the model is."""
    match held:
        case Value():
            return {name: held}
        case Tensors():
            return {f"{name}[{i}]": element for i, element in enumerate(held.elements)}
        case Maybe():
            return {} if held.content is None else flat(name, held.content)
