"""How an operation is declared: `@op("dialect.name")` on a class whose annotated fields say everything.

    @op("graph.concat", onnx="Concat")
    class Concat(Movement):
        xs: tuple[Value, ...]
        axis: int

A field's annotation decides what it is:

    Value                        an operand
    Value | None                 an operand that may be missing (default None)
    tuple[Value, ...]            any number of operands
    Access, tuple[Access, ...]   operands with an index map each (`%x[i, k + 1]`)
    Region                       a region
    anything else                an attribute: bool, int, float, str, Dim, DType, Type, a Literal of words,
                                 SymbolRef, ConstantRef, Axis, tuples of these, and `... | None`

Operand fields come in their order; fields with a default may be left out.  Out comes a class whose
constructor takes the fields by position or name (so a type checker knows them), infers the result types,
and whose fields can be read from the operation.  `registry` finds operations by name: a dialect's `ops/`
folder is its own list, the modules in it are imported when the first of its names is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types as pytypes
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, dataclass_transform

from headrace.ir.access import Access
from headrace.ir.core import UNKNOWN, Operation, OpResult, Region, Value
from headrace.ir.errors import HeadraceError, ParseError, nearest, one_line

FieldKind = Literal["operand", "optional", "variadic", "access", "accesses", "region", "attribute"]
MISSING = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One declared field: what it is, its Python type, and its default if it has one."""

    name: str
    kind: FieldKind
    hint: Any
    default: Any = MISSING

    @property
    def is_operand(self) -> bool:
        return self.kind not in ("region", "attribute")

    @property
    def is_group(self) -> bool:
        """Whether the number of operands it takes varies."""
        return self.kind in ("optional", "variadic", "accesses")


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """The ONNX operators an operation stands for, one to one: operands, attributes by the same names.

    Where names or defaults differ the frontend has an import function instead; see compiler/frontends/onnx.
    """

    name: str
    since: int = 1
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What `@op` knows of a class."""

    name: str
    cls: type[Operation]
    fields: tuple[Field, ...]
    onnx: tuple[OnnxForm, ...]

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

    @property
    def operand_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.is_operand)

    @property
    def attribute_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind == "attribute")

    @property
    def region_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind == "region")


_DECLARED: dict[str, Declaration] = {}
_OpClass = TypeVar("_OpClass", bound=type[Operation])

# Where the number of operands of each group is kept, and where an access field keeps its maps.
SEGMENTS = "_segments"


@dataclass_transform()
def op(name: str, *, onnx: str | OnnxForm | Sequence[OnnxForm] | None = None) -> Callable[[_OpClass], _OpClass]:
    """Declares an operation; see the module's text."""
    if onnx is None:
        forms: tuple[OnnxForm, ...] = ()
    else:
        one = OnnxForm(onnx) if isinstance(onnx, str) else onnx
        forms = (one,) if isinstance(one, OnnxForm) else tuple(one)

    def declare(cls: _OpClass) -> _OpClass:
        fields = _fields_of(cls)
        declaration = Declaration(name, cls, fields, forms)
        assert name not in _DECLARED or _DECLARED[name].cls.__module__ == cls.__module__, f"{name} declared twice"
        _DECLARED[name] = declaration
        cls.name = name
        setattr(cls, "declaration", declaration)  # noqa: B010 - declared on no base, so that only @op sets it
        setattr(cls, "__init__", _constructor(declaration))  # noqa: B010
        for number, field in enumerate(fields):
            setattr(cls, field.name, _reader(declaration, number))
        return cls

    return declare


def declaration_of(operation: Operation | type[Operation]) -> Declaration:
    """The declaration behind an operation or its class."""
    found = getattr(operation, "declaration", None)
    assert isinstance(found, Declaration), f"{operation} was not declared with @op"
    return found


def _fields_of(cls: type[Operation]) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls)
    fields = []
    for base in reversed(cls.__mro__):
        if base is not cls and "declaration" not in base.__dict__:
            continue  # an undecorated base may annotate what its subclasses declare
        for name in inspect.get_annotations(base):
            hint = hints[name]
            if typing.get_origin(hint) is typing.ClassVar or name.startswith("_"):
                continue
            kind = _kind_of(hint)
            default = base.__dict__.get(name, None if kind == "optional" else MISSING)
            fields.append(Field(name, kind, hint, default))
    return tuple(fields)


def _kind_of(hint: Any) -> FieldKind:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Value:
        return "operand"
    if origin in (typing.Union, pytypes.UnionType) and Value in arguments:
        return "optional"
    if origin is tuple and arguments[0] is Value:
        return "variadic"
    if hint is Access:
        return "access"
    if origin is tuple and arguments[0] is Access:
        return "accesses"
    return "region" if hint is Region else "attribute"


def _constructor(declaration: Declaration) -> Callable[..., None]:
    names = [f.name for f in declaration.fields]

    def __init__(self: Operation, *values: Any, **named: Any) -> None:
        given = dict(zip(names, values, strict=False)) | named
        unknown = [n for n in named if n not in names]
        if unknown or len(values) > len(names):
            raise TypeError(f"{declaration.name} has no field {unknown or values[len(names) :]}")
        fill(self, declaration, given)

    return __init__


def fill(self: Operation, declaration: Declaration, given: dict[str, Any]) -> None:
    """Sets a new operation up from field values and infers its results."""
    operands: list[Value] = []
    segments: list[int] = []
    regions: list[Region] = []
    self.operands = ()
    self.attributes = {}
    self.results = ()
    self.regions = ()
    self.location = UNKNOWN
    self.parent = None
    for field in declaration.fields:
        value = given.get(field.name, field.default)
        if value is MISSING:
            raise TypeError(f"{declaration.name} needs a value for its field {field.name!r}")
        match field.kind:
            case "operand":
                operands.append(value)
                segments.append(1)
            case "optional":
                operands.extend([] if value is None else [value])
                segments.append(0 if value is None else 1)
            case "variadic":
                operands.extend(value)
                segments.append(len(value))
            case "access":
                operands.append(value.value)
                segments.append(1)
                self.attributes[field.name] = value.map
            case "accesses":
                operands.extend(a.value for a in value)
                segments.append(len(value))
                self.attributes[field.name] = tuple(a.map for a in value)
            case "region":
                regions.append(value)
            case "attribute":
                self.attributes[field.name] = value
    if any(f.is_group for f in declaration.fields):
        self.attributes[SEGMENTS] = tuple(segments)
    self.set_operands(operands)
    self.regions = tuple(regions)
    for region in regions:
        assert region.parent is None, "a region belongs to one operation"
        region.parent = self
    try:
        self.results = tuple(OpResult(self, i, t) for i, t in enumerate(self.infer()))
    except Exception:
        self.set_operands(())
        raise


def segments_of(operation: Operation) -> tuple[int, ...]:
    """How many operands each operand field of the operation has, in field order."""
    found = operation.attributes.get(SEGMENTS)
    return (1,) * len(operation.operands) if found is None else found


def _reader(declaration: Declaration, number: int) -> property:
    field = declaration.fields[number]
    place = sum(f.is_operand for f in declaration.fields[:number])
    region_place = sum(f.kind == "region" for f in declaration.fields[:number])

    def group(self: Operation) -> tuple[Value, ...]:
        sizes = segments_of(self)
        start = sum(sizes[:place])
        return self.operands[start : start + sizes[place]]

    def read(self: Operation) -> Any:
        match field.kind:
            case "attribute":
                return self.attributes[field.name]
            case "region":
                return self.regions[region_place]
            case "operand":
                return group(self)[0]
            case "optional":
                return (group(self) or (None,))[0]
            case "variadic":
                return group(self)
            case "access":
                return Access(group(self)[0], self.attributes[field.name])
            case "accesses":
                return tuple(Access(v, m) for v, m in zip(group(self), self.attributes[field.name], strict=True))

    return property(read)


# ---- the registry: a folder's listing ------------------------------------------------------------------------

_LOADED: set[str] = set()


def load_dialect(dialect: str) -> None:
    """Imports every module of `ir/<dialect>/ops/`, and those that packages outside name by an entry point in
    `headrace.<dialect>.ops`; an unknown dialect imports nothing."""
    if dialect in _LOADED or not dialect.isidentifier():
        return
    _LOADED.add(dialect)
    try:
        package = importlib.import_module(f"headrace.ir.{dialect}.ops")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("headrace.ir." + dialect):
            return
        raise
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
    for point in sorted(entry_points(group=f"headrace.{dialect}.ops"), key=lambda p: p.name):
        try:
            point.load()
        except Exception as error:
            wrong = f"{point.value} of an installed package cannot be imported: {one_line(error)}"
            raise HeadraceError(f"operation {point.name}: {wrong}") from error


def declared(name: str) -> Declaration:
    """The declaration of `dialect.op`.  Raises ParseError with the nearest known name."""
    load_dialect(name.partition(".")[0])
    if name not in _DECLARED:
        raise ParseError(f"unknown operation {str(name)!r}{nearest(name, sorted(_DECLARED))}")
    return _DECLARED[name]


def declarations(dialect: str) -> list[Declaration]:
    """All declarations of a dialect, by name."""
    load_dialect(dialect)
    return [_DECLARED[n] for n in sorted(_DECLARED) if n.startswith(dialect + ".")]
