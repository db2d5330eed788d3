"""Options that several commands share: shapes, devices, pipelines, what happens around each pass."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headrace.ir.errors import OptionError

if TYPE_CHECKING:  # so that `headrace --help` imports neither the IR nor its parser
    from headrace.ir.module import Module
    from headrace.ir.pass_manager import Hooks
    from headrace.ir.pipeline import Step

F = TypeVar("F", bound=Callable[..., Any])
VERIFY = ("off", "structure", "semantic")


def _shape(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, list[int | str]]:
    found: dict[str, list[int | str]] = {}
    for value in values:
        name, equals, dims = value.rpartition("=")
        if not equals or not name:
            raise OptionError(f"--shape {value!r}: expected INPUT=DIM,DIM,..., numbers or symbols")
        if name in found:
            raise OptionError(f"--shape {value!r}: a second shape for {name!r}")
        words = [d.strip() for d in dims.split(",")] if dims.strip() else []
        if not all(words):
            raise OptionError(f"--shape {value!r}: an empty dim")
        found[name] = [_dim(value, word) for word in words]
    return found


def _dim(value: str, word: str) -> int | str:
    """A number, or a name as ONNX files have them; a formula would be taken for a name by mistake."""
    if word.isascii() and word.isdigit():
        return int(word)
    if re.fullmatch(r"[^\W\d][\w.]*", word) is None:
        raise OptionError(f"--shape {value!r}: a dim of {word!r}, expected a whole number or a name")
    return word


def shape_options(command: F) -> F:
    """`--shape`, as a dict of dims by input."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        callback=_shape,
        metavar="INPUT=DIM,...",
        help="Dims of an input, numbers or symbols, instead of the declared ones.",
    )(command)


def driver_option(command: F) -> F:
    """`--driver`, as a tuple of paths."""
    return click.option(
        "--driver",
        "drivers",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="LIBRARY",
        help="A shared library with a driver for a device from outside.",
    )(command)


def device_options(command: F) -> F:
    """Where to run, and drivers from outside."""
    return click.option(
        "--device",
        metavar="NAME[:WHICH]",
        help="Where to run: a driver (opencl, opencl:0, cpu) or a target of the file.",
    )(driver_option(command))


def pass_options(command: F) -> F:
    """The pipeline, and what to print, verify and time."""
    for option in (
        click.option("--timings", is_flag=True, help="Say on stderr how long each pass took."),
        click.option(
            "--verify-each",
            is_flag=False,
            flag_value="structure",
            default="off",
            type=click.Choice(VERIFY),
            help="Verify after each pass; `semantic` also compares what is computed.",
        ),
        click.option(
            "--print-ir-after", multiple=True, metavar="PASS", help="Print the IR after a pass, or after all."
        ),
        click.option(
            "--pipeline",
            "--pass-pipeline",  # as the RUN lines of text tests write it
            "pipeline",
            metavar="FILE|TEXT",
            help="The passes to run, instead of the target's own.",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def hooks_of(
    print_ir_after: tuple[str, ...],
    verify_each: str,
    output: Path | None,
    observe: Callable[[Step, Module], None] | None,
) -> Iterator[Hooks]:
    """The hooks that the options ask for; says on leaving how much a semantic check has checked."""
    from headrace.ir.pass_manager import Hooks

    if verify_each not in ("off", "structure", "semantic"):
        raise OptionError(f"--verify-each {verify_each!r}: expected one of {', '.join(VERIFY)}")
    semantic = None
    if verify_each == "semantic":
        from headrace.ir.semantic import SemanticCheck

        semantic = SemanticCheck()
    yield Hooks(
        print_ir_after=print_ir_after,
        show=lambda title, text: print(f"{title}\n{text}", file=sys.stderr),
        verify_each=verify_each,  # type: ignore[arg-type]
        semantic=semantic,
        observe=observe,
    )
    if semantic is not None:
        print(semantic.summary(), file=sys.stderr)
