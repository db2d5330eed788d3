/* isa.h: the instructions of a made-up NPU, as they lie in a code section.  ORDER: headrace_npu/isa.py.
**
** The NPU has 256 registers of 64 bits, a scratchpad of 16384 f32, and memory, which holds the launch's buffers.  A
** launch runs a program once for each of its tasks.  A code section is
**
**     NPU_MAGIC, number of kernels, then for each kernel: number of instructions, instructions
**
** in little-endian words of 32 bits.  An instruction has 16 of them, the first its opcode; those that it does not use
** are 0.  Below, d is a register that it sets, r one that it reads, i a number, and ttt a tile: three numbers, where in
** the scratchpad its first element lies, and how many elements on are the next row and the next column.
**
**     SET      d i i               d = a number, its low and high half
**     ARGUMENT d i                 d = scalar i of the launch
**     TASK     d                   d = number of the task
**     ADD ...  d r r               d = r + r; MUL, DIV (rounded down), MOD, MIN and MAX likewise
**     LOOP     d r                 what stands between here and its END runs r times, with d = 0, 1 ...
**     END
**     LOAD     i r rr rr ttt ii i  a tile of i by i elements from buffer i: element r of the buffer is its first, rr are
**                                  the steps from row to row and from column to column; only the first r rows and r
**                                  columns are in memory, the others become i, which is an f32
**     STORE    i r rr rr ttt ii    the same way back; what is not in memory is not stored
**     FILL     ttt ii i            a tile of i by i elements becomes i, which is an f32
**     VECTOR   i ttt ttt ttt ii    first tile = function i of the two others, of i by i elements each
**     MATMUL   ttt ttt ttt ii i r  first tile, i by i, += second, i by k, times third, k by i: the last i is the most that
**                                  k may be, and r is what it is
*/
#ifndef NPU_ISA_H
#define NPU_ISA_H

#define NPU_MAGIC 0x3155504Eu /* NPU1 */
#define NPU_WORDS 16u
#define NPU_REGISTERS 256u
#define NPU_SCRATCHPAD 16384u
#define NPU_ROWS 16u
#define NPU_COLUMNS 64u
#define NPU_DEPTH 16u
#define NPU_LOOPS 8u /* one in the other */

enum npu_opcode {
    NPU_SET = 1,
    NPU_ARGUMENT,
    NPU_TASK,
    NPU_ADD,
    NPU_MUL,
    NPU_DIV,
    NPU_MOD,
    NPU_MIN,
    NPU_MAX,
    NPU_LOOP,
    NPU_END,
    NPU_LOAD,
    NPU_STORE,
    NPU_FILL,
    NPU_VECTOR,
    NPU_MATMUL,
    NPU_OPCODES
};

enum npu_function { NPU_COPY, NPU_F_ADD, NPU_F_SUB, NPU_F_MUL, NPU_F_DIV, NPU_F_MIN, NPU_F_MAX, NPU_FUNCTIONS };

#endif
