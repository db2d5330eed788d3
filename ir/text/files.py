"""Modules in files: NAME.hir for the text, NAME.hir.constants for the arrays too big for it.

Both are written under another name first and then moved, so that nobody sees half a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from headrace.ir.constants import ConstantRef, ConstantStore
from headrace.ir.errors import IRError, OptionError, ParseError
from headrace.ir.module import Module
from headrace.ir.text.container import read_container, write_container
from headrace.ir.text.dense import write_dense
from headrace.ir.text.parser import parse_module
from headrace.ir.text.printer import print_op


def constants_path(path: Path) -> Path:
    """Where the arrays of `path` lie."""
    return path.with_name(path.name + ".constants")


def save_hir(module: Module, path: str | os.PathLike[str], comments: Sequence[str] = ()) -> None:
    """Writes a module's text, `comments` above it, and those of its constants beside it that are too big.

    Constants that the store lacks are in the text only, by digest.  Raises OptionError if a file cannot be written.
    """
    target = Path(path)
    store = module.constants
    refs = [ref for ref in _used(module) if ref in store and write_dense(ref, store) is None]
    if refs:
        _write(constants_path(target), lambda file: write_container(file, refs, store))
    else:
        constants_path(target).unlink(missing_ok=True)
    text = "".join(f"// {line}\n" for line in comments) + print_op(module)
    _write(target, lambda file: file.write(text.encode()))


def load_hir(path: str | os.PathLike[str]) -> Module:
    """The module in a file.  Raises ParseError; where the .constants file is missing, only asking for an array
    of it fails."""
    source = Path(path)
    try:
        text = source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"{source}: byte {error.start} is no UTF-8; is this a .hir file?") from None
    except OSError as error:
        raise IRError(f"{source}: {(error.strerror or str(error)).lower()}") from None
    beside = constants_path(source)
    return parse_module(text, str(source), read_container(beside) if beside.exists() else ConstantStore())


def _used(module: Module) -> list[ConstantRef]:
    found: dict[str, ConstantRef] = {}

    def look(value: Any) -> None:
        if isinstance(value, ConstantRef):
            found[value.digest] = value
        elif isinstance(value, tuple):
            for part in value:
                look(part)

    for operation in module.walk():
        for value in operation.attributes.values():
            look(value)
    return list(found.values())


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    if path.exists() and not path.is_file():
        raise OptionError(f"{path}: cannot be written: it is there and is no file")
    unfinished = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            write(file)
        unfinished.replace(path)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        unfinished.unlink(missing_ok=True)
