"""x86-64, by the levels of the psABI: `x86-64-v2` (SSE 4.2), `x86-64-v3` (AVX2 and FMA), `x86-64-v4` (AVX-512).

The features of a level are those of the System V psABI, "x86-64 micro-architecture levels".
"""

from headrace.ir.facts import TargetFacts
from headrace.targets.cpu import CpuTarget

_TRIPLE = "x86_64-unknown-linux-gnu"
_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")


def _facts(level: int, vector_bytes: int, registers: int) -> TargetFacts:
    name = f"x86-64-v{level}"
    return TargetFacts(
        preset=name,
        triple=_TRIPLE,
        cpu=name,
        features=(),
        vector_bytes=vector_bytes,
        vector_registers=registers,
        has_fma=level >= 3,
        l1_bytes=32 << 10,
        l2_bytes=1 << 20,
        converts_f16=level >= 3,
    )


TARGET = CpuTarget(
    family="x86_64",
    machine="x86-64",
    presets={
        "x86-64-v2": _facts(2, 16, 16),
        "x86-64-v3": _facts(3, 32, 16),
        "x86-64-v4": _facts(4, 64, 32),
    },
    features={"x86-64-v2": tuple(sorted(_V2)), "x86-64-v3": tuple(sorted(_V3)), "x86-64-v4": tuple(sorted(_V4))},
)
