"""headrace opt: run passes on a `.hir` file."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.compiler.cli._options import hooks_of, pass_options


@click.command()
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write here instead of stdout.")
@click.option("--target", metavar="NAME", help="The target whose facts and schedule the passes ask for.")
@click.option("--list-passes", is_flag=True, help="List all passes with what each does.")
@pass_options
def command(
    source: Path | None,
    output: Path | None,
    target: str | None,
    list_passes: bool,
    pipeline: str | None,
    print_ir_after: tuple[str, ...],
    verify_each: str,
    timings: bool,
) -> None:
    """Run passes on SOURCE, a .hir file (or an ONNX file), and print what comes out."""
    from headrace.compiler.driver import read_model
    from headrace.compiler.placement import context_of, machines
    from headrace.ir.errors import OptionError
    from headrace.ir.pass_base import PassContext
    from headrace.ir.pass_manager import PassManager
    from headrace.ir.pass_registry import find_pass, pass_names
    from headrace.ir.pipeline import Pipeline
    from headrace.ir.text import print_op, save_hir
    from headrace.ir.verify import verify

    if list_passes:
        for name in pass_names():
            click.echo(f"{name:<28} {find_pass(name).summary}")
        return
    if source is None:
        raise OptionError("no file given; expected a .hir or an ONNX file")
    context = PassContext()
    if target is not None:
        found = machines(target)
        if len(found) > 1:
            raise OptionError(f"passes run for one target; found {', '.join(m.name for m in found)}")
        context = context_of(found[0])
    module = read_model(source, None)
    text = pipeline or ""
    steps = Pipeline.read(text) if text.endswith(".pipeline") else Pipeline.parse(text, "--pipeline")
    with hooks_of(print_ir_after, verify_each, output, None) as hooks:
        timed = PassManager(steps, context, hooks).run(module)
    verify(module)
    if timings:
        for timing in timed:
            click.echo(f"{timing.seconds * 1e3:9.2f} ms  {timing.step}", err=True)
    if output is None:
        click.echo(print_op(module), nl=False)
    else:
        save_hir(module, output)
