"""The NPU's instructions and sizes.  ORDER: driver/isa.h, which says what each instruction does."""

from __future__ import annotations

from enum import IntEnum

MAGIC = 0x3155504E  # NPU1
WORDS = 16  # of an instruction, of 32 bits each
REGISTERS = 256
SCRATCHPAD = 16384  # elements, f32
ROWS = 16  # of a tile
COLUMNS = 64  # of a tile
DEPTH = 16  # of a product of tiles


class Opcode(IntEnum):
    """Of the scalar unit up to END, then of the DMA engine, the vector unit and the matrix unit."""

    SET = 1
    ARGUMENT = 2
    TASK = 3
    ADD = 4
    MUL = 5
    DIV = 6
    MOD = 7
    MIN = 8
    MAX = 9
    LOOP = 10
    END = 11
    LOAD = 12
    STORE = 13
    FILL = 14
    VECTOR = 15
    MATMUL = 16


# The words behind each opcode: d a register that is set, r one that is read, i a number, ttt a tile.
OPERANDS = {
    Opcode.SET: "dii",
    Opcode.ARGUMENT: "di",
    Opcode.TASK: "d",
    Opcode.ADD: "drr",
    Opcode.MUL: "drr",
    Opcode.DIV: "drr",
    Opcode.MOD: "drr",
    Opcode.MIN: "drr",
    Opcode.MAX: "drr",
    Opcode.LOOP: "dr",
    Opcode.END: "",
    Opcode.LOAD: "irrrrrtttiii",
    Opcode.STORE: "irrrrrtttii",
    Opcode.FILL: "tttiii",
    Opcode.VECTOR: "itttttttttii",
    Opcode.MATMUL: "tttttttttiiir",
}


class Function(IntEnum):
    """What VECTOR computes."""

    COPY = 0
    ADD = 1
    SUB = 2
    MUL = 3
    DIV = 4
    MIN = 5
    MAX = 6
