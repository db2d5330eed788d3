"""The compiler's version, as the command line says it and as it stands in artefacts.

It is written in pyproject.toml alone: from there it comes into the metadata of an installed package.
"""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:  # run from a checkout that is not installed
        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])


VERSION = _version()
