"""program.update-in-place: a result takes the memory of an operand that nobody needs any more.

Before (a product and a residual, which it is added to):
    %1 = program.alloc {type = buffer<f32[n, 64], arena>} : buffer<f32[n, 64], arena>
    program.launch buffers(%x, %w, %0, %1) {kernel = @matmul_add, scalars = [n]}
    kernel.func @matmul_add(...) {outputs = 1, scalars = ["n"]} {...}
After:
    program.launch buffers(%x, %w, %0, %0) {kernel = @matmul_add, scalars = [n]}
    kernel.func @matmul_add(...) {outputs = 1, scalars = ["n"], in_place = [2, 3]} {...}

Needs: structured kernels, as they are before a schedule.  Leaves: fewer buffers that live at the same time; the
verifier knows from `in_place` which launches may give one buffer twice, and `kernel.schedule` must keep it true.
Refuses: the model's inputs and results, which are the caller's; in a loop, what was there before it; buffers of another
type, views and parts of others; an operand that is read at other elements than the one being written, or while a sum is
under way; one that is read again later.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.ir.core import Operation, Value, producer, walk
from headrace.ir.kernel.in_place import may_take_place
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import Pass, PassContext
from headrace.ir.program.ops.program import Alloc, Launch, Loop, ProgramFunc, View
from headrace.ir.rewrite import Rewriter


@dataclass(frozen=True)
class UpdateInPlace(Pass):
    """No options."""

    summary = "let results take the memory of operands that nobody needs any more"
    effect = "exact"

    def run(self, module: Module, rewriter: Rewriter, context: PassContext) -> None:
        kernels = {f.function_name: f for f in module.functions(KernelFunc)}
        for function in module.functions(ProgramFunc):
            for block in (function.block, *(loop.body.block for loop in walk(function, Loop))):
                place = {inner: n for n, o in enumerate(block.operations) for inner in o.walk()}
                for operation in list(block.operations):
                    if isinstance(operation, Launch) and operation.kernel.name in kernels:
                        _launch(operation, kernels[operation.kernel.name], place, rewriter)


def _launch(launch: Launch, kernel: KernelFunc, place: dict[Operation, int], rewriter: Rewriter) -> None:
    """Lets each result of one launch take an operand's place, if there is one that may."""
    for result in kernel.written:
        for operand in kernel.inputs:
            old, new = launch.buffers[operand.index], launch.buffers[result.index]
            if not _is_replaceable(old, new, launch, place) or not may_take_place(kernel, operand, result):
                continue
            alloc = producer(new, Alloc)
            assert alloc is not None
            rewriter.replace(alloc, [old])
            pair = (operand.index, result.index)
            known = list(zip(kernel.in_place[::2], kernel.in_place[1::2], strict=True))
            if pair not in known:
                rewriter.set_attribute(kernel, "in_place", (*kernel.in_place, *pair))
            break


def _is_replaceable(old: Value, new: Value, launch: Launch, place: dict[Operation, int]) -> bool:
    """Whether the launch is the last to touch one buffer of the arena and the first to touch another like it."""
    allocs = [producer(b, Alloc) for b in (old, new)]
    if any(a is None or a.parent is not launch.parent for a in allocs) or old.type != new.type:
        return False
    here = place[launch]
    last, first = max(_touched(old, place)), min(_touched(new, place))
    once = launch.buffers.count(old) == launch.buffers.count(new) == 1
    return once and last == here == first


def _touched(buffer: Value, place: dict[Operation, int]) -> list[int]:
    """The places of the operations that touch a buffer, directly or through views."""
    found = []
    for user in buffer.users:
        found += _touched(user.result, place) if isinstance(user, View) else [place[user]]
    return found
