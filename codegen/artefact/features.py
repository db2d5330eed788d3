"""The CPU features that a variant may require, by LLVM's names: those that the runtime can look for.

ORDER: the same names as in the tables of runtime/src/machine.c; a test compares them.
"""

from headrace.codegen.artefact.model import Machine

X86_64 = (
    "sse", "sse2", "cx8", "cmov", "mmx", "fxsr",
    "sse3", "ssse3", "cx16", "sse4.1", "sse4.2", "popcnt", "sahf",
    "fma", "movbe", "xsave", "avx", "f16c", "lzcnt", "bmi", "avx2", "bmi2",
    "avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl",
    "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512vpopcntdq", "avx512fp16",
    "avx512bf16", "avxvnni", "avxifma", "gfni", "vaes", "vpclmulqdq", "pclmul", "aes", "sha", "adx", "prfchw",
)  # fmt: skip

AARCH64 = (
    "fp-armv8", "neon",
    "aes", "sha2", "crc", "lse", "fullfp16", "rdm", "dotprod", "sve", "fp16fml", "sve2", "i8mm", "bf16",
)  # fmt: skip

FEATURES: dict[Machine, tuple[str, ...]] = {"x86-64": X86_64, "aarch64": AARCH64, "any": ()}
