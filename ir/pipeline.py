"""Pipelines: which passes run, in which order, with which options.

In: text like `graph.fold-constants,graph.fuse{max-ops=32},kernel.lower`, or a `.pipeline` file.  Out: a
`Pipeline` of steps, sub-pipelines and included files put in where they are used; `str(pipeline)` is text that gives it
back.
`pass_of` makes the pass object of a step, options read by the types of the pass's fields; `step_of` is its
inverse.  `docs/pipelines.md` has the syntax.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import types as pytypes
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from headrace.ir.errors import PassError, nearest
from headrace.ir.pass_base import Pass

Option = str | tuple["Option", ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass by name, with its options as they were written (hyphens in their names)."""

    name: str
    options: tuple[tuple[str, Option], ...] = ()

    def __str__(self) -> str:
        words = " ".join(f"{key}={_written(value)}" for key, value in self.options)
        return f"{self.name}{{{words}}}" if words else self.name


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps in order."""

    steps: tuple[Step, ...] = ()

    @staticmethod
    def parse(text: str, path: str = "pipeline") -> Pipeline:
        """The pipeline that `text` describes.  Raises PassError with `path`, line and column; whether the passes
        exist is found out by `pass_of`."""
        return Pipeline(tuple(_Reader(path).steps(text)))

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Pipeline:
        """The pipeline in a file.  Raises PassError if it cannot be read."""
        return Pipeline.parse(_text_of(Path(path)), str(path))

    def with_steps(self, point: str, steps: Sequence[Step], *, behind: bool) -> Pipeline:
        """The same with more steps before each use of the pass `point`, or behind it.  Raises PassError for no use."""
        names = [s.name for s in self.steps]
        if point not in names:
            raise PassError(f"the pipeline has no pass {point!r}{nearest(point, names)}")
        found: list[Step] = []
        for step in self.steps:
            more = list(steps) if step.name == point else []
            found += [step, *more] if behind else [*more, step]
        return Pipeline(tuple(found))

    def __str__(self) -> str:
        return ",".join(str(s) for s in self.steps)


# ---- text ----------------------------------------------------------------------------------------------------


@cache
def _lark() -> Lark:
    grammar = resources.files("headrace.ir").joinpath("pipeline.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start="pipeline", maybe_placeholders=False)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PassError(f"{path}: no UTF-8; expected a pipeline as text") from None
    except OSError as error:
        raise PassError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:  # a name that none can have
        raise PassError(f"{path}: {error}") from None


class _Reader:
    """Steps of one text; definitions come before their use.  `above`: the reader of the text that includes it."""

    def __init__(self, path: str, above: _Reader | None = None) -> None:
        self.path = path
        self.above = above
        self.defined: dict[str, list[Step]] = {} if above is None else above.defined

    def steps(self, text: str) -> Iterator[Step]:
        try:
            tree: Tree[Token] = _lark().parse(text)
        except UnexpectedInput as error:
            raise PassError(f"{self.path}:{_place(text, error)}: {_explain(error)}") from None
        for entry in tree.children:
            assert isinstance(entry, Tree)
            if entry.data == "steps":
                yield from self._listed(entry)
                continue
            if entry.data == "include":
                (file,) = entry.children
                assert isinstance(file, Token)
                yield from self._included(file)
                continue
            name, body = entry.children
            assert isinstance(name, Token) and isinstance(body, Tree)
            if name in self.defined:
                raise self._wrong(name, f"sub-pipeline {str(name)!r} is defined twice")
            self.defined[str(name)] = list(self._listed(body))

    def _included(self, file: Token) -> Iterator[Step]:
        """As if the file's text stood here."""
        path = _beside(self.path, str(self._value(file)))
        try:
            text = _text_of(path)
        except PassError as error:
            raise self._wrong(file, f"include {error}") from None
        reader: _Reader | None = self
        while reader is not None:
            if Path(reader.path).resolve() == path.resolve():
                raise self._wrong(file, f"include {file}: {reader.path} would include itself")
            reader = reader.above
        yield from _Reader(str(path), self).steps(text)

    def _listed(self, steps: Tree[Token]) -> Iterator[Step]:
        for step in steps.children:
            assert isinstance(step, Tree)
            name = step.children[0]
            assert isinstance(name, Token)
            if step.data == "step":
                options = step.children[1]
                assert isinstance(options, Tree)
                yield Step(str(name), tuple(self._option(o) for o in options.children))
            elif name in self.defined:
                yield from self.defined[name]
            else:
                hint = nearest(name, self.defined)
                raise self._wrong(name, f"no sub-pipeline {str(name)!r} above; passes are named like graph.cse{hint}")

    def _option(self, option: Tree[Token] | Token) -> tuple[str, Option]:
        assert isinstance(option, Tree)
        name, value = option.children
        return str(name), self._value(value)

    def _value(self, value: Tree[Token] | Token) -> Option:
        if isinstance(value, Tree):
            return tuple(self._value(v) for v in value.children)
        if value.type != "STRING":
            return str(value)
        try:
            text: str = json.loads(value)
        except json.JSONDecodeError as error:
            raise self._wrong(value, f"string {value}: {error.msg.lower()}") from None
        return text

    def _wrong(self, token: Token, message: str) -> PassError:
        return PassError(f"{self.path}:{token.line}:{token.column}: {message}")


def _beside(path: str, file: str) -> Path:
    """A file as the one at `path` names it: from its own folder, or `PACKAGE/FILE` as it was installed."""
    found = Path(path).parent / file
    package, slash, rest = file.partition("/")
    if found.exists() or not slash or not all(word.isidentifier() for word in package.split(".")):
        return found
    try:
        return Path(str(resources.files(package).joinpath(rest)))
    except (ImportError, TypeError):  # there is none, or it is one file
        return found


_WORDS = {
    "PASS": "a pass like graph.cse",
    "NAME": "a name",
    "WORD": "a value",
    "STRING": "a string",
    "_DEFINE": "'define'",
    "_INCLUDE": "'include'",
    "PATH": "a path",
    "_LINE": "a line break",
    "COMMA": "','",
    "EQUAL": "'='",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "LSQB": "'['",
    "RSQB": "']'",
    "$END": "the end",
}


def _place(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        lines = text.split("\n")
        return f"{len(lines)}:{len(lines[-1]) + 1}"
    return f"{error.line}:{error.column}"


def _explain(error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken):
        found = "the end" if error.token.type == "$END" else repr(str(error.token))
        terminals = error.accepts or error.expected
    else:
        assert isinstance(error, UnexpectedCharacters)
        found, terminals = repr(error.char), error.allowed or set()
    words = sorted({_WORDS[t] for t in terminals})
    return f"found {found}, expected {' or '.join(words)}"


def _written(value: Option) -> str:
    if isinstance(value, tuple):
        return f"[{' '.join(_written(v) for v in value)}]"
    return value if re.fullmatch(r"[A-Za-z0-9_.+-]+", value) else json.dumps(value)


# ---- steps and pass objects ----------------------------------------------------------------------------------


def pass_of(step: Step, find: Callable[[str], type[Pass]]) -> Pass:
    """The pass of a step.  Raises PassError for an unknown pass or option, or an option of a wrong type."""
    cls = find(step.name)
    hints = _option_types(cls)
    given: dict[str, Any] = {}
    for key, value in step.options:
        field = key.replace("-", "_")
        if field not in hints:
            known = [name.replace("_", "-") for name in hints]
            wanted = nearest(key, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
            raise PassError(f"{step.name}: no option {key!r}{wanted}")
        if field in given:
            raise PassError(f"{step.name}: option {key} is given twice")
        try:
            given[field] = _typed(value, hints[field])
        except ValueError:
            message = f"option {key} is {_written(value)}, expected {_described(hints[field])}"
            raise PassError(f"{step.name}: {message}") from None
    for declared in dataclasses.fields(typing.cast(Any, cls)):
        required = declared.default is dataclasses.MISSING and declared.default_factory is dataclasses.MISSING
        if required and declared.name not in given:
            wanted = _described(hints[declared.name])
            raise PassError(f"{step.name}: option {declared.name.replace('_', '-')} is missing, expected {wanted}")
    return cls(**given)


def step_of(pass_: Pass) -> Step:
    """The step that makes `pass_`; options at their default are left out."""
    options = []
    for field in dataclasses.fields(typing.cast(Any, pass_)):
        value = getattr(pass_, field.name)
        if field.default_factory is not dataclasses.MISSING:
            is_default = value == field.default_factory()
        else:
            is_default = value == field.default
        if not is_default:
            options.append((field.name.replace("_", "-"), _option_of(value)))
    return Step(pass_.name, tuple(options))


@cache
def _option_types(cls: type[Pass]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(typing.cast(Any, cls))}


def _option_of(value: Any) -> Option:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple():
            return tuple(_option_of(v) for v in value)
    return str(value)


def _typed(value: Option, hint: Any) -> Any:
    """The value of an option.  Raises ValueError if it is no `hint`."""
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Union | pytypes.UnionType:
            return _first_typed(value, arguments)
        case typing.Literal:
            return _one_of(value, {str(a): a for a in arguments})
        case origin if origin is tuple:
            return _list_typed(value, arguments)
    if isinstance(value, tuple):
        raise ValueError(value)
    if hint is bool:
        return _one_of(value, {"true": True, "false": False})
    if hint is type(None):
        return _one_of(value, {"none": None})
    assert hint in (int, float, str), f"no option may be declared {hint}"
    return hint(value)


def _one_of(value: Option, words: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple) or value not in words:
        raise ValueError(value)
    return words[value]


def _first_typed(value: Option, hints: tuple[Any, ...]) -> Any:
    for hint in sorted(hints, key=_greed):
        try:
            return _typed(value, hint)
        except ValueError:
            continue
    raise ValueError(value)


def _greed(hint: Any) -> int:
    """Which type of a union is tried first: one that takes one word before one that takes any."""
    if hint is type(None):
        return 0
    return 2 if hint is str or typing.get_origin(hint) is tuple else 1


def _list_typed(value: Option, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """A list; one word alone stands for a list of one."""
    members = value if isinstance(value, tuple) else (value,)
    if hints[-1] is Ellipsis:
        return tuple(_typed(m, hints[0]) for m in members)
    if len(members) != len(hints):
        raise ValueError(value)
    return tuple(_typed(m, h) for m, h in zip(members, hints, strict=True))


def _described(hint: Any) -> str:
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Union | pytypes.UnionType:
            return " or ".join(_described(a) for a in arguments)
        case typing.Literal:
            return f"one of {', '.join(str(a) for a in arguments)}"
        case origin if origin is tuple and arguments[-1] is Ellipsis:
            return f"a list of: {_described(arguments[0])}"
        case origin if origin is tuple:
            return f"[{', '.join(_described(a) for a in arguments)}]"
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a word", type(None): "none"}
    return words[hint]
