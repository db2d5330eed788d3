"""headrace verify: check every byte of a `.hrm` file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
def command(artefact: Path) -> None:
    """Check ARTEFACT against the hashes in it, the constants too."""
    from headrace.codegen.artefact.reader import read

    contents = read(artefact, check_constants=True)
    size = sum(region.size for region in contents.regions)
    click.echo(f"{artefact}: all {size:,} bytes are as they were written")
