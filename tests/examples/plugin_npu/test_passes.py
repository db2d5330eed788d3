"""The passes of the NPU's package, one at a time: what their first lines show is what they do."""

from __future__ import annotations

from pathlib import Path

from doc_blocks import occurs
from npu_plugin import Installed

STAGE = """
kernel.func @f(%x: buffer<f32[n, 64]>, %b: buffer<f32[64]>, %y: buffer<f32[n, 64]>) {outputs = 1, scalars = ["n"]} {
  kernel.parallel (i_o: grid (n + 15) floordiv 16) {
    kernel.map (i_i: parallel 16, j: parallel 64) reads(%x[i_o*16 + i_i, j], %b[j]) writes(%y[i_o*16 + i_i, j])
        {where = [-i_i - i_o*16 + n - 1]} {
    ^(%0: f32, %1: f32):
      %2 = kernel.add %0, %1 : f32
      kernel.yield %2
    }
  }
}
"""
STAGED = """
%x_tile = kernel.alloc {type = buffer<f32[16, 64], shared>} ...
kernel.map (i_i_1: parallel 16, j_1: parallel 64) reads(%x[i_i_1 + i_o*16, j_1] else 0.0) writes(%x_tile[i_i_1, j_1]) {
...
%b_tile = kernel.alloc {type = buffer<f32[64], shared>} ...
kernel.map (j_2: parallel 64) reads(%b[j_2] else 0.0) writes(%b_tile[j_2]) {
...
%y_tile = kernel.alloc {type = buffer<f32[16, 64], shared>} ...
kernel.map (i_i: parallel 16, j: parallel 64) reads(%x_tile[i_i, j], %b_tile[j]) writes(%y_tile[i_i, j]) {
...
kernel.map (i_i_2: parallel 16, j_3: parallel 64) reads(%y_tile[i_i_2, j_3]) writes(%y[i_i_2 + i_o*16, j_3])
    {where = [-i_i_2 - i_o*16 + n - 1]} {
"""
SQUARE = """
graph.func @main(%x: f32[n, 64]) {
  %1 = graph.relu %x
  %2 = graph.mul %1, %1
  %3 = graph.relu %2
  %4 = graph.mul %1, %3
  graph.return %4
}
"""


def passed(npu: Installed, folder: Path, text: str, pipeline: str) -> str:
    (folder / "m.hir").write_text(text)
    return npu.headrace("opt", "--pass-pipeline", pipeline, "--verify-each=semantic", folder / "m.hir")


def test_stage(npu: Installed, tmp_path: Path) -> None:
    found = passed(npu, tmp_path, STAGE, "kernel.npu-stage{func=f}")
    assert occurs(STAGED, found), found
    assert "(100.0 %)" in found


def test_stage_wants_tiles(npu: Installed, tmp_path: Path) -> None:
    (tmp_path / "m.hir").write_text(STAGE.replace("j: parallel 64", "j: parallel n"))
    found = npu.refused("opt", "--pass-pipeline", "kernel.npu-stage{func=f}", tmp_path / "m.hir")
    assert found == "headrace: kernel.npu-stage: axis j: parallel n of a tile; its extent has to be a constant"


def test_square_relu(npu: Installed, tmp_path: Path) -> None:
    """A relu with another user stays; a product of two different ones is none of the pass's business."""
    found = passed(npu, tmp_path, SQUARE, "graph.npu-square-relu")
    shown = """
    %0 = graph.relu %x : f32[n, 64]
    %1 = graph.squared_relu %x : f32[n, 64]
    %2 = graph.relu %1 : f32[n, 64]
    %3 = graph.mul %0, %2 : f32[n, 64]
    """
    assert occurs(shown, found), found
    assert "(100.0 %)" in found
