"""The driver: all stages from a model to an artefact.

In: an ONNX file or a `.hir` file at any stage, the targets, the pipeline.  Out: a `.hrm` file and a report of
what was done and how long it took.

    frontend -> passes of the target's pipeline -> code -> artefact

Each target goes its own way from the imported module on; the artefact's constants are shared where equal.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headrace.codegen.artefact.model import Artefact, Signature, Variant
from headrace.codegen.artefact.writer import write
from headrace.codegen.clike import emit_c
from headrace.codegen.program import ConstantPool, describe_kernel, encode_program, signature_of
from headrace.compiler.constants import constants_of
from headrace.compiler.files import write_text
from headrace.compiler.frontends.onnx import import_model
from headrace.compiler.version import VERSION
from headrace.ir.errors import OptionError, PassError
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.pass_manager import Hooks, PassManager, Timing
from headrace.ir.pipeline import Pipeline
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.text import load_hir, print_op
from headrace.targets import Target, find_target

Shapes = Mapping[str, Sequence[int | str | None]]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Report:
    """What a compilation did.  `stages` and `passes` are in order, seconds each."""

    targets: tuple[str, ...]
    artefact_bytes: int
    kernels: int
    stages: tuple[tuple[str, float], ...]
    passes: tuple[Timing, ...]


def compile(
    model: PathLike,
    *,
    output: PathLike,
    target: str | Sequence[str] = "host",
    shapes: Shapes | None = None,
    pipeline: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Compiles `model` (ONNX, or `.hir`) into the file `output`.

    `target`: a preset, several as a list or separated by commas.  `shapes`: dims by input name, numbers or symbols,
    instead of the declared ones.  `pipeline`: text or the path of a `.pipeline` file, instead of the target's own.
    Raises HeadraceError; then `output` is as it was before.
    """
    clock = _Clock()
    targets = _targets(target)
    _check_output(model, output)
    with clock.stage("import"):
        module = read_model(model, shapes)
        _note_options(module, [p for p, _ in targets], shapes, pipeline)
    return _compiled(module, targets, output, pipeline, hooks, clock)


def compile_module(
    module: Module,
    *,
    output: PathLike,
    target: str | Sequence[str] = "host",
    pipeline: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """As `compile`, from a module that is in memory; it is used up."""
    return _compiled(module, _targets(target), output, pipeline, hooks, _Clock())


def _compiled(
    module: Module,
    targets: Sequence[tuple[str, Target]],
    output: PathLike,
    pipeline: str | None,
    hooks: Hooks | None,
    clock: _Clock,
) -> Report:
    pool = ConstantPool()
    variants: list[Variant] = []
    timings: list[Timing] = []
    signature: Signature | None = None
    for preset, family in targets:
        # The module goes through the passes of each target; all but the last one work on a copy.
        own = module if (preset, family) == targets[-1] else copy_of(module)
        with clock.stage("passes"):
            timings += run_passes(own, preset, family, pipeline, hooks)
        with clock.stage("code"):
            variants.append(_variant(own, preset, family, pool))
        signature = signature_of(_program(own))
    assert signature is not None
    with clock.stage("write"):
        size = write(Artefact(signature, tuple(variants), tuple(pool.constants), _metadata(module)), output)
    kernels = sum(len(v.kernels) for v in variants)
    return Report(tuple(p for p, _ in targets), size, kernels, tuple(clock.stages.items()), tuple(timings))


def emit_c_text(
    model: PathLike,
    *,
    output: PathLike,
    target: str = "host",
    shapes: Shapes | None = None,
    pipeline: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """Compiles `model` to its scheduled kernels as one C11 file.  Raises HeadraceError."""
    clock = _Clock()
    targets = _targets(target)
    _check_output(model, output)
    if len(targets) > 1:
        raise OptionError(f"C text is for one target; found {', '.join(p for p, _ in targets)}")
    ((preset, family),) = targets
    with clock.stage("import"):
        module = read_model(model, shapes)
    with clock.stage("passes"):
        timings = run_passes(module, preset, family, pipeline, hooks)
    with clock.stage("code"):
        kernels = list(module.functions(KernelFunc))
        if not kernels:
            raise PassError(f"{model}: no kernel to write as C: the passes left none; do they run kernel.lower?")
        text = emit_c(kernels)
    write_text(Path(output), text)
    return Report((preset,), len(text), len(kernels), tuple(clock.stages.items()), tuple(timings))


def read_model(model: PathLike, shapes: Shapes | None) -> Module:
    """The module of an ONNX file, or of a `.hir` file as it is.  Raises HeadraceError."""
    path = Path(model)
    if path.suffix == ".hir":
        if shapes:
            raise OptionError(f"{path}: shapes are set when an ONNX model is imported; a .hir has its own")
        return load_hir(path)
    module = import_model(path, shapes or {})
    module.attributes["source"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return module


def _check_output(model: PathLike, output: PathLike) -> None:
    """Raises OptionError where the model itself would be overwritten."""
    if Path(output).exists() and Path(model).exists() and Path(output).samefile(model):
        raise OptionError(f"{output}: cannot be written: it is the model that is compiled")


def run_passes(module: Module, preset: str, target: Target, pipeline: str | None, hooks: Hooks | None) -> list[Timing]:
    """Runs the given pipeline, or the target's own.  Raises PassError and SemanticError."""
    context = PassContext(target.presets[preset], target.schedule)
    return PassManager(_pipeline(pipeline, target), context, hooks).run(module)


def _pipeline(pipeline: str | None, target: Target) -> Pipeline:
    return Pipeline.read(target.pipeline()) if pipeline is None else _given_pipeline(pipeline)


def _given_pipeline(pipeline: str) -> Pipeline:
    if pipeline.endswith(".pipeline"):
        return Pipeline.read(pipeline)
    return Pipeline.parse(pipeline, "--pipeline")


def _targets(target: str | Sequence[str]) -> list[tuple[str, Target]]:
    names = target.split(",") if isinstance(target, str) else list(target)
    found = dict(find_target(name.strip()) for name in names)
    if not found:
        raise OptionError("no target given; name one, or host")
    return list(found.items())


def copy_of(module: Module) -> Module:
    """A copy to run passes on; the constants are shared."""
    copy = module.clone()
    assert isinstance(copy, Module)
    copy.constants = module.constants
    return copy


def _program(module: Module) -> ProgramFunc:
    found = list(module.functions(ProgramFunc))
    if len(found) != 1:
        raise PassError(f"the pipeline left {len(found)} program functions, expected one; does it run kernel.lower?")
    return found[0]


def _variant(module: Module, preset: str, target: Target, pool: ConstantPool) -> Variant:
    kernels = list(module.functions(KernelFunc))
    emitted = target.emit(kernels, target.presets[preset])
    described = tuple(
        describe_kernel(k, emitted.entries[k.function_name], emitted.scratch_bytes[k.function_name], print_op(k))
        for k in kernels
    )
    numbers = {k.function_name: (i, k) for i, k in enumerate(kernels)}
    program = encode_program(_program(module), numbers, pool, constants_of(module))
    return Variant(
        preset,
        target.machine,
        target.required_features(preset),
        program,
        described,
        emitted.code,
        target.driver,
    )


def _note_options(module: Module, presets: Sequence[str], shapes: Shapes | None, pipeline: str | None) -> None:
    """What decides the artefact's bytes goes into the module, and nothing of paths, times and machines.

    A `.hir` of a compilation under way has its options already: going on from it gives the same artefact.
    """
    if module.options:
        return
    options = [f"targets={','.join(presets)}"]
    options += [f"shape {name}={','.join(str(d) for d in dims)}" for name, dims in sorted((shapes or {}).items())]
    if pipeline is not None:
        options.append(f"pipeline={_given_pipeline(pipeline)}")
    module.attributes["options"] = tuple(options)


def _metadata(module: Module) -> tuple[tuple[str, str], ...]:
    """How the artefact was made, for `inspect`."""
    found = {"compiler": f"headrace {VERSION}"}
    if module.source:  # a .hir written by hand comes from no model
        found["source"] = f"sha256:{module.source}"
    for option in module.options:
        name, _, value = option.partition("=")
        found[name] = value
    return tuple(sorted(found.items()))


@dataclass(slots=True)
class _Clock:
    """Seconds for each stage, added up where a stage comes again."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - started
