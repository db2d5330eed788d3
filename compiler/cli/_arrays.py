"""Arrays in files and options that name them: `NAME=FILE.npy`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from headrace.ir.errors import OptionError

Array = np.ndarray[Any, Any]
NPY, ZIP = b"\x93NUMPY", b"PK"  # how files begin


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
        with path.open("rb") as file:
            start = file.read(len(NPY))
            if start.startswith(ZIP):
                raise OptionError(f"{path}: an archive of arrays; expected one array in a .npy file")
            if start != NPY:
                raise OptionError(f"{path}: not a .npy file: it does not start like one")
            file.seek(0)
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, EOFError) as error:
        raise OptionError(f"{path}: a .npy file that is cut off or not of numbers: {error}") from None
    return np.asarray(array, array.dtype.newbyteorder("="))  # of whatever machine wrote it


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
    """Names and files may have `=` in them: the file is the longest that is there, or whose folder is."""
    splits = [(option[:n], option[n + 1 :]) for n, c in enumerate(option) if c == "=" and 0 < n < len(option) - 1]
    if not splits:
        raise OptionError(f"{option!r}: expected NAME=FILE.npy")
    there = [(name, file) for name, file in splits if Path(file).exists()]
    there += [(name, file) for name, file in splits if os.sep in file and Path(file).parent.is_dir()]
    return (there or splits[-1:])[0]
