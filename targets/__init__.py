"""Targets: one folder each, with its facts, its presets and its schedules.

In: a name that users type (`x86-64-v3`, `aarch64`, `host`).  Out: a `Target`.  The listing of this folder is the
registry; packages from outside take part by an entry point in `headrace.targets`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from headrace.ir.errors import TargetError, nearest
from headrace.targets.base import Target

__all__ = ["Target", "find_target", "list_targets"]

GROUP = "headrace.targets"


@cache
def _families() -> dict[str, Target]:
    """All targets: folders here, then entry points; each gives `TARGET`."""
    found: dict[str, Target] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg):
        target = importlib.import_module(f"{__name__}.{module}").TARGET
        found[target.family] = target
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        target = point.load()
        found.setdefault(target.family, target)
    return found


def list_targets() -> dict[str, Target]:
    """Every preset with the target that has it, by name."""
    return _presets(_families())


def _presets(families: dict[str, Target]) -> dict[str, Target]:
    return {preset: target for target in families.values() for preset in target.presets}


def find_target(preset: str) -> tuple[str, Target]:
    """(preset, target) for a name that users type; `host` is this machine's best.  Raises TargetError."""
    families = _families()
    known = _presets(families)
    if preset == "host":
        for target in families.values():
            found = target.host_preset()
            if found is not None:
                return found, target
        raise TargetError("target 'host': no target knows this machine; name one of " + ", ".join(known))
    if preset not in known:
        raise TargetError(
            f"unknown target {preset!r}{nearest(preset, [*known, 'host'])}; expected one of {', '.join(known)}, host"
        )
    return preset, known[preset]
