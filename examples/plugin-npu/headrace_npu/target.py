"""What Headrace has to know of the NPU: numbers for its passes, what runs on it, and the way there."""

from __future__ import annotations

from pathlib import Path

from headrace.ir.core import Operation
from headrace.ir.facts import MatrixTile, TargetFacts
from headrace.ir.graph.families import Elementwise, tensor
from headrace.ir.graph.ops.matmul import MatMul
from headrace.ir.graph.reads import scalar_operations
from headrace.ir.types import F32
from headrace.targets.base import DeviceTarget
from headrace_npu import isa
from headrace_npu.emit import emit
from headrace_npu.schedule import schedule
from headrace_npu.select import VECTOR_FUNCTIONS

FACTS = TargetFacts(
    preset="npu",
    vector_bytes=4 * isa.COLUMNS,
    vector_registers=0,
    has_fma=False,
    l1_bytes=4 * isa.SCRATCHPAD,
    l2_bytes=4 * isa.SCRATCHPAD,
    shared_bytes=4 * isa.SCRATCHPAD,
    matrix_tiles=(MatrixTile(isa.ROWS, isa.COLUMNS, isa.DEPTH, F32, F32, F32, smaller=True),),
    copy_worth=1.0,
)


class Npu(DeviceTarget):
    """A device beside the CPU that does not take everything."""

    def refuses(self, operation: Operation, preset: str) -> str | None:
        """Products of f32 matrices run, and whatever the vector unit has a function for at each step."""
        others = sorted({tensor(v).dtype.name for v in (*operation.operands, *operation.results)} - {F32.name})
        if others:
            return f"it computes in f32, not in {', '.join(others)}"
        if isinstance(operation, MatMul):
            return None
        if not isinstance(operation, Elementwise):
            return "it has units for products of matrices and for elementwise operations only"
        steps = [s for s in scalar_operations(operation) if type(s) not in VECTOR_FUNCTIONS]
        return f"its vector unit has no {steps[0].name}" if steps else None


TARGET = Npu(
    family="npu",
    driver="npu",
    presets={"npu": FACTS},
    pipeline_file=Path(__file__).parent / "npu.pipeline",
    schedule=schedule,
    emit=emit,
)
