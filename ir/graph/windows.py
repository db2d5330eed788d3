"""Sliding windows, as convolution and pooling have them.  In: strides, dilations, pads.  Out: dims and places.

Spatial dim d of the result has `out` windows; window o begins at element o * stride - pad_before of the
operand, and its element k lies at `begin + k * dilation`.  Places outside of the operand are padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min
from headrace.ir.graph.families import Array
from headrace.ir.graph.importing import OnnxNode
from headrace.ir.graph.linear import ZERO


@dataclass(frozen=True, slots=True)
class Window:
    """The windows along one spatial dim."""

    extent: Dim  # of the operand
    kernel: Dim
    stride: int = 1
    dilation: int = 1
    before: Dim = ZERO
    after: Dim = ZERO
    ceil: bool = False  # a last window may hang over the end, if it begins before it

    @property
    def out(self) -> Dim:
        """How many windows."""
        room = self.extent + self.before + self.after - (self.kernel - 1) * self.dilation - 1
        if not self.ceil:
            return room // self.stride + 1
        return dim_min(ceildiv(room, self.stride) + 1, ceildiv(self.extent + self.before, self.stride))

    @property
    def stays_inside(self) -> bool:
        """Whether no window touches padding."""
        return not self.ceil and self.before == ZERO and self.after == ZERO

    def place(self, o: Dim, k: Dim) -> Dim:
        """Element `k` of window `o`, in the operand; padding where that is outside."""
        return o * self.stride + k * self.dilation - self.before

    def count(self, o: Dim, with_padding: bool) -> Dim:
        """How many elements window `o` has; with or without the padding that was asked for.

        What a window of `ceil` has beyond that padding never counts.
        """
        if self.stays_inside or (with_padding and not self.ceil):
            return self.kernel
        begin = self.place(o, ZERO)
        low = -self.before if with_padding else ZERO
        high = self.extent + self.after if with_padding else self.extent
        first = dim_max(ceildiv(low - begin, self.dilation), 0)
        last = dim_min(ceildiv(high - begin, self.dilation), self.kernel)
        return dim_max(last - first, 0)


def window_error(windows: Sequence[Window]) -> str | None:
    """What is wrong about windows whose dims are known."""
    for number, window in enumerate(windows):
        if window.stride < 1 or window.dilation < 1:
            return f"stride {window.stride} and dilation {window.dilation} of spatial dim {number}, expected 1 or more"
        if window.out.is_constant and window.out.value < 0:
            wide = (window.kernel - 1) * window.dilation + 1
            padded = window.extent + window.before + window.after
            return f"a window of {wide} in spatial dim {number} of {padded}, padding included; no window fits"
    return None


def numpy_windows(x: Array, windows: Sequence[Window], padding: float | int) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each element of a kernel: its place in it, and that element of all windows, as a view of padded `x`.

    The spatial dims are the last ones.
    """
    spatial = x.shape[x.ndim - len(windows) :]
    sides = [(0, 0)] * (x.ndim - len(windows))
    for window, extent in zip(windows, spatial, strict=True):
        reach = (window.out.value - 1) * window.stride + (window.kernel.value - 1) * window.dilation + 1
        before = window.before.value
        sides.append((before, max(reach - before - extent, 0)))
    cut = tuple(slice(max(-b, 0), None) for b, _ in sides)  # negative pads cut off
    padded = np.pad(x, [(max(b, 0), a) for b, a in sides], constant_values=padding)[cut]
    for k in product(*(range(w.kernel.value) for w in windows)):
        starts = [i * w.dilation for i, w in zip(k, windows, strict=True)]
        ends = [s + (w.out.value - 1) * w.stride + 1 for s, w in zip(starts, windows, strict=True)]
        parts = zip(starts, ends, windows, strict=True)
        places: tuple[Any, ...] = (..., *(slice(s, max(e, s), w.stride) for s, e, w in parts))
        yield k, padded[places]


def windows_of(node: OnnxNode, extents: Sequence[Dim], kernel: Sequence[Dim]) -> list[Window]:
    """The windows that a node's attributes describe: strides, dilations, pads, auto_pad, ceil_mode."""
    rank = len(extents)
    strides = _numbers(node, "strides", rank, 1)
    dilations = _numbers(node, "dilations", rank, 1)
    pads = _numbers(node, "pads", 2 * rank, 0)
    auto, ceil = node.attribute("auto_pad", "NOTSET"), bool(node.attribute("ceil_mode", 0))
    windows = []
    for i, extent in enumerate(extents):
        before, after = Dim.constant(pads[i]), Dim.constant(pads[rank + i])
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            before, after = _same(extent, kernel[i], strides[i], dilations[i], auto == "SAME_LOWER")
        elif auto == "VALID":
            before = after = ZERO
        elif auto != "NOTSET":
            raise node.fail(f"auto_pad is {auto!r}, expected 'NOTSET', 'SAME_UPPER', 'SAME_LOWER' or 'VALID'")
        windows.append(Window(extent, kernel[i], strides[i], dilations[i], before, after, ceil and auto == "NOTSET"))
    wrong = window_error(windows)
    if wrong is not None:
        raise node.fail(wrong)
    return windows


def _numbers(node: OnnxNode, name: str, count: int, default: int) -> tuple[int, ...]:
    found = node.attribute(name, (default,) * count)
    if len(found) != count:
        raise node.fail(f"{name} has {len(found)} elements, expected {count}")
    return found


def _same(extent: Dim, kernel: Dim, stride: int, dilation: int, lower: bool) -> tuple[Dim, Dim]:
    """The pads that make ceil(extent / stride) windows; the odd one at the end, or at the beginning."""
    wide = (kernel - 1) * dilation + 1
    total = dim_max((ceildiv(extent, stride) - 1) * stride + wide - extent, 0)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)
