"""Passes by name: a folder's listing is the registry.

In: `graph.fold-constants`.  Out: the class in `passes/graph/fold_constants.py`, or a PassError with the nearest
name.  Listing imports no pass; a module is imported when its pass is asked for.  A pass of a package outside takes part
by an entry point in `headrace.passes`: `graph.my-pass = my_package.my_pass`, the module that has its class.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from headrace.ir.errors import PassError, nearest, one_line
from headrace.ir.pass_base import Expanding, Pass

GROUP = "headrace.passes"
DIALECTS = ("graph", "kernel", "program")


def pass_names() -> list[str]:
    """The names of all passes, by dialect."""
    found = []
    for dialect in DIALECTS:
        package = importlib.import_module(f"headrace.passes.{dialect}")
        files = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
        names = {f"{dialect}.{file.replace('_', '-')}" for file in files}
        found += sorted(names | {n for n in _outside() if n.startswith(f"{dialect}.")})
    return found


@cache
def _outside() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def find_pass(name: str) -> type[Pass]:
    """The class of a pass, its `name` set.  Raises PassError for an unknown name."""
    dialect, _, own = name.partition(".")
    path = f"headrace.passes.{dialect}.{own.replace('-', '_')}"
    module = sys.modules.get(path) if dialect in DIALECTS and own and "_" not in own else None
    if module is None:  # what is imported needs no listing: a pipeline may have hundreds of steps
        names = pass_names()
        if name not in names:
            raise PassError(f"unknown pass {name!r}{nearest(name, names)}")
        outside = _outside().get(name)
        module = importlib.import_module(path) if outside is None else _imported(outside)
    found = _public_pass(module, name)
    found.name = name
    return found


def _imported(point: EntryPoint) -> ModuleType:
    """The module of a package's pass.  Raises PassError."""
    try:
        return importlib.import_module(point.value)
    except Exception as error:
        wrong = f"{point.value} of an installed package cannot be imported: {one_line(error)}"
        raise PassError(f"pass {point.name}: {wrong}") from error


@cache
def _public_pass(module: ModuleType, name: str) -> type[Pass]:
    """The one public class of a pass in a module.  Raises PassError where there are more or none."""
    classes = [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, Pass) and c not in (Pass, Expanding) and c.__module__ == module.__name__
        if not c.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise PassError(f"{name}: {module.__name__} has {len(classes)} public passes, expected one")
    return classes[0]
