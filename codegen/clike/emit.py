"""Kernels in C11: one function each, with the ABI of CPU kernels.

In: kernels as loops.  Out: one C file.  A structured operation, or one that needs a device (grid, barrier,
asynchronous copy), raises CodegenError: only what a CPU runs has a place in plain C.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headrace.codegen.clike.body import Body
from headrace.codegen.clike.formulas import HELPERS
from headrace.codegen.clike.helpers import Helpers
from headrace.codegen.clike.language import C11
from headrace.codegen.clike.types import kernel_name
from headrace.codegen.scratch import check_sites, scratch_offsets
from headrace.ir.errors import CodegenError
from headrace.ir.kernel.ops import lookup, memory
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.kernel.tasks import task_axes
from headrace.ir.types import element_dtype

INCLUDES = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n"
PARAMETERS = "void *const *buffers, const int64_t *scalars, void *scratch, int64_t begin, int64_t end"


def emit_c(functions: Sequence[KernelFunc]) -> str:
    """One file with a function for each kernel, in order.  Raises CodegenError."""
    helpers = Helpers(C11)
    bodies = [_text(f, helpers) for f in functions]
    parts = [INCLUDES, HELPERS, *helpers.texts.values(), *bodies]
    return "\n".join(parts)


def _text(function: KernelFunc, helpers: Helpers) -> str:
    try:
        return _Function(function, helpers).text()
    except CodegenError as error:
        raise CodegenError(f"kernel @{function.function_name}: {error}") from None


class _Function(Body):
    """Prints one kernel: a loop over its tasks."""

    def text(self) -> str:
        function = self.function
        given = {}  # the declaration of each scalar and parameter, by its name
        for place, symbol in enumerate(function.scalars):
            name = self.symbols[symbol] = self._unique(symbol)
            given[name] = f"    const int64_t {name} = scalars[{place}];"
        for place, parameter in enumerate(function.parameters):
            name = self.names[parameter] = self._unique(parameter.hint or f"p{place}")
            constness = "" if parameter in function.written else "const "
            kind = self._element(element_dtype(parameter.type))
            given[name] = f"    {constness}{kind} *const {name} = buffers[{place}];"
        self._tasks()
        words = set(re.findall(r"\w+", "\n".join(self.lines)))
        declared = [line for name, line in given.items() if name in words]
        opening = "\n".join(declared)
        unused = [f"    (void){p};" for p in ("buffers", "scalars") if p not in opening]
        unused += ["    (void)scratch;"] * ("scratch" not in words)
        head = f"int32_t {kernel_name(function.function_name)}({PARAMETERS})"
        return "\n".join([f"{head};", f"{head} {{", *unused, *declared, *self.lines, "    return 0;", "}", ""])

    def _tasks(self) -> None:
        axes = task_axes(self.function)
        self._line("for (int64_t task = begin; task < end; task++) {")
        with self._deeper():
            if axes:
                self._decode(axes, "task", "rest")
                (outer,) = self.function.block.operations
                self._block(outer.regions[0].block)
            else:
                self._block(self.function.block)
        self._line("}")

    def _failed(self, check: lookup.Check) -> None:
        for number, value in enumerate(check.values):
            self._line(f"((int64_t *)scratch)[{number}] = {self.names[value]};")
        self._line(f"return {check_sites(self.function)[check]};")

    def _alloc(self, alloc: memory.Alloc) -> None:
        if alloc.type.space != "stack":
            super()._alloc(alloc)
            return
        kind, name = self._element(alloc.type.dtype), self._unique(alloc.result.hint or "buffer")
        self.names[alloc.result] = name
        offset = self._formula(scratch_offsets(self.function)[alloc])
        self._line(f"{kind} *const {name} = ({kind} *)((char *)scratch + {offset});")
        if not any(isinstance(user, memory.Load) for user in alloc.result.users):
            self._line(f"(void){name};")
