"""What sets the languages of the C family apart, as data.

In: nothing.  Out: a `Language` for each, which names, literals and arithmetic ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Names that mean something in every text: C's own, the emitter's, and the functions that it calls.
_COMMON = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    bool true false scratch rest lane sqrt floor ceil rint fma fabs
"""


@dataclass(frozen=True, slots=True)
class Language:
    """One of the family."""

    name: str  # in messages
    takes: str  # what it takes, in messages
    reserved: re.Pattern[str]  # names that a kernel's own must not have, whole
    bool_element: str  # the type of a bool in memory
    overloaded: bool  # `sqrt` takes every float type, where C has `sqrtf`
    fuses: bool  # kernel.muladd is one rounding where the machine has an instruction for it
    has_half: bool  # it widens f16, though it may not compute with it


def _names(words: str, *patterns: str) -> re.Pattern[str]:
    return re.compile("|".join([*words.split(), *patterns]))


C11 = Language(
    name="C",
    takes="loops for a CPU",
    reserved=_names(f"{_COMMON} buffers scalars begin end task", "(sqrt|floor|ceil|rint|fma|fabs)f"),
    bool_element="bool",
    overloaded=False,
    fuses=False,
    has_half=False,
)

_OPENCL = """
    kernel global local constant private read_only write_only read_write uniform pipe half quad complex imaginary
    uchar ushort uint ulong size_t ptrdiff_t intptr_t uintptr_t event_t sampler_t report launch group thread
    barrier get_group_id get_local_id get_global_offset atomic_cmpxchg
"""

OPENCL = Language(
    name="OpenCL C",
    takes="loops over grid and threads",
    reserved=_names(
        _COMMON + _OPENCL,
        "(char|uchar|short|ushort|int|uint|long|ulong|float|double|half|quad|bool)(2|3|4|8|16)",
        "image[123]d\\w*", "(vload|vstore)\\w*", "(as|convert|read|write|get)_\\w+", "(base|at)[0-9]+",
    ),
    bool_element="uchar",
    overloaded=True,
    fuses=True,
    has_half=True,
)  # fmt: skip
