"""Attribute values, types and formulas between text and Python.

Reading takes a syntax node and the declared field's hint and gives a value of that type, or an error that says
what the field wants; writing gives the text that reads back as the same value.
"""

from __future__ import annotations

import json
import types as pytypes
import typing
from collections.abc import Callable, Mapping
from typing import Any

from lark import Token

from headrace.ir.access import AccessMap, Axis, SymbolRef
from headrace.ir.constants import ConstantRef, ConstantStore
from headrace.ir.dims import Dim, ceildiv, dim_max, dim_min
from headrace.ir.errors import DimError, IRError, ParseError, nearest
from headrace.ir.text.dense import read_dense, write_dense
from headrace.ir.text.syntax import Expr, Node, error_at, first_token, is_plain_name
from headrace.ir.types import DTYPES, SPACES, BufferType, DType, ScalarType, TensorType, TokenType, Type, VectorType

DIGEST_DIGITS = 64


# ---- writing -------------------------------------------------------------------------------------------------


def write_string(text: str) -> str:
    """A string in quotes, with JSON's escapes; what cannot be seen is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def write_symbol(name: str) -> str:
    """`@name`, in quotes where the name is not a plain word."""
    return f"@{name}" if is_plain_name(name) else f"@{write_string(name)}"


def write_value(value: Any, hint: Any, constants: ConstantStore | None) -> str:
    """The text of an attribute's value; `hint` tells words from strings.  Small arrays found in `constants` stand
    in the text themselves."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return write_string(value) if str in _leaves(hint) or not is_plain_name(value) else value
        case SymbolRef():
            return write_symbol(value.name)
        case ConstantRef():
            return write_constant(value, constants)
        case Axis():  # a NamedTuple or dataclass of its own: never a list
            return str(value)
        case tuple():
            return f"[{', '.join(write_value(v, hint, constants) for v in value)}]"
    assert isinstance(value, Dim | DType | Type), f"no text for a {type(value).__name__}"
    return str(value)


def write_constant(ref: ConstantRef, constants: ConstantStore | None) -> str:
    """`dense<...> : type` for a small array that the store has, else digest and type."""
    inline = None if constants is None else write_dense(ref, constants)
    return f"#{ref.digest}: {ref.type}" if inline is None else f"dense<{inline}> : {ref.type}"


def write_access(name: str, map: AccessMap) -> str:
    """`%x[i, k + 1] else 0.0`"""
    ending = "" if map.otherwise is None else f" else {write_value(map.otherwise, None, None)}"
    return f"{name}[{', '.join(str(i) for i in map.indices)}]{ending}"


def _leaves(hint: Any) -> list[Any]:
    """The types in a hint, without tuples and unions around them."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal or not arguments:
        return [hint]
    return [leaf for a in arguments for leaf in _leaves(a)]


# ---- what a hint wants, in words ---------------------------------------------------------------------------

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number like 1.0",
    str: "a string",
    Dim: "a formula",
    DType: "an element type like f32",
    Type: "a type",
    TensorType: "a tensor type like f32[n, 3]",
    BufferType: "a buffer type like buffer<f32[n]>",
    ScalarType: "a scalar type like f32",
    VectorType: "a vector type like vector<16xf32>",
    TokenType: "the type token",
    SymbolRef: "a name like @f",
    ConstantRef: "a constant like #digest: f32[3] or dense<[1.0, 2.0]> : f32[2]",
    Axis: "an axis like i: parallel n",
    type(None): "none",
}


def describe(hint: Any) -> str:
    """What a field of that hint takes."""
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Literal:
            return f"one of {', '.join(str(a) for a in arguments)}"
        case typing.Union | pytypes.UnionType:
            return " or ".join(describe(a) for a in arguments)
        case origin if origin is tuple:
            return f"a list of: {describe(arguments[0])}"
    return _WORDS.get(hint, str(hint))


def spell(node: Expr) -> str:
    """A syntax node as a message calls it."""
    if isinstance(node, Token):
        return str(node) if node.type == "STRING" else repr(str(node))
    kinds = {"list": "a list", "axis": "an axis", "stored": "a constant", "dense": "a constant"}
    return kinds.get(node.kind, "a type" if node.kind.endswith("_type") else "a formula")


def matches(value: Any, hint: Any) -> bool:
    """Whether a Python value is one that a field of that hint may hold; the verifier asks this of every attribute."""
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Literal:
            return any(value == a for a in arguments)
        case typing.Union | pytypes.UnionType:
            return any(matches(value, a) for a in arguments)
        case origin if origin is tuple:
            if type(value) is not tuple:
                return False
            if arguments[-1] is Ellipsis:
                return all(matches(v, arguments[0]) for v in value)
            return len(value) == len(arguments) and all(matches(v, a) for v, a in zip(value, arguments, strict=True))
    if hint in (bool, int, float, str):
        return type(value) is hint
    assert isinstance(hint, type), f"no field may be declared {hint}"
    return isinstance(value, hint)


# ---- reading -------------------------------------------------------------------------------------------------


class _Mismatch(Exception):
    """A node that is not what the hint wants."""

    def __init__(self, node: Expr, hint: Any) -> None:
        self.node = node
        self.hint = hint


class ValueReader:
    """Reads values of one file; small arrays go into `constants`."""

    def __init__(self, path: str, constants: ConstantStore) -> None:
        self.path = path
        self.constants = constants
        self._stored = {ref.digest: ref for ref in constants}
        self._readers: dict[Any, Callable[[Expr], Any]] = {
            bool: self._bool,
            int: self._int,
            float: self._float,
            str: self._string,
            Dim: self._dim,
            DType: self._dtype,
            SymbolRef: self._symbol,
            ConstantRef: self._constant,
            Axis: self._axis,
            type(None): self._none,
        }

    def attribute(self, node: Expr, hint: Any, name: Token) -> Any:
        """The value of the field `name`.  Raises ParseError with what was found and what the field takes."""
        try:
            return self._value(node, hint)
        except _Mismatch as error:
            message = f"{name}: found {spell(error.node)}, expected {describe(error.hint)}"
            raise error_at(self.path, first_token(error.node) or name, message) from None

    def read_type(self, node: Node) -> Type:
        """A type.  Raises ParseError."""
        try:
            return self._type(node)
        except _Mismatch as error:
            token = _token(error.node)
            hint = nearest(token, sorted([*DTYPES, "token"]))
            raise error_at(self.path, token, f"found {str(token)!r}, expected a type{hint}") from None

    def read_dim(self, node: Expr) -> Dim:
        """A formula.  Raises ParseError for what is none, and where its arithmetic is impossible."""
        try:
            return self._dim(node)
        except _Mismatch as error:
            raise error_at(self.path, _token(node), f"found {spell(error.node)}, expected a formula") from None

    def number(self, node: Expr) -> float | int | bool:
        """What stands behind `else` of an access.  Raises ParseError."""
        try:
            number: float | int | bool = self._value(node, bool | int | float)
        except _Mismatch:
            raise error_at(self.path, _token(node), f"found {spell(node)}, expected a number") from None
        return number

    def _dim(self, node: Expr) -> Dim:
        try:
            return self._formula(node)
        except DimError as error:
            raise error_at(self.path, _token(node), str(error)) from None

    def _value(self, node: Expr, hint: Any) -> Any:
        arguments = typing.get_args(hint)
        match typing.get_origin(hint):
            case typing.Literal:
                return self._word(node, hint, arguments)
            case typing.Union | pytypes.UnionType:
                return self._union(node, hint, arguments)
            case origin if origin is tuple:
                return self._tuple(node, hint, arguments)
        if isinstance(hint, type) and issubclass(hint, Type):
            if (kind := self._as_type(node, hint)) is not None:
                return kind
            raise _Mismatch(node, hint)
        return self._readers[hint](node)

    def _union(self, node: Expr, hint: Any, members: tuple[Any, ...]) -> Any:
        for member in sorted(members, key=lambda m: m is Dim):  # a formula would take any name
            try:
                return self._value(node, member)
            except _Mismatch:
                continue
        raise _Mismatch(node, hint)

    def _tuple(self, node: Expr, hint: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if not isinstance(node, Node) or node.kind != "list":
            raise _Mismatch(node, hint)
        if arguments[-1] is Ellipsis:
            return tuple(self._value(part, arguments[0]) for part in node.parts)
        if len(arguments) != len(node.parts):
            raise _Mismatch(node, hint)
        return tuple(map(self._value, node.parts, arguments))

    def _word(self, node: Expr, hint: Any, words: tuple[Any, ...]) -> Any:
        if isinstance(node, Token):
            text = json.loads(node) if node.type == "STRING" else str(node)
            for word in words:
                if str(word) == text:
                    return word
        raise _Mismatch(node, hint)

    def _bool(self, node: Expr) -> bool:
        if node in ("true", "false"):
            return bool(node == "true")
        raise _Mismatch(node, bool)

    def _none(self, node: Expr) -> None:
        if node != "none":
            raise _Mismatch(node, type(None))

    def _int(self, node: Expr) -> int:
        sign, token = _unsigned(node)
        if isinstance(token, Token) and token.type == "INT":
            return sign * int(token)
        raise _Mismatch(node, int)

    def _float(self, node: Expr) -> float:
        sign, token = _unsigned(node)
        if isinstance(token, Token) and (token.type == "FLOAT" or token in ("inf", "nan")):
            return sign * float(token)
        raise _Mismatch(node, float)

    def _string(self, node: Expr) -> str:
        if isinstance(node, Token) and node.type == "STRING":
            return self.string(node)
        raise _Mismatch(node, str)

    def string(self, token: Token) -> str:
        """What a quoted string says.  Raises ParseError for an escape that JSON does not have."""
        try:
            text: str = json.loads(token)
        except json.JSONDecodeError as error:
            raise error_at(self.path, token, f"string {token}: {error.msg.lower()}") from None
        return text

    def symbol_name(self, token: Token) -> str:
        """The name in `@name` or `@"name"`."""
        return self.string(Token.new_borrow_pos("STRING", token[1:], token)) if token[1] == '"' else str(token[1:])

    def _symbol(self, node: Expr) -> SymbolRef:
        if isinstance(node, Token) and node.type == "SYMBOL":
            return SymbolRef(self.symbol_name(node))
        raise _Mismatch(node, SymbolRef)

    def _dtype(self, node: Expr) -> DType:
        if isinstance(node, Token) and node.type == "NAME" and node in DTYPES:
            return DTYPES[node]
        raise _Mismatch(node, DType)

    def _axis(self, node: Expr) -> Axis:
        if isinstance(node, Node) and node.kind == "axis":
            return self.axis(node)
        raise _Mismatch(node, Axis)

    def axis(self, node: Node) -> Axis:
        """`i: parallel n`"""
        name, kind, extent = node.parts
        return Axis(str(name), str(kind), self.read_dim(extent))

    def _constant(self, node: Expr) -> ConstantRef:
        if not isinstance(node, Node) or node.kind not in ("stored", "dense"):
            raise _Mismatch(node, ConstantRef)
        try:
            return self._dense(node) if node.kind == "dense" else self._stored_constant(node)
        except ParseError:
            raise
        except IRError as error:
            raise error_at(self.path, _token(node), str(error)) from None

    def _dense(self, node: Node) -> ConstantRef:
        content, kind = node.parts
        assert isinstance(kind, Node)
        return self.constants.add(read_dense(content, self._constant_type(kind)))

    def _stored_constant(self, node: Node) -> ConstantRef:
        digest = str(node.parts[0])[1:]
        if len(node.parts) == 1:
            return self.constants.find(digest)
        if len(digest) != DIGEST_DIGITS:
            raise IRError(f"constant #{digest} has {len(digest)} digits, expected {DIGEST_DIGITS}")
        kind = node.parts[1]
        assert isinstance(kind, Node)
        wanted = self._constant_type(kind)
        ref = ConstantRef(digest, wanted.dtype, tuple(d.value for d in wanted.dims))
        if self._stored.get(digest, ref) != ref:
            raise IRError(f"constant {ref} is {ref.type} here and {self._stored[digest].type} in the store")
        return ref

    def _constant_type(self, node: Node) -> TensorType:
        kind = self.read_type(node)
        if not isinstance(kind, TensorType) or not kind.is_static:
            raise IRError(f"a constant is of type {kind}, expected a tensor type with constant dims")
        return kind

    # ---- types and formulas

    def _as_type(self, node: Expr, wanted: type[Type]) -> Type | None:
        if isinstance(node, Token):
            if node.type != "NAME" or not (node in DTYPES or node == "token"):
                return None
            kind: Type = TokenType() if node == "token" else ScalarType(DTYPES[node])
        elif node.kind.endswith("_type"):
            kind = self._type(node)
        else:
            return None
        return kind if isinstance(kind, wanted) else None

    def _type(self, node: Node) -> Type:
        parts = node.parts
        match node.kind:
            case "named_type":
                kind = self._as_type(parts[0], Type)
                if kind is None:
                    raise _Mismatch(node, Type)
                return kind
            case "vector_type":
                lanes, _, dtype = str(parts[0])[len("vector<") : -1].partition("x")
                if dtype not in DTYPES:
                    raise _Mismatch(node, VectorType)
                return VectorType(DTYPES[dtype], int(lanes))
            case "tensor_type":
                return TensorType(self._element(parts[0], node), tuple(map(self.read_dim, parts[1:])))
        assert node.kind == "buffer_type", node.kind
        strides, space = parts[-2:]
        assert isinstance(strides, Node) and isinstance(space, Node)
        name = str(space.parts[0]) if space.parts else "global"
        if name not in SPACES:
            raise error_at(self.path, _token(space), f"space is {name}, expected one of {', '.join(SPACES)}")
        return BufferType(
            self._element(parts[0], node),
            tuple(map(self.read_dim, parts[1:-2])),
            typing.cast(Any, name),
            None if strides.kind == "dense_strides" else tuple(map(self.read_dim, strides.parts)),
        )

    def _element(self, name: Expr, node: Node) -> DType:
        if isinstance(name, Token) and name in DTYPES:
            return DTYPES[name]
        raise _Mismatch(node, Type)

    def _formula(self, node: Expr) -> Dim:
        if isinstance(node, Token):
            if node.type == "INT":
                return Dim.constant(int(node))
            if node.type == "NAME":
                return Dim.symbol(str(node))
            raise _Mismatch(node, Dim)
        if node.kind == "call":
            return self._call(node)
        if node.kind not in _OPERATORS:
            raise _Mismatch(node, Dim)
        return _OPERATORS[node.kind](*map(self._formula, node.parts))

    def _call(self, node: Node) -> Dim:
        name, values = _token(node), list(map(self._formula, node.parts[1:]))
        if name in _FUNCTIONS:
            return _FUNCTIONS[name](*values)
        if name == "ceildiv" and len(values) == 2:
            return ceildiv(*values)
        raise error_at(
            self.path, name, f"found {name} of {len(values)} values, expected min(...), max(...) or ceildiv(a, b)"
        )


_FUNCTIONS: Mapping[str, Callable[..., Dim]] = {"min": dim_min, "max": dim_max}
_OPERATORS: Mapping[str, Callable[..., Dim]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "modulo": lambda a, b: a % b,
    "negative": lambda a: -a,
}


def _unsigned(node: Expr) -> tuple[int, Expr]:
    if isinstance(node, Node) and node.kind == "negative":
        return -1, node.parts[0]
    return 1, node


def _token(node: Expr) -> Token:
    token = first_token(node)
    assert token is not None
    return token
