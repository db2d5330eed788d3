"""Text to syntax tree: what was written where.  In: .hir text.  Out: nodes with the tokens they came from.

Nothing here knows an operation or a type; see `headrace.ir.text.parser` for the meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from headrace.ir.errors import ParseError


@dataclass(frozen=True, slots=True)
class Node:
    """A formula, type or other value that is more than one token: which rule of the grammar, and its parts."""

    kind: str
    parts: tuple[Expr, ...]


Expr = Token | Node


@dataclass(frozen=True, slots=True)
class ParameterNode:
    name: Token
    type: Node


@dataclass(frozen=True, slots=True)
class OperandNode:
    name: Token
    indices: tuple[Expr, ...] | None = None
    otherwise: Expr | None = None


@dataclass(frozen=True, slots=True)
class GroupNode:
    label: Token
    operands: tuple[OperandNode, ...]


@dataclass(frozen=True, slots=True)
class AttributeNode:
    name: Token
    value: Expr


@dataclass(frozen=True, slots=True)
class HeadNode:
    """What stands right behind the operation's name."""

    symbol: Token | None = None
    parameters: tuple[ParameterNode, ...] = ()
    axes: tuple[Node, ...] | None = None


@dataclass(frozen=True, slots=True)
class RegionNode:
    parameters: tuple[ParameterNode, ...] | None
    operations: tuple[OperationNode, ...]


@dataclass(frozen=True, slots=True)
class OperationNode:
    results: tuple[Token, ...]
    name: Token
    head: HeadNode
    operands: tuple[OperandNode, ...]
    groups: tuple[GroupNode, ...]
    attributes: tuple[AttributeNode, ...]
    regions: tuple[tuple[Token | None, RegionNode], ...]
    types: tuple[Node, ...]
    nodes: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class ModuleNode:
    attributes: tuple[AttributeNode, ...]
    operations: tuple[OperationNode, ...]
    nodes: tuple[Token, ...]


# What each rule of the grammar becomes: the methods' names are the rules' names.
@v_args(inline=True)
class _Build(Transformer[Token, object]):
    def module(self, attributes: tuple[AttributeNode, ...], *rest: object) -> ModuleNode:
        operations = cast(tuple[OperationNode, ...], rest[:-1])
        return ModuleNode(attributes, operations, cast(tuple[Token, ...], rest[-1]))

    def functions(self, *operations: OperationNode) -> ModuleNode:
        return ModuleNode((), operations, ())

    def file(self, module: ModuleNode) -> ModuleNode:
        return module

    operation = OperationNode
    parameter = ParameterNode
    attribute = AttributeNode

    def results(self, *names: Token) -> tuple[Token, ...]:
        return names

    def nothing(self) -> HeadNode:
        return HeadNode()

    def function_head(self, symbol: Token, parameters: tuple[ParameterNode, ...]) -> HeadNode:
        return HeadNode(symbol, parameters)

    def axes(self, *axes: Node) -> HeadNode:
        return HeadNode(axes=axes)

    def parameters(self, *parameters: ParameterNode) -> tuple[ParameterNode, ...]:
        return parameters

    def operands(self, *operands: OperandNode) -> tuple[OperandNode, ...]:
        return operands

    def whole(self, name: Token) -> OperandNode:
        return OperandNode(name)

    def element(self, name: Token, *indices: Expr) -> OperandNode:
        return OperandNode(name, indices)

    def element_or(self, name: Token, *rest: Expr) -> OperandNode:
        return OperandNode(name, rest[:-2], rest[-1])  # the last but one is the word `else`

    def groups(self, *groups: GroupNode) -> tuple[GroupNode, ...]:
        return groups

    def group(self, label: Token, *operands: OperandNode) -> GroupNode:
        return GroupNode(label, operands)

    def attributes(self, *rest: object) -> tuple[AttributeNode, ...]:
        return cast(tuple[AttributeNode, ...], rest[1:])  # behind the opening brace

    def no_regions(self) -> tuple[tuple[Token | None, RegionNode], ...]:
        return ()

    def bare_region(self, region: RegionNode) -> tuple[tuple[Token | None, RegionNode], ...]:
        return ((None, region),)

    def then_else(self, then: RegionNode, word: Token, otherwise: RegionNode) -> object:
        return ((None, then), (word, otherwise))

    def labelled_regions(self, *rest: object) -> object:
        return tuple(zip(rest[::2], rest[1::2], strict=True))

    def region(self, *rest: object) -> RegionNode:
        if rest and isinstance(rest[0], tuple):
            return RegionNode(rest[0], cast(tuple[OperationNode, ...], rest[1:]))
        return RegionNode(None, cast(tuple[OperationNode, ...], rest))

    def types(self, *types: Node) -> tuple[Node, ...]:
        return types

    def location(self, *rest: Token) -> tuple[Token, ...]:
        return rest[1:]  # behind the word `loc`


def _node(kind: str) -> Callable[..., Node]:
    def make(self: _Build, *parts: Expr) -> Node:
        return Node(kind, parts)

    return make


# The rules that stay what they are.
_NODES = """
    axis named_type vector_type tensor_type buffer_type strides dense_strides space lone_type stored dense list
    add subtract multiply floordiv modulo negative call
"""
for _kind in _NODES.split():
    setattr(_Build, _kind, v_args(inline=True)(_node(_kind)))


@cache
def _lark() -> Lark:
    grammar = resources.files("headrace.ir.text").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=["file", "lone_type"], maybe_placeholders=False, transformer=_Build())


def parse_syntax(text: str, path: str) -> ModuleNode:
    """The syntax tree of a file.  Raises ParseError with `path`, line and column."""
    return cast(ModuleNode, _parse(text, path, "file"))


def parse_type_syntax(text: str, path: str) -> Node:
    """The syntax tree of one type."""
    return cast(Node, _parse(text, path, "lone_type"))


def _parse(text: str, path: str, start: Literal["file", "lone_type"]) -> object:
    try:
        return _lark().parse(text, start=start)
    except UnexpectedInput as error:
        raise ParseError(f"{path}:{_place(text, error)}: {_explain(error)}") from None


def error_at(path: str, token: Token, message: str) -> ParseError:
    """The error to raise about what stands at `token`."""
    return ParseError(f"{path}:{token.line}:{token.column}: {message}")


def first_token(node: Expr) -> Token | None:
    """The leftmost token of a node that still has one."""
    if isinstance(node, Token):
        return node
    return next((t for t in map(first_token, node.parts) if t is not None), None)


def _place(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedCharacters) or (isinstance(error, UnexpectedToken) and error.token.type != "$END"):
        return f"{error.line}:{error.column}"
    lines = text.split("\n")
    return f"{len(lines)}:{len(lines[-1]) + 1}"


def _explain(error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken):
        found = "the end of the text" if error.token.type == "$END" else repr(str(error.token))
        wanted = _wanted(error.accepts or error.expected)
    elif isinstance(error, UnexpectedCharacters):
        found, wanted = repr(error.char), _wanted(error.allowed or ())
    else:
        assert isinstance(error, UnexpectedEOF)
        found, wanted = "the end of the text", _wanted(error.expected)
    return f"found {found}, expected {wanted}"


# How messages call the grammar's terminals; those with the same words are one.
_WORDS = {
    "DEFINED": "an operation",
    "OPNAME": "an operation",
    "VALUE": "a value like %x",
    "SYMBOL": "a name like @f",
    "GROUP": "an operand group",
    "ATTRIBUTES": "attributes",
    "VECTOR": "a type",
    "_BUFFER": "a type",
    "_DENSE": "a constant",
    "DIGEST": "a constant",
    "STRING": "a string",
    "FLOAT": "a number",
    "INT": "a number",
    "NAME": "a name",
    "ELSE": "'else'",
    "LOC": "'loc'",
    "_FLOORDIV": "an operator",
    "_MOD": "an operator",
    "_STRIDES": "'strides'",
    "_MODULE": "'module'",
    "PLUS": "an operator",
    "MINUS": "an operator",
    "STAR": "an operator",
    "$END": "the end",
    "COMMA": "','",
    "COLON": "':'",
    "EQUAL": "'='",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "MORETHAN": "'>'",
    "CIRCUMFLEX": "'^'",
}


def _wanted(terminals: Iterable[str]) -> str:
    words = sorted({_WORDS[t] for t in terminals})
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


_PLAIN = re.compile(r"[A-Za-z_][\w.]*\Z", re.ASCII)


def is_plain_name(name: str) -> bool:
    """Whether a function's name needs no quotes in text."""
    return _PLAIN.match(name) is not None
