"""Files that are complete or not there: written beside the target, then renamed over it."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from headrace.ir.errors import OptionError


def check_place(path: Path) -> None:
    """Raises OptionError where no file can be written, to be asked before the work of making it."""
    wrong = ""
    if path.exists() and not path.is_file():  # a device too, which the rename would put a file in place of
        wrong = "it is there and is no file"
    elif not path.parent.is_dir():
        wrong = "no such file or directory"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        wrong = "permission denied"
    if wrong:
        raise OptionError(f"{path}: cannot be written: {wrong}")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Calls `write` on a new file beside `path`, then puts it in place.

    Raises OptionError if the file cannot be written; then nothing is left, and what was there before stays.
    """
    check_place(path)
    beside: str | None = None
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
        beside = None
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        if beside is not None:
            os.unlink(beside)


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8.  Raises OptionError."""
    write_whole(path, lambda file: file.write(text.encode()))


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """A `.npy` file.  Raises OptionError."""
    write_whole(path, lambda file: np.lib.format.write_array(file, array, allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """A `.npz` file, the same bytes at any time.  Raises OptionError."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_whole(path, write)


def _umask() -> int:
    """The process's mask for new files; reading it means setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
