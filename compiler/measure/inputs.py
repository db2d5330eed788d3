"""Inputs to measure with.  In: a session's ports, shapes, arrays that the caller has.  Out: an array for each input.

What is not given is made from a seed: floats from a normal distribution; integers and booleans are 0 or 1, which are
legal as token ids, masks and types of nearly every model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.ir.dims import parse_dim
from headrace.ir.errors import OptionError, nearest
from headrace.runtime.python import Port

Array = np.ndarray[Any, Any]


def inputs_for(
    ports: Sequence[Port], shapes: Mapping[str, Sequence[int | str]], given: Mapping[str, Array], seed: int = 0
) -> dict[str, Array]:
    """Raises OptionError for a name that is no input, and where a dim follows neither from shapes nor from arrays."""
    names = [port.name for port in ports]
    for name in (*shapes, *given):
        if name not in names:
            raise OptionError(f"no input {name!r}{nearest(name, names)}; expected one of {', '.join(names)}")
    known = _symbols(ports, {n: a.shape for n, a in given.items()} | {n: _numbers(n, s) for n, s in shapes.items()})
    rng = np.random.default_rng(seed)
    made = {port.name: _made(port, _shape(port, known), rng) for port in ports}
    return made | dict(given)


def _numbers(name: str, shape: Sequence[int | str]) -> tuple[int, ...]:
    for dim in shape:
        if not isinstance(dim, int):
            raise OptionError(f"--shape {name}: {dim!r} is no number")
    return tuple(d for d in shape if isinstance(d, int))


def _symbols(ports: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The symbols of the model that these shapes decide.  Raises OptionError where a shape does not fit."""
    known: dict[str, int] = {}
    for port in ports:
        shape = shapes.get(port.name)
        if shape is None:
            continue
        if len(shape) != len(port.shape):
            raise OptionError(f"input {port.name!r}: {len(shape)} dims, expected {len(port.shape)}")
        for dim, size in zip(port.shape, shape, strict=True):
            if isinstance(dim, str) and dim.isidentifier():
                if known.setdefault(dim, size) != size:
                    raise OptionError(f"input {port.name!r}: {dim} is {size}, elsewhere {known[dim]}")
            elif isinstance(dim, int) and dim != size:
                raise OptionError(f"input {port.name!r}: a dim is {size}, expected {dim}")
    return known


def _shape(port: Port, known: Mapping[str, int]) -> tuple[int, ...]:
    found = []
    for dim in port.shape:
        size = parse_dim(str(dim)).substitute(known)
        if not size.is_constant:
            listed = ",".join(str(d) for d in port.shape)
            raise OptionError(f"input {port.name!r} is of shape {listed}; give it as --shape {port.name}=NUMBER,...")
        found.append(size.value)
    return tuple(found)


def _made(port: Port, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if port.dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(port.dtype)
    return rng.standard_normal(shape).astype(port.dtype)
