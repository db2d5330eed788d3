"""docs/operators.md: which ONNX operators there are here, from the declarations and ONNX's own schemas.

    python tests/support/operators_page.py        writes the page anew

Opsets: from the first version that an import function takes to the last that has the operator.  Element types: those
that the newest schema allows for the first operand (of a result, where there is none) and that exist here, without
what `LESS` says.  tests/compiler/frontends/onnx/test_operators.py tries each of them.  Targets: by the driver that runs
their code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onnx.defs import OpSchema, get_all_schemas_with_history, onnx_opset_version

from headrace.compiler.frontends.onnx.reading import OLDEST_OPSET
from headrace.ir.declare import declarations
from headrace.ir.graph.importing import importers
from headrace.ir.types import DTYPES
from headrace.targets import list_targets

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operators.md"
KINDS = ("float", "int", "uint", "bool", "narrow")
# Where less than the schema allows is taken: the kinds that are.
LESS = {
    "Col2Im": ("float",),
    "IsInf": ("float",),
    "IsNaN": ("float",),
    "QLinearMatMul": ("int", "uint"),
}
ONNX_NAMES = (
    {"f16": "float16", "bf16": "bfloat16", "f32": "float", "f64": "double", "bool": "bool"}
    | {f"{sign or 'i'}{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (2, 4, 8, 16, 32, 64)}
    | {f"f8{form}": f"float8{form}" for form in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")}
)
ONNX_NAMES |= {"f8e8m0fnu": "float8e8m0", "f4e2m1fn": "float4e2m1"}


def _presets_of(driver: str) -> str:
    return ", ".join(preset for preset, target in list_targets().items() if target.driver == driver)


_HEAD = f"""# Operators

The ONNX operators that Headrace imports, opsets {OLDEST_OPSET} to {onnx_opset_version()}. One that is not listed works where the
standard defines it by a function of operators that are. What a model uses beyond that is named, all nodes at once.

Element types are those of the first operand: `float` is f16, bf16, f32 and f64, `int` and `uint` are 8 to 64 bits
wide, `narrow` is float8 (e4m3fn, e4m3fnuz, e5m2, e5m2fnuz, e8m0), float4e2m1, and integers of 4 and 2 bits. A narrow
element takes a byte in memory, as in arrays of ml_dtypes.

Sizes may be data: shapes, bounds and counts that come in or are computed when the model runs, and how many elements
NonZero, Compress, Unique and NonMaxSuppression find. Ranks are known while compiling. Where one follows from the length
of a shape or of axes, and that is a symbol, it is what the model declares for the result, or further on for what is
computed from it alone; a run checks it. `--shape` gives an input another length.

Sequences and optionals work where their structure follows from the model: how long a sequence is, which element is
taken, whether an optional is empty. `SequenceConstruct`, `SequenceEmpty`, `SequenceInsert`, `SequenceErase`, `SequenceAt`,
`SequenceLength`, `SplitToSequence`, `ConcatFromSequence`, `SequenceMap`, `Optional`, `OptionalGetElement`,
`OptionalHasElement` and `Identity` leave nothing of them in a compiled model. An input `x` that is a sequence becomes the
inputs `x[0]`, `x[1]` and so on, as many as shapes are given for (`--shape 'x[0]=n,3' --shape 'x[1]=m,3'`; `--shape x=` is
an empty one), and an output alike. An input that is an optional is there if a shape is given for it.

`If` takes any condition; branches may give results of different sizes, but of one rank. So do `Loop` and `Scan` (from
opset 9 on) with their carried values: the number of turns may be data or a symbol. Sequences and optionals are carried
where the number of turns is known while compiling, and at most 1024.

Targets are named by the driver that runs their code. `cpu` is {_presets_of("cpu")}:
they share one pipeline, so that one runs what all run. What a CPU lacks is made of other instructions: x86-64-v2 rounds a
multiply-add twice, and converts f16 by integer arithmetic. `opencl` runs all of it too, f16 and bf16
computed as f32; f64 only where the device has it.

This page is generated from the declarations by `python tests/support/operators_page.py`; a test keeps it true.

| operator | opsets | element types | targets | declared in |
| --- | --- | --- | --- | --- |
"""


def schema_of(op_type: str, domain: str = "") -> OpSchema:
    """The newest schema of an operator that is not deprecated."""
    found = [s for s in _history(op_type, domain) if not s.deprecated]
    return max(found, key=lambda s: s.since_version)


def _history(op_type: str, domain: str) -> list[OpSchema]:
    return [s for s in get_all_schemas_with_history() if (s.name, s.domain) == (op_type, domain)]


def element_types(op_type: str, domain: str = "", less: Mapping[str, Sequence[str]] = LESS) -> set[str]:
    """The names of the element types that an operator takes."""
    return allowed_types(schema_of(op_type, domain), less.get(op_type, KINDS))


def allowed_types(schema: OpSchema, kinds: Sequence[str] = KINDS) -> set[str]:
    """Of the element types of these kinds, those that a schema allows for the first operand."""
    variable = (schema.inputs or schema.outputs)[0].type_str
    allowed = [t for c in schema.type_constraints if c.type_param_str == variable for t in c.allowed_type_strs]
    return {n for n, d in DTYPES.items() if d.kind in kinds and f"tensor({ONNX_NAMES[n]})" in (allowed or [variable])}


_TAIL = """
## Where ONNX's own test data differ

Four of the standard's tests of operators expect numbers that are not those of its text, and fail here where their
operands are constants:

- `resize_downsample_scales_linear_align_corners` and `resize_downsample_scales_cubic_align_corners`: the text divides by
  `length_resized - 1`, the length of the result; the data were made with the length before it was cut to a whole number
  (2.4 in place of 2). Here, as in ONNX Runtime, the corners are aligned.
- `dft_inverse` and `dft_inverse_opset19`: ten elements are 0, or 5e-16 in f64; the data have the rounding errors of the
  f32 transform that made them, up to 1.9e-7 in a result of up to 54, and the tests allow 1e-7.

## What is left out, and why

- Tensors of strings (`StringConcat`, `StringSplit`, `StringNormalizer`, `RegexFullMatch`, `LabelEncoder` of strings, `Cast`
  of them): strings never enter kernels.
- `ImageDecoder`: a decoder of files is no arithmetic. Decode before.
- `Adagrad`, `Adam`, `Momentum`, `Gradient`: training.
- `Det` of more than four rows, sequences whose structure is data.
"""


def page() -> str:
    """The whole text."""
    return _HEAD + "".join(_row(domain, op_type) for domain, op_type in sorted(_firsts())) + _TAIL


def _row(domain: str, op_type: str) -> str:
    first = max(OLDEST_OPSET, _firsts()[domain, op_type], min(s.since_version for s in _history(op_type, domain)))
    ended = [s.since_version for s in _history(op_type, domain) if s.deprecated]
    last = ended[0] - 1 if ended else onnx_opset_version()
    home = _homes()[domain, op_type]
    name = f"{domain}.{op_type}" if domain else op_type
    types = listed(element_types(op_type, domain))
    return f"| {name} | {first} to {last} | {types} | {_targets()} | [{home.stem}](../{home}) |\n"


def _targets() -> str:
    """The drivers whose targets run an operator.  Those of CPUs run all; one that does not will have to be asked here."""
    return ", ".join(sorted({target.driver for target in list_targets().values()}))


def listed(names: Iterable[str]) -> str:
    """Whole kinds as one word, others by name."""
    parts = []
    for kind in KINDS:
        own = [n for n, d in DTYPES.items() if d.kind == kind]
        found = [n for n in own if n in names]
        parts += [kind] if found == own else found
    return ", ".join(parts)


def _firsts() -> dict[tuple[str, str], int]:
    """The oldest version that there is an import for."""
    found: dict[tuple[str, str], int] = {}
    for importer in importers():
        found.setdefault((importer.domain, importer.op_type), importer.since)
    return found


def _homes() -> dict[tuple[str, str], Path]:
    """The file with the import function, or with the declaration that has the ONNX name."""
    found = {(i.domain, i.op_type): i.run for i in importers()}
    declared = {(f.domain, f.name): d.cls for d in declarations("graph") for f in d.onnx}
    return {key: _path(declared.get(key, run)) for key, run in found.items()}


def _path(thing: object) -> Path:
    """In the repository, wherever the package may be installed."""
    return Path(*thing.__module__.split(".")[1:]).with_suffix(".py")


if __name__ == "__main__":
    PAGE.write_text(page())
