"""Which drivers there are beside those built in.  In: what a caller names.  Out: paths of libraries, hosted drivers.

A package that brings a driver names it by an entry point in `headrace.drivers`, whose value is the path of a library or
a `HostedDriver`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from headrace.runtime.python.errors import LoadError
from headrace.runtime.python.hosting import HostedDriver

GROUP = "headrace.drivers"
Named = str | os.PathLike[str] | HostedDriver


def named_drivers(given: Sequence[Named]) -> list[Named]:
    """Those given, then those that HEADRACE_DRIVERS lists."""
    return [*given, *filter(None, os.environ.get("HEADRACE_DRIVERS", "").split(os.pathsep))]


def installed_drivers() -> list[Named]:
    """Those of packages, in the order of their names.  Raises LoadError for a package that cannot be imported.

    Looking takes as long as loading a hundred models: for where nothing else is found.
    """
    from importlib.metadata import entry_points

    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        try:
            found.append(point.load())
        except (ImportError, AttributeError) as error:
            raise LoadError(f"driver {point.name}: {point.value} is not there: {error}") from error
    return found
