"""Passes by name: a folder's listing is the registry.

In: `graph.fold-constants`.  Out: the class in `passes/graph/fold_constants.py`, or a PassError with the nearest
name.  Listing imports no pass; a module is imported when its pass is asked for.  A folder of passes kept
elsewhere takes part once it is appended to `headrace.passes.graph.__path__`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from headrace.ir.errors import PassError, nearest
from headrace.ir.pass_base import Expanding, Pass

DIALECTS = ("graph", "kernel", "program")


def pass_names() -> list[str]:
    """The names of all passes, by dialect."""
    found = []
    for dialect in DIALECTS:
        package = importlib.import_module(f"headrace.passes.{dialect}")
        files = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
        found += [f"{dialect}.{file.replace('_', '-')}" for file in sorted(files)]
    return found


def find_pass(name: str) -> type[Pass]:
    """The class of a pass, its `name` set.  Raises PassError for an unknown name."""
    names = pass_names()
    if name not in names:
        raise PassError(f"unknown pass {name!r}{nearest(name, names)}")
    module = importlib.import_module(f"headrace.passes.{name.replace('-', '_')}")
    classes = [
        c
        for _, c in inspect.getmembers(module, inspect.isclass)
        if issubclass(c, Pass) and c not in (Pass, Expanding) and c.__module__ == module.__name__
        if not c.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise PassError(f"{name}: {module.__name__} has {len(classes)} public passes, expected one")
    classes[0].name = name
    return classes[0]
