"""headrace inspect: what a `.hrm` file holds."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--ir", is_flag=True, help="Print the kernels as .hir text, where `compile --keep-ir` kept it.")
@click.option("--bytes", "show_bytes", is_flag=True, help="Say what every byte of the file belongs to.")
def command(artefact: Path, ir: bool, show_bytes: bool) -> None:
    """Show the signature of ARTEFACT, its targets, kernels with their ONNX nodes, memory, sizes, and its making."""
    from headrace.codegen.artefact.reader import read
    from headrace.compiler.reports.artefact import describe

    for line in describe(read(artefact), kernels_as_text=ir, every_byte=show_bytes):
        click.echo(line)
