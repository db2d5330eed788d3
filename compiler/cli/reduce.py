"""headrace reduce: cut a model that fails down to what fails in it."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.compiler.cli._options import shape_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="What to write (default: NAME.reduced.onnx).")
@click.option("--target", default="host", show_default=True, metavar="NAME", help="What to generate code for.")
@click.option("--pipeline", metavar="FILE|TEXT", help="The passes to run, instead of the target's own.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="An input, instead of a random one.")
@click.option("--inputs", "archive", type=click.Path(path_type=Path), help="Inputs by name, a .npz file.")
@shape_options
@click.option("--against", metavar="ENGINE", help="Hold results against `onnxruntime` instead of the interpreter.")
@click.option("--command", "script", metavar="COMMAND", help="What to run; exit status 1 says that {model} fails.")
@click.option("--check", is_flag=True, help="Only say how MODEL fails; exit status 1 if it does.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time that one trial may take.",
)
@click.option(
    "--memory",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Memory that one trial may take, in MB.",
)
def command(
    model: Path,
    output: Path | None,
    target: str,
    pipeline: str | None,
    inputs: tuple[str, ...],
    archive: Path | None,
    shapes: dict[str, list[int | str]],
    against: str | None,
    script: str | None,
    check: bool,
    seconds: float,
    memory: int,
) -> None:
    """Cut MODEL, an ONNX file that does not compile, crashes or gives wrong results, down to a few nodes."""
    from headrace.compiler.cli._arrays import read_archive, read_named
    from headrace.compiler.reduction.command import Request, check_model, reduce_model
    from headrace.compiler.reduction.failure import Task
    from headrace.compiler.reduction.isolated import Limits
    from headrace.ir.errors import OptionError

    if script is not None and "{model}" not in script:
        raise OptionError(f"--command {script!r}: no {{model}} in it, which stands for the file to try")
    given = (read_archive(archive) if archive is not None else {}) | read_named(inputs)
    task = Task(target, pipeline, against, script, limits=Limits(seconds, memory << 20))
    request = Request(model, output or model.with_suffix(".reduced.onnx"), shapes, given, task)
    if check:
        failure = check_model(request)
        click.echo(f"{model}: {failure.line if failure is not None else 'does not fail'}")
        click.get_current_context().exit(int(failure is not None))
    for line in reduce_model(request):
        click.echo(line)
