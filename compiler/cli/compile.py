"""headrace compile: from a model to a `.hrm` file."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import click

from headrace.compiler.cli._options import hooks_of, pass_options, shape_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option(
    "--target",
    default="host",
    show_default=True,
    metavar="NAME,...",
    help="What to generate code for; DEVICE+NAME runs on NAME what DEVICE does not take.",
)
@click.option("--explain-placement", is_flag=True, help="Print where each operation runs, and why not elsewhere.")
@click.option(
    "--require-device",
    multiple=True,
    metavar="DEVICE:PATTERN",
    help="Fail if a node of such a name runs on another device.",
)
@click.option("--emit", type=click.Choice(["hrm", "c"]), default="hrm", show_default=True, help="What to write.")
@click.option("--keep-ir", is_flag=True, help="Keep the kernels as text in the file, for `inspect --ir`.")
@click.option("--json", "as_json", is_flag=True, help="Print nodes that cannot be compiled as JSON too.")
@click.option("--before", multiple=True, metavar="PASS=PIPELINE", help="Passes to run before one of the pipeline.")
@click.option("--after", multiple=True, metavar="PASS=PIPELINE", help="Passes to run after one of the pipeline.")
@shape_options
@pass_options
def command(
    model: Path,
    output: Path,
    target: str,
    explain_placement: bool,
    require_device: tuple[str, ...],
    emit: str,
    keep_ir: bool,
    as_json: bool,
    before: tuple[str, ...],
    after: tuple[str, ...],
    shapes: dict[str, list[int | str]],
    pipeline: str | None,
    print_ir_after: tuple[str, ...],
    verify_each: str,
    timings: bool,
) -> None:
    """Compile MODEL, an ONNX file or a .hir file."""
    from headrace.compiler.driver import compile, emit_c_text
    from headrace.compiler.placement import explained, wish
    from headrace.compiler.progress import progress
    from headrace.compiler.route import point
    from headrace.ir.errors import UnsupportedModelError

    with (
        progress(f"compiling {model.name}") as observe,
        hooks_of(print_ir_after, verify_each, output, observe) as hooks,
    ):
        wishes = [wish(text) for text in require_device]
        stage = partial(compile, require_device=wishes, keep_ir=keep_ir) if emit == "hrm" else emit_c_text
        try:
            report = stage(
                model,
                output=output,
                target=target,
                shapes=shapes or None,
                pipeline=pipeline,
                before=[point("--before", text) for text in before],
                after=[point("--after", text) for text in after],
                hooks=hooks,
            )
        except UnsupportedModelError as error:
            if as_json:
                click.echo(json.dumps(error.nodes, indent=2))
            raise
    if explain_placement:
        for line in explained(report.placements):
            click.echo(line)
        for name in report.whole:
            click.echo(f"all of it on {name}: there is no other device")
    if timings:
        for timing in report.passes:
            print(f"{timing.seconds * 1e3:9.2f} ms  {timing.step}", file=sys.stderr)
        for name, seconds in report.stages:
            print(f"{seconds * 1e3:9.2f} ms  ({name})", file=sys.stderr)
    click.echo(f"{output}: {report.kernels} kernels for {', '.join(report.targets)}, {report.artefact_bytes:,} bytes")
