"""headrace conform: whether a driver does what headrace_driver.h promises, and which operations run on its device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.compiler.cli._options import driver_option

if TYPE_CHECKING:
    from headrace.compiler.conformance.contract import Verdict
    from headrace.compiler.conformance.operators import Cell, Place
    from headrace.compiler.conformance.watched import Tell
    from headrace.runtime.python.calling import Driver

MARKS = {"ok": "ok", "refused": "-", "wrong": "WRONG"}


@click.command()
@click.argument("device", metavar="NAME[:WHICH]")
@driver_option
@click.option("--target", metavar="PRESET", help="What to compile operations for (default: one with this driver).")
@click.option("--operation", "names", multiple=True, metavar="NAME", help="Only this operation; once for each.")
def command(device: str, drivers: tuple[Path, ...], target: str | None, names: tuple[str, ...]) -> None:
    """Check the driver NAME: its calls one by one, then every operation on every element type.

    The exit code is 2 if a promise is broken or a result is wrong; what the target refuses is listed with its reason.
    """
    from headrace.compiler.conformance.operators import Cell, Place
    from headrace.compiler.conformance.watched import watched
    from headrace.ir.errors import HeadraceError

    known = _known(names)
    cells, broken, place = list[Cell](), 0, Place(target or "", device, drivers)
    for answer in watched(partial(_answers, place, known)):
        if isinstance(answer, Place):
            place = answer
        elif isinstance(answer, Cell):
            cells.append(answer)
        else:
            broken += answer.wrong is not None
            click.echo(f"{'ok   ' if answer.wrong is None else 'WRONG'} {answer.promise}")
            if answer.wrong is not None:
                click.echo(f"      {answer.wrong}")
    click.echo(f"\noperations for {place.target} on {device}:")
    _print_table(cells)
    wrong = sum(c.outcome == "wrong" for c in cells)
    if broken or wrong:
        raise HeadraceError(f"driver {device}: {broken} promises are broken, {wrong} of {len(cells)} results are wrong")


def _answers(place: Place, names: Sequence[str], tell: Tell) -> Iterator[Place | Verdict | Cell]:
    """All that touches the driver: the place with its target, a verdict for each promise, a cell for each operation."""
    from headrace.compiler.conformance.contract import check_contract
    from headrace.compiler.conformance.faults import check_faults
    from headrace.compiler.conformance.launches import check_launches
    from headrace.compiler.conformance.operators import check_operators
    from headrace.runtime.python.calling import open_driver
    from headrace.targets import find_target

    driver = open_driver(place.device, place.drivers)
    place = replace(place, target=find_target(place.target)[0] if place.target else _target_of(driver))
    yield place
    yield from check_contract(driver, tell)
    yield from check_launches(driver, place, tell)
    yield from check_faults(place, tell)
    yield from check_operators(place, names, tell)


def _target_of(driver: Driver) -> str:
    """The host's preset where the driver runs its code, or else the first that is for the driver."""
    from headrace.ir.errors import OptionError
    from headrace.targets import find_target, list_targets

    host, family = find_target("host")
    runs = (driver.name, driver.stands_for)
    for preset, target in ((host, family), *list_targets().items()):
        if target.driver.partition(":")[0] in runs:
            return preset
    raise OptionError(f"no target is for the driver {driver.name!r}; expected --target PRESET")


def _known(names: Sequence[str]) -> Sequence[str]:
    from headrace.compiler.conformance.samples import sampled_names
    from headrace.ir.errors import OptionError, nearest

    known = sampled_names()
    for name in names:
        if name not in known:
            raise OptionError(f"--operation {name!r}{nearest(name, known)}; expected such as {known[0]}")
    return names


def _print_table(cells: Sequence[Cell]) -> None:
    """A row for each operation, a column for each type, and reasons below, each with where it holds."""
    from headrace.ir.types import DTYPES

    columns = [name for name in DTYPES if any(c.dtype == name for c in cells)]
    found = {(c.operation, c.dtype): MARKS[c.outcome] for c in cells}
    rows = [[name, *(found.get((name, d), "") for d in columns)] for name in dict.fromkeys(c.operation for c in cells)]
    table = [["", *columns], *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns) + 1)]
    for row in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    reasons: dict[tuple[str, str], list[str]] = {}
    for c in cells:
        if c.reason:
            reasons.setdefault((c.outcome, c.reason), []).append(f"{c.operation} {c.dtype}")
    for (outcome, reason), where in reasons.items():
        click.echo(f"{outcome}: {', '.join(where)}: {reason}")
