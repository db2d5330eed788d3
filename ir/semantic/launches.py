"""`Launches`: what launches of kernels left, so that a pass over a whole program runs only those that it changed.

A launch depends on the kernel's text, its scalars, the elements of its buffers that are defined, and which buffers
share memory; what it leaves are the elements that are written then.  Launches that fail are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from headrace.ir.kernel.interpret import execute
from headrace.ir.kernel.interpret.memory import WRITTEN
from headrace.ir.kernel.ops.func import KernelFunc

Array = np.ndarray[Any, Any]


class _Left(NamedTuple):
    """Of each output: the states of its elements, and those that are written."""

    states: list[Array]
    written: list[Array]


class Launches:
    """Use one for a whole pipeline."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Left] = {}
        self._used: set[bytes] = set()

    def executor(self, texts: Mapping[str, str]) -> Callable[..., None]:
        """In the place of `execute`, for a module whose functions have these texts."""
        return partial(self._execute, texts)

    def forget(self) -> None:
        """What nothing has asked for since the last time."""
        self._known = {key: self._known[key] for key in self._used}
        self._used.clear()

    def _execute(
        self,
        texts: Mapping[str, str],
        function: KernelFunc,
        storages: Sequence[Array],
        states: Sequence[Array],
        symbols: Mapping[str, int],
        *,
        wide: bool = False,
    ) -> None:
        key = _key(texts[function.function_name], storages, states, symbols, wide)
        outputs = slice(len(function.inputs), None)
        left = self._known.get(key)
        if left is None:
            execute(function, storages, states, symbols, wide=wide)
            after = [s.copy() for s in states[outputs]]
            left = _Left(after, [m[s == WRITTEN] for m, s in zip(storages[outputs], after, strict=True)])
            self._known[key] = left
        else:
            for storage, state, then, written in zip(storages[outputs], states[outputs], *left, strict=True):
                state[:] = then
                storage[then == WRITTEN] = written
        self._used.add(key)


def _key(
    text: str, storages: Sequence[Array], states: Sequence[Array], symbols: Mapping[str, int], wide: bool
) -> bytes:
    digest = blake2b(repr((text, sorted(symbols.items()), wide, _shared(storages))).encode(), digest_size=16)
    for storage, state in zip(storages, states, strict=True):
        digest.update(state.view(np.uint8).data)
        written = state == WRITTEN
        digest.update((storage if written.all() else storage[written]).view(np.uint8).data)
    return digest.digest()


def _shared(storages: Sequence[Array]) -> list[tuple[int, int, int]]:
    """Pairs of buffers in the same memory, and how far the second begins after the first."""
    found = []
    for i, a in enumerate(storages):
        for j, b in enumerate(storages[:i]):
            if np.may_share_memory(a, b):
                found.append((i, j, b.ctypes.data - a.ctypes.data))
    return found
