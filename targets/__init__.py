"""Targets: one folder each, with its facts, its presets and its schedules.

In: a name that users type (`x86-64-v3`, `aarch64`, `host`).  Out: a `Target`.  The listing of this folder is the
registry; packages from outside take part by an entry point in `headrace.targets`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import get_args

from headrace.codegen.artefact.model import Machine
from headrace.ir.errors import TargetError, nearest, one_line
from headrace.targets.base import Emitted, Target

__all__ = ["Emitted", "Target", "broken_targets", "find_target", "list_targets"]

GROUP = "headrace.targets"
MEMBERS = sorted(name for name in (*Target.__annotations__, *vars(Target)) if not name.startswith("_"))
MACHINES = get_args(Machine)


@cache
def _found() -> tuple[dict[str, Target], dict[str, str]]:
    """All targets: folders here, then entry points, each of which gives `TARGET`; and what is wrong with the others."""
    found: dict[str, Target] = {}
    broken: dict[str, str] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg):
        target = importlib.import_module(f"{__name__}.{module}").TARGET
        found[target.family] = target
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            target = _checked(point.load())
            found.setdefault(target.family, target)
        except Exception as error:  # a package that is out of order must not keep others from being used
            broken[point.name] = f"{point.value} of an installed package is no target: {one_line(error)}"
    return found, broken


def _checked(target: Target) -> Target:
    """The target, if it is one.  Raises TargetError."""
    lacking = [name for name in MEMBERS if not hasattr(target, name)]
    if lacking:
        raise TargetError(f"it has no {', '.join(lacking)}")
    if target.machine not in MACHINES:
        raise TargetError(f"its machine is {target.machine!r}, expected one of {', '.join(MACHINES)}")
    for name, facts in target.presets.items():
        if facts.preset != name:
            raise TargetError(f"the facts of its preset {name!r} are those of {facts.preset!r}")
    return target


def _families() -> dict[str, Target]:
    """All targets that can be imported."""
    return _found()[0]


def list_targets() -> dict[str, Target]:
    """Every preset with the target that has it, by name."""
    return _presets(_families())


def broken_targets() -> dict[str, str]:
    """What is wrong with those of packages that cannot be imported, by the names of their entry points."""
    return _found()[1]


def _presets(families: dict[str, Target]) -> dict[str, Target]:
    return {preset: target for target in families.values() for preset in target.presets}


def find_target(preset: str) -> tuple[str, Target]:
    """(preset, target) for a name that users type; `host` is this machine's best.  Raises TargetError."""
    families, broken = _families(), broken_targets()
    known = _presets(families)
    if preset == "host":
        for target in families.values():
            found = target.host_preset()
            if found is not None:
                return found, target
        raise TargetError("target 'host': no target knows this machine; name one of " + ", ".join(known))
    if preset in broken:
        raise TargetError(f"target {preset!r}: {broken[preset]}")
    if preset not in known:
        raise TargetError(
            f"unknown target {preset!r}{nearest(preset, [*known, 'host'])}; expected one of {', '.join(known)}, host"
        )
    return preset, known[preset]
