"""Peak, matrix products and elementary functions, for each preset that this machine can run."""

from __future__ import annotations

from benchmarks.kernels.functions import functions
from benchmarks.kernels.gemm import SHAPES, TILES, gemm
from benchmarks.kernels.machine import Machine
from headrace.codegen.workers import WorkerPool, host
from headrace.compiler.measure.peak import peak
from headrace.targets import find_target


def main() -> None:
    family = find_target("host")[1]
    with WorkerPool(1) as pool:
        for preset, facts in family.presets.items():
            if not set(family.required_features(preset)) <= set(host().features):
                continue
            machine = Machine(facts, pool)
            most = peak(machine)
            print(f"{preset}: peak {most:.1f} GFLOP/s")
            for rows, vectors in TILES[facts.vector_registers]:
                for shape in SHAPES:
                    found = gemm(machine, rows, vectors, *shape)
                    tile = f"{rows}x{vectors * facts.lanes(4)}"
                    most = max(most, peak(machine))  # the clock may have been lower the first time
                    print(f"  {'x'.join(map(str, shape)):14} tile {tile:6} {found:6.1f} GFLOP/s {found / most:6.1%}")
            for name, nanoseconds in functions(machine):
                print(f"  {name:14} {nanoseconds:.3f} ns an element")


if __name__ == "__main__":
    main()
