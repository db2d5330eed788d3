"""Times single kernels as the compiler schedules them, on one thread, for each preset that this machine can run.

A line is a layer: microseconds of its kernel (the best of many runs), GFLOP/s, per cent of the core's peak, and the
per cent that it should reach, marked where it falls short.  The peak is that of multiply-adds on registers, measured
before each layer; taps of a convolution that fall on padding count as work.  Of layer norm, whole calls are compared
with onnxruntime's in interleaved rounds.

  gemm          Gemm with bias
  convolution   the distinct convolutions of ResNet-50, with bias and Relu, batch 1
  depthwise     3x3, stride 1, of MobileNetV2 and EfficientNet-B0
  attention     Softmax(x x') x, 12 heads of 128 rows of 64
  layer norm    128 rows of 768
  functions     nanoseconds an element of exp, log, tanh, erf in the second-level cache
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from benchmarks.kernels.functions import functions
from benchmarks.kernels.models import Layer, layers
from benchmarks.kernels.timing import against_onnxruntime, launch_seconds
from headrace.codegen.workers import WorkerPool, host
from headrace.compiler.measure.machine import Machine
from headrace.compiler.measure.peak import peak
from headrace.targets import find_target

# Per cent of the peak, by group and number of vector registers.
WANTED = {
    "gemm": {32: 92, 16: 88},
    "convolution": {32: 92, 16: 88},
    "depthwise": {32: 85, 16: 75},
    "attention": {32: 75, 16: 75},
}
MOST_OF_PEER = 0.5  # of onnxruntime's time, for layer norm


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    family = find_target("host")[1]
    able = [p for p in family.presets if set(family.required_features(p)) <= set(host().features)]
    parser.add_argument("--preset", choices=able, action="append", help="measure this one only; may be given again")
    parser.add_argument("--group", choices=[*WANTED, "layer norm", "functions"], action="append", help="likewise")
    options = parser.parse_args()
    with WorkerPool(1) as pool:
        for preset in options.preset or able:
            machine = Machine(family.presets[preset], pool)
            print(f"{preset}\n  {'layer':34} {'us':>9} {'GFLOP/s':>8} {'peak':>6} wanted")
            for line in _lines(preset, machine, options.group or [*WANTED, "layer norm", "functions"]):
                print(f"  {line}", flush=True)


def _lines(preset: str, machine: Machine, groups: list[str]) -> Iterator[str]:
    for layer in layers():
        if layer.group in groups:
            yield _compared(layer, preset) if layer.group == "layer norm" else _rate(layer, preset, machine)
    if "functions" in groups:
        for name, nanoseconds in functions(machine):
            yield f"{name:34} {nanoseconds:9.3f} ns an element"


def _rate(layer: Layer, preset: str, machine: Machine) -> str:
    most = peak(machine)
    seconds = launch_seconds(layer.model(), preset)
    most = max(most, peak(machine))  # the clock may have been lower the first time
    rate = layer.flops / seconds / 1e9
    share, wanted = 100 * rate / most, WANTED[layer.group][machine.facts.vector_registers]
    short = "  <-" if share < wanted else ""
    return f"{f'{layer.group} {layer.name}':34} {seconds * 1e6:9.1f} {rate:8.1f} {share:5.1f}% {wanted:5}%{short}"


def _compared(layer: Layer, preset: str) -> str:
    ours, theirs = against_onnxruntime(layer.model(), preset)
    share = ours / theirs
    said = f"{ours * 1e6:9.1f} us, {share:.2f} of onnxruntime's, wanted {MOST_OF_PEER}"
    return f"{f'{layer.group} {layer.name}':34} {said}{'  <-' if share > MOST_OF_PEER else ''}"


if __name__ == "__main__":
    main()
