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

from headrace.codegen.artefact.model import Artefact, Device, Kernel, Signature, Variant
from headrace.codegen.artefact.writer import write
from headrace.codegen.clike import emit_c
from headrace.codegen.program import ConstantPool, DeviceProgram, describe_kernel, encode_program, signature_of
from headrace.compiler.constants import constants_of
from headrace.compiler.files import check_place, write_text
from headrace.compiler.frontends.onnx import import_model
from headrace.compiler.placement import Machine, divide, machines, modules_of, refusal, rename_kernels, require
from headrace.compiler.route import Points, Route
from headrace.compiler.version import VERSION
from headrace.ir.errors import CodegenError, HeadraceError, OptionError, ParseError, PassError, TargetError, one_line
from headrace.ir.facts import Placement
from headrace.ir.kernel.ops.func import KernelFunc
from headrace.ir.module import Module
from headrace.ir.pass_base import PassContext
from headrace.ir.pass_manager import Hooks, PassManager, Timing
from headrace.ir.program.ops.program import ProgramFunc
from headrace.ir.text import load_hir, print_op
from headrace.targets import Emitted, Target

Shapes = Mapping[str, Sequence[int | str | None]]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Report:
    """What a compilation did.

    `stages` and `passes`: in order, seconds each.  `placements`: of the targets that were divided among devices.
    `whole`: the targets that were not, each of which runs all of the model.
    """

    targets: tuple[str, ...]
    artefact_bytes: int
    kernels: int
    stages: tuple[tuple[str, float], ...]
    passes: tuple[Timing, ...]
    placements: tuple[Placement, ...] = ()
    whole: tuple[str, ...] = ()


def compile(
    model: PathLike,
    *,
    output: PathLike,
    target: str | Sequence[str] = "host",
    shapes: Shapes | None = None,
    pipeline: str | None = None,
    before: Points = (),
    after: Points = (),
    hooks: Hooks | None = None,
    require_device: Sequence[tuple[str, str]] = (),
    keep_ir: bool = False,
) -> Report:
    """Compiles `model` (ONNX, or `.hir`) into the file `output`.

    `target`: a preset, several as a list or separated by commas; `npu+x86-64-v3` runs on the second what the first
    does not take.  `shapes`: dims by input name, numbers or symbols, instead of the declared ones.  `pipeline`: text or
    the path of a `.pipeline` file, instead of the target's own, on the host; `before` and `after`: pairs of a pass in
    it and the text of what to run there too.  `require_device`: pairs of a device and a pattern of node names; it is
    an error if one of these nodes runs elsewhere.  `keep_ir`: the file holds its kernels as text, for `inspect --ir`.
    Raises HeadraceError; then `output` is as it was before.
    """
    clock = _Clock()
    targets = machines(target)
    _check_output(model, output)
    with clock.stage("import"):
        module = read_model(model, shapes)
        route = Route(pipeline, before, after)
        _note_options(module, [t.name for t in targets], shapes, route)
    try:
        return _compiled(module, targets, output, route, hooks, clock, require_device, keep_ir)
    except (PassError, CodegenError):
        if pipeline is None and not before and not after:
            _ask_what_is_refused(model, shapes, targets)
        raise


def compile_module(
    module: Module,
    *,
    output: PathLike,
    target: str | Sequence[str] = "host",
    pipeline: str | None = None,
    hooks: Hooks | None = None,
) -> Report:
    """As `compile`, from a module that is in memory; it is used up."""
    return _compiled(module, machines(target), output, Route(pipeline), hooks, _Clock())


def _compiled(
    module: Module,
    targets: Sequence[Machine],
    output: PathLike,
    route: Route,
    hooks: Hooks | None,
    clock: _Clock,
    require_device: Sequence[tuple[str, str]] = (),
    keep_ir: bool = False,
) -> Report:
    pool = ConstantPool()
    variants: list[Variant] = []
    timings: list[Timing] = []
    placements: list[Placement] = []
    whole: list[str] = []
    signature: Signature | None = None
    for machine in targets:
        # The module goes through the passes of each target; all but the last one work on a copy.
        own = module if machine is targets[-1] else copy_of(module)
        variant = _Variant(machine, own, clock, hooks, timings, keep_ir)
        if machine.devices or require_device:
            placed = variant.divide()
            require(placed, require_device, machine)
            placements += placed
        else:
            whole.append(machine.name)
        variants.append(variant.compiled(route, pool))
        signature = signature_of(_program(own))
    assert signature is not None
    with clock.stage("write"):
        size = write(Artefact(signature, tuple(variants), tuple(pool.constants), _metadata(module)), output)
    kernels = sum(len(v.kernels) for v in variants)
    return Report(
        tuple(t.name for t in targets),
        size,
        kernels,
        tuple(clock.stages.items()),
        tuple(timings),
        tuple(placements),
        tuple(whole),
    )


def emit_c_text(
    model: PathLike,
    *,
    output: PathLike,
    target: str = "host",
    shapes: Shapes | None = None,
    pipeline: str | None = None,
    before: Points = (),
    after: Points = (),
    hooks: Hooks | None = None,
) -> Report:
    """Compiles `model` to its scheduled kernels as one C11 file.  Raises HeadraceError."""
    clock = _Clock()
    targets = machines(target)
    _check_output(model, output)
    if len(targets) > 1 or targets[0].devices:
        raise OptionError(f"C text is for one target; found {', '.join(t.name for t in targets)}")
    preset, family = targets[0].preset, targets[0].target
    with clock.stage("import"):
        module = read_model(model, shapes)
    with clock.stage("passes"):
        timings = _run(module, preset, family, Route(pipeline, before, after), hooks)
    with clock.stage("code"):
        kernels = list(module.functions(KernelFunc))
        if not kernels:
            raise PassError(f"{model}: no kernel to write as C: the passes left none; do they run kernel.lower?")
        text = emit_c(kernels)
    write_text(Path(output), text)
    return Report((preset,), len(text), len(kernels), tuple(clock.stages.items()), tuple(timings), whole=(preset,))


def read_model(model: PathLike, shapes: Shapes | None) -> Module:
    """The module of an ONNX file, or of a `.hir` file as it is.  Raises HeadraceError."""
    path = Path(model)
    if path.suffix == ".hir":
        if shapes:
            raise OptionError(f"{path}: shapes are set when an ONNX model is imported; a .hir has its own")
        loaded = load_hir(path)
        if not loaded.block.operations:
            raise ParseError(f"{path}: holds no function")
        return loaded
    module = import_model(path, shapes or {})
    module.attributes["source"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return module


def _ask_what_is_refused(model: PathLike, shapes: Shapes | None, targets: Sequence[Machine]) -> None:
    """Where a target's passes cannot go on: they speak of kernels, users know nodes.  Raises TargetError."""
    for machine in targets:
        reason = refusal(read_model(model, shapes), machine)
        if reason is not None:
            raise TargetError(reason)


def _check_output(model: PathLike, output: PathLike) -> None:
    """Raises OptionError where the model itself would be overwritten, or nothing can be written."""
    check_place(Path(output))
    if Path(output).exists() and Path(model).exists() and Path(output).samefile(model):
        raise OptionError(f"{output}: cannot be written: it is the model that is compiled")


def run_passes(module: Module, preset: str, target: Target, pipeline: str | None, hooks: Hooks | None) -> list[Timing]:
    """Runs the given pipeline, or the target's own.  Raises PassError and SemanticError."""
    return _run(module, preset, target, Route(pipeline), hooks)


def _run(module: Module, preset: str, target: Target, route: Route, hooks: Hooks | None) -> list[Timing]:
    context = PassContext(target.presets[preset], target.schedule)
    return PassManager(route.of(target), context, hooks).run(module)


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


class _Variant:
    """One target's way from the imported module to code: its own module, and one for each function of a device."""

    def __init__(
        self,
        machine: Machine,
        module: Module,
        clock: _Clock,
        hooks: Hooks | None,
        timings: list[Timing],
        keep_ir: bool,
    ) -> None:
        self.machine = machine
        self.module = module
        self.clock = clock
        self.hooks = hooks
        self.timings = timings
        self.keep_ir = keep_ir
        self.kernels: list[Kernel] = []

    def divide(self) -> list[Placement]:
        with self.clock.stage("passes"):
            timings, placements = divide(self.module, self.machine, self.hooks)
        self.timings += timings
        return placements

    def compiled(self, route: Route, pool: ConstantPool) -> Variant:
        preset, target = self.machine.preset, self.machine.target
        self._passes(self.module, preset, target, route)
        image, numbers = self._code([self.module], preset, target, 0)
        devices: list[Device] = []
        called: dict[str, DeviceProgram] = {}
        for name, device in self.machine.devices:
            parts = dict(modules_of(self.module, name))
            for prefix, part in parts.items():
                self._passes(part, name, device, Route())
                rename_kernels(part, prefix)
            number = len(devices) + 1
            code, own = self._code(list(parts.values()), name, device, number)
            devices.append(Device(device.driver, code))
            for prefix, part in parts.items():
                called[prefix] = DeviceProgram(number, _program(part), own, constants_of(part))
        program = encode_program(_program(self.module), numbers, pool, constants_of(self.module), called)
        features = target.required_features(preset)
        for name, device in self.machine.devices:
            features += device.required_features(name)
        return Variant(
            self.machine.name,
            target.machine,
            features,
            program,
            tuple(self.kernels),
            image,
            target.driver,
            tuple(devices),
        )

    def _passes(self, module: Module, preset: str, target: Target, route: Route) -> None:
        with self.clock.stage("passes"):
            self.timings += _run(module, preset, target, route, self.hooks)

    def _code(
        self, modules: Sequence[Module], preset: str, target: Target, device: int
    ) -> tuple[bytes, dict[str, tuple[int, KernelFunc]]]:
        """One device's image, and the numbers of its kernels."""
        kernels = [k for module in modules for k in module.functions(KernelFunc)]
        with self.clock.stage("code"):
            emitted = _emitted(target, preset, kernels)
        numbers = {k.function_name: (len(self.kernels) + i, k) for i, k in enumerate(kernels)}
        for kernel in kernels:
            name = kernel.function_name
            text = print_op(kernel) if self.keep_ir else ""
            self.kernels.append(
                describe_kernel(kernel, emitted.entries[name], emitted.scratch_bytes[name], text, device)
            )
        return emitted.code, numbers


def _emitted(target: Target, preset: str, kernels: Sequence[KernelFunc]) -> Emitted:
    """Code for all of the kernels.  Raises CodegenError, also for what an emitter does not mean to raise."""
    try:
        emitted = target.emit(kernels, target.presets[preset])
    except HeadraceError:
        raise
    except Exception as error:
        raise CodegenError(f"target {preset}: its emitter fails: {one_line(error)}") from error
    names = {k.function_name for k in kernels}
    for what in ("entries", "scratch_bytes"):
        if lacking := sorted(names - set(getattr(emitted, what))):
            raise CodegenError(f"target {preset}: its emitter gives no {what} for kernel {lacking[0]!r}")
    return emitted


def _note_options(module: Module, presets: Sequence[str], shapes: Shapes | None, route: Route) -> None:
    """What decides the artefact's bytes goes into the module, and nothing of paths, times and machines.

    A `.hir` of a compilation under way has its options already: going on from it gives the same artefact.
    """
    if module.options:
        return
    options = [f"targets={','.join(presets)}"]
    options += [f"shape {name}={','.join(str(d) for d in dims)}" for name, dims in sorted((shapes or {}).items())]
    options += route.options()
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
