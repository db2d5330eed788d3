"""Arrays in files and options that name them: `NAME=FILE.npy`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from headrace.ir.errors import OptionError

Array = np.ndarray[Any, Any]


def read_named(options: Sequence[str]) -> dict[str, Array]:
    """The arrays behind `--input NAME=FILE.npy` options.  Raises OptionError."""
    return {name: read_array(path) for name, path in named_paths(options).items()}


def named_paths(options: Sequence[str]) -> dict[str, Path]:
    """The paths behind `--output NAME=FILE.npy` options.  Raises OptionError."""
    found: dict[str, Path] = {}
    for option in options:
        name, file = _split(option)
        if name in found:
            raise OptionError(f"{option!r}: a second file for {name!r}")
        found[name] = Path(file)
    return found


def read_array(path: Path) -> Array:
    """One `.npy` file.  Raises OptionError if it is none."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"{path}: not a .npy file: {error}") from None
    if not isinstance(array, np.ndarray):
        raise OptionError(f"{path}: an archive of arrays; expected one array in a .npy file")
    return array


def read_archive(path: Path) -> dict[str, Array]:
    """The arrays of a `.npz` file, by name.  Raises OptionError if it is none."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, TypeError, AttributeError, BadZipFile) as error:
        raise OptionError(f"{path}: not a .npz file: {error}") from None


def _split(option: str) -> tuple[str, str]:
    name, equals, file = option.rpartition("=")
    if not equals or not name or not file:
        raise OptionError(f"{option!r}: expected NAME=FILE.npy")
    return name, file
