"""headrace run: run a `.hrm` file on `.npy` files."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.compiler.cli._options import device_options


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="An input; once for each.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=FILE.npy", help="Where to write a result.")
@click.option("--output-dir", type=click.Path(path_type=Path), help="Write every result to DIR/NAME.npy.")
@device_options
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use (default: what the machine grants).")
def command(
    artefact: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    output_dir: Path | None,
    device: str | None,
    drivers: tuple[Path, ...],
    threads: int | None,
) -> None:
    """Run ARTEFACT and write its results, or say what they are."""
    from headrace.compiler.cli._arrays import named_paths, read_named
    from headrace.compiler.files import write_array
    from headrace.ir.errors import OptionError, nearest
    from headrace.runtime.python import load

    session = load(artefact, threads=threads, device=device, drivers=drivers)
    names = [port.name for port in session.outputs]
    wanted = named_paths(outputs)
    for name in wanted:
        if name not in names:
            raise OptionError(f"no output {name!r}{nearest(name, names)}; expected one of {', '.join(names)}")
    results = session.run(read_named(inputs))
    if output_dir is not None:
        if output_dir.exists() and not output_dir.is_dir():
            raise OptionError(f"{output_dir}: is no folder")
        output_dir.mkdir(parents=True, exist_ok=True)
        wanted = {name: output_dir / f"{_file_name(name)}.npy" for name in names} | wanted
    for name, path in wanted.items():
        write_array(path, results[name])
    for name, array in results.items():
        place = f" -> {wanted[name]}" if name in wanted else ""
        click.echo(f"{name}: {array.dtype} {list(array.shape)}{place}")
    click.echo(f"ran on {session.device}, by the code for {session.target}")


def _file_name(name: str) -> str:
    """An output's name as a file name: no separators."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
