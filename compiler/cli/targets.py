"""headrace targets: what code can be generated for."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """List the targets, and which of them `host` is on this machine."""
    from rich.console import Console
    from rich.table import Table

    from headrace.targets import broken_targets, find_target, list_targets

    host, _ = find_target("host")
    table = Table(box=None, pad_edge=False)
    for title in ("target", "machine", "vectors", "driver", ""):
        table.add_column(title)
    for preset, target in list_targets().items():
        facts = target.presets[preset]
        table.add_row(
            preset, target.machine, f"{facts.vector_bytes * 8} bits", target.driver, "host" if preset == host else ""
        )
    Console().print(table)
    for name, wrong in broken_targets().items():
        click.echo(f"{name}: {wrong}")
