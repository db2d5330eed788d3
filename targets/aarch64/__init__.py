"""aarch64: 64-bit Arm with NEON, as every Armv8-A core has it."""

from headrace.ir.facts import TargetFacts
from headrace.targets.cpu import CpuTarget

TARGET = CpuTarget(
    family="aarch64",
    machine="aarch64",
    presets={
        "aarch64": TargetFacts(
            preset="aarch64",
            triple="aarch64-unknown-linux-gnu",
            cpu="generic",
            features=("+neon",),
            vector_bytes=16,
            vector_registers=32,
            has_fma=True,
            l1_bytes=32 << 10,
            l2_bytes=512 << 10,
            converts_f16=True,
        )
    },
    features={"aarch64": ("fp-armv8", "neon")},
)
