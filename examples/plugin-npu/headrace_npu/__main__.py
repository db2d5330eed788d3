"""`python -m headrace_npu M.hrm`: the instructions of a compiled model's kernels on the NPU, as text."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

from headrace.codegen.artefact.reader import read
from headrace_npu.isa import OPERANDS, WORDS, Function, Opcode


def listing(image: bytes, entry: int) -> Iterator[str]:
    """A line for each instruction of the kernel that begins there."""
    (count,) = struct.unpack_from("<I", image, entry)
    depth = 0
    for number in range(count):
        code, *words = struct.unpack_from(f"<{WORDS}I", image, entry + 4 + 4 * WORDS * number)
        opcode = Opcode(code)
        depth -= opcode is Opcode.END
        yield f"{number:4}  {'  ' * depth}{opcode.name.lower()} {', '.join(_operands(opcode, words))}".rstrip()
        depth += opcode is Opcode.LOOP


def _operands(opcode: Opcode, words: list[int]) -> Iterator[str]:
    """Registers as r7, tiles as [start: row step, column step], numbers as they are."""
    if opcode is Opcode.SET:
        yield f"r{words[0]}"
        yield str(struct.unpack("<q", struct.pack("<2I", *words[1:3]))[0])
        return
    kinds = OPERANDS[opcode]
    place = 0
    while place < len(kinds):
        word = words[place]
        if kinds[place] == "t":
            yield f"[{word}: {words[place + 1]}, {words[place + 2]}]"
            place += 2
        elif opcode is Opcode.VECTOR and place == 0:
            yield Function(word).name.lower()
        else:
            yield str(word) if kinds[place] == "i" else f"r{word}"
        place += 1


def main(path: str) -> None:
    """Prints every kernel that is there for an NPU."""
    for variant in read(path).artefact.variants:
        drivers = [variant.driver, *(d.driver for d in variant.devices)]
        for kernel in variant.kernels:
            if drivers[kernel.device] == "npu":
                print(f"{kernel.name}({', '.join(kernel.scalars)}):")
                print("\n".join(listing(variant.image_of(kernel.device), kernel.entry)))


if __name__ == "__main__":
    main(sys.argv[1])
