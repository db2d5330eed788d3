"""Syntax tree to operations.  In: .hir text.  Out: the module it describes, or a ParseError with line and column.

Each operation is built by its declaration: operands, groups, attributes and regions are matched with the
declared fields, result types are inferred and compared with those that the text gives.
"""

from __future__ import annotations

from typing import Any

from lark import Token

from headrace.ir.access import Access, AccessMap, SymbolRef
from headrace.ir.constants import ConstantStore
from headrace.ir.core import Block, Location, Operation, Region, Value
from headrace.ir.declare import MISSING, Declaration, Field, declaration_of, declared
from headrace.ir.errors import IRError, ParseError, VerifyError, nearest
from headrace.ir.module import Function, Module
from headrace.ir.text.printer import axes_field, is_one_list, label_of
from headrace.ir.text.syntax import (
    AttributeNode,
    Node,
    OperandNode,
    OperationNode,
    ParameterNode,
    RegionNode,
    error_at,
    parse_syntax,
    parse_type_syntax,
)
from headrace.ir.text.values import ValueReader
from headrace.ir.types import Type


def parse_module(text: str, path: str = "<text>", constants: ConstantStore | None = None) -> Module:
    """The module that `text` describes; `path` names it in messages.

    `constants` become the module's store.  A constant that they lack is still known by digest and type: only
    reading its elements fails.  The module is not verified (`headrace.ir.verify`).
    """
    store = ConstantStore() if constants is None else constants
    syntax = parse_syntax(text, path)
    parser = _Parser(path, store)
    declaration = declaration_of(Module)
    given = parser.attributes(declaration, syntax.attributes)
    module = Module(body=parser.region(RegionNode(None, syntax.operations)), **given)
    module.location = parser.location(syntax.nodes)
    module.constants = store
    return module


def parse_type(text: str, path: str = "<text>") -> Type:
    """The type that `text` describes: `f32[n, 3]`, `buffer<f32[6, 64], register>`, `vector<16xf32>`."""
    node = parse_type_syntax(text, path).parts[0]
    assert isinstance(node, Node)
    return ValueReader(path, ConstantStore()).read_type(node)


class _Parser:
    def __init__(self, path: str, constants: ConstantStore) -> None:
        self.path = path
        self.values = ValueReader(path, constants)
        self.scopes: list[dict[str, Value]] = [{}]  # innermost last; an isolated operation starts a new list

    # ---- names

    def define(self, name: Token, value: Value) -> None:
        if name in self.scopes[-1]:
            raise error_at(self.path, name, f"{name} is defined twice in one block")
        self.scopes[-1][str(name)] = value
        value.hint = None if name[1:].isdigit() else str(name[1:])

    def look_up(self, name: Token) -> Value:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        known = sorted(n for scope in self.scopes for n in scope)
        raise error_at(self.path, name, f"{name} is not defined here{nearest(name, known)}")

    # ---- operations

    def operation(self, node: OperationNode) -> Operation:
        try:
            declaration = declared(node.name)
        except ParseError as error:
            raise error_at(self.path, node.name, str(error)) from None
        given: dict[str, Any] = {}
        self.read_head(node, declaration, given)
        self.read_operands(node, declaration, given)
        given |= self.attributes(declaration, node.attributes)
        self.read_regions(node, declaration, given)
        for field in declaration.fields:
            if field.name not in given and field.default is MISSING:
                raise error_at(self.path, node.name, f"{node.name} needs {_what(field)}")
        try:
            operation = declaration.cls(**given)
        except VerifyError as error:
            raise error_at(self.path, node.name, _with_name(node.name, error)) from None
        operation.location = self.location(node.nodes)
        self.define_results(node, operation)
        return operation

    def define_results(self, node: OperationNode, operation: Operation) -> None:
        if len(node.results) != len(operation.results):
            message = f"{node.name} has {_count(len(operation.results), 'result')}, found {len(node.results)} names"
            raise error_at(self.path, node.name, message)
        if node.types:
            found = [self.values.read_type(t) for t in node.types]
            wanted = [r.type for r in operation.results]
            if found != wanted:
                message = f"{node.name} gives {_listed(wanted)}, found {_listed(found)}"
                raise error_at(self.path, node.name, message)
        for name, result in zip(node.results, operation.results, strict=True):
            self.define(name, result)

    def location(self, nodes: tuple[Token, ...]) -> Location:
        return Location(tuple(self.values.string(n) for n in nodes))

    # ---- the fields of an operation

    def read_head(self, node: OperationNode, declaration: Declaration, given: dict[str, Any]) -> None:
        head, axes = node.head, axes_field(declaration)
        is_function = issubclass(declaration.cls, Function)
        if (head.symbol is not None) != is_function:
            wanted = "a name like @f behind it" if is_function else "no name behind it"
            raise error_at(self.path, head.symbol or node.name, f"{node.name}: expected {wanted}")
        if head.symbol is not None:
            given["symbol"] = SymbolRef(self.values.symbol_name(head.symbol))
        if head.axes is not None:
            if axes is None:
                raise error_at(self.path, node.name, f"{node.name} has no axes")
            given[axes.name] = tuple(self.values.axis(a) for a in head.axes)

    def read_operands(self, node: OperationNode, declaration: Declaration, given: dict[str, Any]) -> None:
        fields = declaration.operand_fields
        if is_one_list(declaration) and not node.groups:
            given[fields[0].name] = tuple(self.operand(o, fields[0]) for o in node.operands)
        else:
            fixed = [f for f in fields if not f.is_group]
            if len(fixed) != len(node.operands):
                names = f" ({', '.join(f.name for f in fixed)})" if fixed else ""
                found = f"{node.name} takes {_count(len(fixed), 'operand')}{names}, found {len(node.operands)}"
                raise error_at(self.path, node.name, found)
            for field, operand in zip(fixed, node.operands, strict=True):
                given[field.name] = self.operand(operand, field)
        groups = {f.name: f for f in fields if f.is_group}
        for group in node.groups:
            if group.label not in groups:
                hint = nearest(group.label, groups)
                raise error_at(self.path, group.label, f"{node.name} has no operands {str(group.label)!r}{hint}")
            if group.label in given:
                raise error_at(self.path, group.label, f"{group.label}(...) stands here twice")
            given[str(group.label)] = self.group(group.label, groups[group.label], group.operands)
        for field in groups.values():
            if field.kind != "optional" and field.default is MISSING:
                given.setdefault(field.name, ())

    def group(self, label: Token, field: Field, nodes: tuple[OperandNode, ...]) -> Any:
        operands = tuple(self.operand(n, field) for n in nodes)
        if field.kind != "optional":
            return operands
        if len(operands) > 1:
            raise error_at(self.path, label, f"{label} takes one operand, found {len(operands)}")
        return operands[0] if operands else None

    def operand(self, node: OperandNode, field: Field) -> Value | Access:
        value = self.look_up(node.name)
        if field.kind not in ("access", "accesses"):
            if node.indices is not None:
                raise error_at(self.path, node.name, f"{field.name}: found an index behind {node.name}, expected none")
            return value
        if node.indices is None:
            raise error_at(self.path, node.name, f"{field.name}: expected an index behind {node.name}, like [i, j]")
        otherwise = None if node.otherwise is None else self.values.number(node.otherwise)
        return Access(value, AccessMap(tuple(self.values.read_dim(i) for i in node.indices), otherwise))

    def attributes(self, declaration: Declaration, nodes: tuple[AttributeNode, ...]) -> dict[str, Any]:
        apart = axes_field(declaration)
        is_function = issubclass(declaration.cls, Function)
        fields = {
            f.name: f
            for f in declaration.attribute_fields
            if f is not apart and not (is_function and f.name == "symbol")
        }
        given: dict[str, Any] = {}
        for node in nodes:
            name = str(node.name)
            if name not in fields:
                message = f"{_called(declaration)} has no attribute {name!r}{nearest(name, fields)}"
                raise error_at(self.path, node.name, message)
            if name in given:
                raise error_at(self.path, node.name, f"attribute {name!r} stands here twice")
            given[name] = self.values.attribute(node.value, fields[name].hint, node.name)
        return given

    def read_regions(self, node: OperationNode, declaration: Declaration, given: dict[str, Any]) -> None:
        fields = {label_of(declaration, f): f for f in declaration.region_fields}
        outer = self.scopes
        if declaration.cls.is_isolated:
            self.scopes = [{}]
        for label, region in node.regions:
            word = None if label is None else str(label)
            if word not in fields:
                what = "a region here" if word is None else f"a region {word!r}"
                message = f"{node.name} does not take {what}{nearest(word or '', [f for f in fields if f])}"
                raise error_at(self.path, label or node.name, message)
            if fields[word].name in given:
                raise error_at(self.path, label or node.name, f"region {word!r} stands here twice")
            if node.head.symbol is None:
                given[fields[word].name] = self.region(region)
            else:
                given[fields[word].name] = self.region(RegionNode(node.head.parameters, region.operations))
        self.scopes = outer
        for field in declaration.region_fields:
            if field.name == "otherwise":
                given.setdefault(field.name, Region())

    def region(self, node: RegionNode) -> Region:
        parameters: tuple[ParameterNode, ...] = node.parameters or ()
        block = Block([self.values.read_type(p.type) for p in parameters])
        self.scopes.append({})
        for parameter, argument in zip(parameters, block.arguments, strict=True):
            self.define(parameter.name, argument)
        for operation in node.operations:
            block.insert(len(block.operations), self.operation(operation))
        self.scopes.pop()
        return Region(block)


def _called(declaration: Declaration) -> str:
    return "module" if declaration.cls is Module else declaration.name


def _what(field: Field) -> str:
    kinds = {"region": "a region", "attribute": "an attribute"}
    return f"{kinds.get(field.kind, 'an operand')} {field.name!r}"


def _with_name(name: str, error: IRError) -> str:
    """The message of an operation's own error, which may or may not start with the operation's name."""
    return str(error) if str(error).startswith(name) else f"{name}: {error}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _listed(types: list[Type]) -> str:
    return ", ".join(str(t) for t in types) or "nothing"
