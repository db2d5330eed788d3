"""Damages artefacts and runs them under sanitizers (fuzz_artefacts.c).

    PYTHONPATH=tests/support python tests/fuzz/fuzz_artefacts.py --count 100000 [--seed 1]

Half are damaged with their digests left as they are, half forged with digests made right, a tenth of these in the
kernel table.  Exit status 1 if a damaged file was accepted, or one did harm; `--first N --count 1 --only forge`
repeats one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import odd_models
from onnx import GraphProto, ModelProto, numpy_helper, parser

import headrace

ROOT = Path(__file__).parents[2]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OPSET = '<ir_version: 9, opset_import: ["" : 17]>'

# On this CPU; on two devices, of which the null driver's takes products, sums and relu; all on that one.
TARGETS = {"devices": "half+x86-64-v2", "devices by data": "half+x86-64-v2", "dense": "half", "turns": "half,x86-64-v2"}
# What artefacts are made of: products, windows, rows, lookups, sizes from data, recurrences, parts of buffers,
# loops with a size that grows, inside one another, over a sequence; of `odd_models`, branches, loops and narrow types.
ODD = ("branches", "loops", "sizes", "quantised")
SHARES = {"damage": 0.5, "forge": 0.45, "table": 0.05}
MODELS = {
    "dense": """
        g (float[batch, 12] x) => (float[batch, 10] y) <float[12, 33] w, float[33] b, float[33, 10] v, float[10] c> {
          h = Gemm(x, w, b)
          r = Relu(h)
          l = Gemm(r, v, c)
          y = Softmax<axis = 1>(l)
        }""",
    "windows": """
        g (float[batch, 3, rows, 9] x) => (float[batch, 5] y)
          <float[8, 3, 3, 3] w, float[8, 1, 3, 3] d, float[8, 5] v> {
          a = Conv<pads = [1, 1, 1, 1]>(x, w)
          b = Relu(a)
          c = Conv<group = 8, pads = [1, 1, 1, 1]>(b, d)
          e = Add(c, b)
          p = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(e)
          m = GlobalAveragePool(p)
          f = Flatten(m)
          y = MatMul(f, v)
        }""",
    "attention": """
        g (float[batch, seq, 16] q, float[batch, seq, 16] k) => (float[batch, seq, 16] y) {
          t = Transpose<perm = [0, 2, 1]>(k)
          s = MatMul(q, t)
          p = Softmax<axis = 2>(s)
          y = MatMul(p, k)
        }""",
    "lookups": """
        g (float[n, 6] x, int64[m] i) => (float[m, 6] y, float[m, 12] z) {
          y = Gather(x, i)
          a = Neg(y)
          z = Concat<axis = 1>(y, a)
        }""",
    "sizes": """
        g (float[n, 4] x, int64[2] s) => (float[r, c] y) {
          a = Relu(x)
          b = Reshape(a, s)
          y = Neg(b)
        }""",
    "recurrence": """
        g (float[seq, batch, 4] x) => (float[seq, 1, batch, 5] y) <float[1, 20, 4] w, float[1, 20, 5] u> {
          y = LSTM<hidden_size = 5>(x, w, u)
        }""",
    "parts": """
        g (float[n, 8] x) => (float[n, 8] y)
          <int64[1] zero = {0}, int64[1] one = {1}, int64[1] half = {4}, int64[1] whole = {8}> {
          h = Tanh(x)
          a = Slice(h, zero, half, one)
          b = Slice(h, half, whole, one)
          c = Mul(b, a)
          d = Concat<axis = 1>(c, a)
          y = Add(d, x)
        }""",
    "turns": """
        g (float[n, 4] x, float[2, 4] e, int64 m, float limit) => (float[r, 4] y, float[t] z)
          <bool go = {1}> {
          y, z = Loop(m, go, x) <body = turn (int64 i, bool c, float[k, 4] a) => (bool d, float[l, 4] b, float s) {
            b = Concat<axis = 0>(a, e)
            s = ReduceSum<keepdims = 0>(b)
            d = Less(s, limit)
          }>
        }""",
    "turns of turns": """
        g (float[n, 4] x, int64 m) => (float[n, 4] y, float[k, n, 4] rows) <bool go = {1}> {
          y, rows = Loop(m, go, x) <body = outer (int64 i, bool c, float[n, 4] a)
              => (bool d, float[n, 4] b, float[n, 4] r) {
            b = Loop(m, c, a) <body = inner (int64 j, bool e, float[n, 4] f) => (bool h, float[n, 4] g) {
              h = Identity(e)
              k = Tanh(f)
              g = Add(k, a)
            }>
            d = Identity(c)
            r = Neg(b)
          }>
        }""",
    "devices": """
        g (float[batch, 12] x) => (float[batch, 7] y, float[batch, 9] z) <float[12, 9] w, float[9] b, float[9, 7] v> {
          d = MatMul(x, w)
          a = Add(d, b)
          r = Relu(a)
          s = Softmax<axis = 1>(r)
          y = MatMul(s, v)
          z = Add(r, d)
        }""",
    "devices by data": """
        g (float[n, 4] x, bool[n] c, float[4, 4] w) => (float[r, 4] y) {
          d = MatMul(x, w)
          k = Compress<axis = 0>(d, c)
          y = MatMul(k, w)
        }""",
    "scan": """
        g (float[b, 4] s, float[seq, b, 4] x) => (float[b, 4] y, float[seq, b, 4] z) {
          y, z = Scan(s, x) <num_scan_inputs = 1, body = turn (float[b, 4] h, float[b, 4] w)
              => (float[b, 4] k, float[b, 4] o) {
            t = Add(h, w)
            k = Tanh(t)
            o = Neg(k)
          }>
        }""",
}


def models() -> dict[str, ModelProto]:
    """`MODELS`, parsed."""
    parsed = {name: parser.parse_model(OPSET + text) for name, text in MODELS.items()}
    for model in parsed.values():
        _fill(model.graph)
    return parsed


def make_models(folder: Path) -> list[Path]:
    """Compiles each of `MODELS` and `ODD` for the CPU, and once more where `TARGETS` says so; the artefacts' paths."""
    import half_target  # late: in tests/support, where `fuzz_models`, which only takes models from here, does not look

    odd = odd_models.models()
    made = {**models(), **{f"odd_{name}": odd[name] for name in ODD}}
    paths = []
    for name, model in made.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    wanted = [(name, "x86-64-v2") for name in made if "+" not in TARGETS.get(name, "")]
    with half_target.offered("null"):
        for name, target in (*wanted, *TARGETS.items()):
            paths.append(folder / f"{name} {target}.hrm")
            headrace.compile(folder / f"{name}.onnx", output=paths[-1], target=target)
    return paths


def _fill(graph: GraphProto) -> None:
    """Weights that the text declares get values."""
    rng = np.random.default_rng(0)
    for declared in graph.value_info:
        shape = [d.dim_value for d in declared.type.tensor_type.shape.dim]
        weights = rng.standard_normal(shape, np.float32)
        graph.initializer.append(numpy_helper.from_array(weights, declared.name))
    del graph.value_info[:]


def build(folder: Path) -> Path:
    """fuzz_artefacts.c with the whole runtime, under sanitizers."""
    table = folder / "drivers.c"
    table.write_text(
        '#include "model.h"\nextern const hr_driver hr_driver_cpu;\n'
        "const hr_driver *const hr_builtin_drivers[] = {&hr_driver_cpu, NULL};\n"
    )
    source = ROOT / "runtime" / "src"
    own = [
        table,
        Path(__file__).with_suffix(".c"),
        Path(__file__).with_name("damaged_artefacts.c"),
        ROOT / "examples" / "driver" / "null.c",
        source / "drivers" / "cpu.c",
    ]
    files = [*own, *sorted(source.glob("*.c"))]
    flags = ["-std=c11", "-O1", "-g", "-pthread", "-D_POSIX_C_SOURCE=200809L", '-DHR_VERSION_TEXT="test"']
    program = folder / "artefacts"
    folders = (Path(__file__).parent, source, ROOT / "runtime" / "include", ROOT / "tests" / "support")
    include = [f"-I{folder}" for folder in folders]
    subprocess.run(["gcc", *flags, *SANITIZED, *include, *files, "-o", program], check=True)
    return program


def run(
    program: Path, kind: str, seed: int, first: int, count: int, paths: Sequence[Path]
) -> subprocess.CompletedProcess[str]:
    """One process of `fuzz_artefacts.c`: what it says of numbers `first` and on."""
    command = [str(word) for word in (program, kind, seed, first, count, *paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", default=100_000, help="Files, of all kinds together.", show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--first", default=0, help="Number of the first file of each kind.", show_default=True)
@click.option("--only", type=click.Choice(list(SHARES)), help="This kind alone.")
@click.option("--jobs", default=2, show_default=True)
def main(count: int, seed: int, first: int, only: str | None, jobs: int) -> None:
    """Damage artefacts, and see that none is accepted or does harm."""
    counts = {only: count} if only else {kind: round(count * share) for kind, share in SHARES.items()}
    with TemporaryDirectory() as name:
        folder = Path(name)
        program, paths = build(folder), make_models(folder)
        parts = [
            (kind, first + each * i // jobs, each * (i + 1) // jobs - each * i // jobs)
            for kind, each in counts.items()
            for i in range(jobs)
        ]
        with ThreadPoolExecutor(jobs) as pool:
            done = list(pool.map(lambda p: run(program, p[0], seed, p[1], p[2], paths), parts))
    for (kind, at, _), result in zip(parts, done, strict=True):
        click.echo(f"{kind}, seed {seed}, from {at}\n{result.stderr}{result.stdout}", nl=False)
    raise SystemExit(int(any(r.returncode for r in done)))


if __name__ == "__main__":
    main()
