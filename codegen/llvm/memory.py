"""Loads and stores of memory: addresses, lanes, masks.

In: a base pointer and the formula of an element.  Out: a value, or nothing.  The address grows from the base by
one step for each loop level that the formula mentions, and ends in a constant distance that fits the
instruction; so accesses that differ by a constant share a pointer.  Lanes in line are one vector access; other
lanes go one by one, or as a gather where they are masked.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.codegen.llvm.code import Code, Term
from headrace.codegen.llvm.types import (
    is_constant,
    list_literal,
    literal,
    memory_name,
    suffix,
    vector_name,
)
from headrace.ir.dims import Dim
from headrace.ir.types import DType, with_lanes


@dataclass(frozen=True, slots=True)
class Place:
    """Elements start, start + step, ... of memory behind `base`."""

    base: str
    dtype: DType
    start: Dim
    step: Dim
    lanes: int

    @property
    def contiguous(self) -> bool:
        return self.lanes == 1 or self.step == 1


def address(code: Code, place: Place, lane: int = 0) -> str:
    """A pointer to the element of one lane."""
    element = place.start + place.step * lane
    pointer = place.base
    terms: tuple[Term, ...] = ()
    for level, part in code.by_level(element):
        terms = (*terms, *part)
        pointer = code.once(("pointer", place.base, terms), level, _moved, code, place.dtype, pointer, level, part)
    if element.offset == 0:
        return pointer
    return code.add(f"getelementptr i8, ptr {pointer}, i64 {element.offset * place.dtype.bytes}")


def _moved(code: Code, dtype: DType, pointer: str, level: int, part: tuple[Term, ...]) -> str:
    return code.add(f"getelementptr {memory_name(dtype)}, ptr {pointer}, i64 {code.sum_of(part, level)}")


def prefetch(code: Code, place: Place) -> None:
    """Asks for the cache line of an element, to be read from the second level on."""
    kind = "i32"
    arguments = [("ptr", address(code, place)), (kind, "0"), (kind, "2"), (kind, "1")]  # a read, locality 2, of data
    code.call_void("llvm.prefetch.p0", arguments)


# ---- loads -----------------------------------------------------------------------------------------------------


def load(code: Code, place: Place, mask: str | None, otherwise: float | int | bool) -> str:
    """The element or elements; `otherwise` in lanes whose mask is false."""
    if mask is None:
        found = _load_vector(code, place) if place.contiguous else _load_lanes(code, place)
    else:
        other = _in_memory(literal(otherwise, with_lanes(place.dtype, place.lanes)), place.dtype)
        found = _load_if(code, place, mask, other) if place.lanes == 1 else _load_masked(code, place, mask, other)
    if place.dtype.kind != "bool":
        return found
    zero = "0" if place.lanes == 1 else "zeroinitializer"
    return code.add(f"icmp ne {vector_name('i8', place.lanes)} {found}, {zero}")


def _load_vector(code: Code, place: Place) -> str:
    kind = vector_name(memory_name(place.dtype), place.lanes)
    return code.add(f"load {kind}, ptr {address(code, place)}, align {place.dtype.bytes}")


def _load_lanes(code: Code, place: Place) -> str:
    element = memory_name(place.dtype)
    total = "poison"
    for lane in range(place.lanes):
        one = code.add(f"load {element}, ptr {address(code, place, lane)}, align {place.dtype.bytes}")
        total = code.add(f"insertelement <{place.lanes} x {element}> {total}, {element} {one}, i64 {lane}")
    return total


def _load_if(code: Code, place: Place, mask: str, other: str) -> str:
    """Without a branch: where the mask is false the load reads the array of buffers, and is ignored."""
    kind = memory_name(place.dtype)
    pointer = code.add(f"select i1 {mask}, ptr {address(code, place)}, ptr %buffers")
    found = code.add(f"load {kind}, ptr {pointer}, align {place.dtype.bytes}")
    return code.add(f"select i1 {mask}, {kind} {found}, {kind} {other}")


def _load_masked(code: Code, place: Place, mask: str, other: str) -> str:
    kind, flags = vector_name(memory_name(place.dtype), place.lanes), f"<{place.lanes} x i1>"
    if place.contiguous:
        pointer = (f"ptr align {place.dtype.bytes}", address(code, place))
        return code.call(f"llvm.masked.load.{suffix(kind)}.p0", kind, [pointer, (flags, mask), (kind, other)])
    pointers = (f"<{place.lanes} x ptr> align {place.dtype.bytes}", _pointers(code, place))
    name = f"llvm.masked.gather.{suffix(kind)}.v{place.lanes}p0"
    return code.call(name, kind, [pointers, (flags, mask), (kind, other)])


# ---- stores ----------------------------------------------------------------------------------------------------


def store(code: Code, place: Place, mask: str | None, value: str) -> None:
    """Writes the value's lanes whose mask, if there is one, is true."""
    if place.dtype.kind == "bool":
        value = _bool_in_memory(code, value, place.lanes)
    if mask is None:
        (_store_vector if place.contiguous else _store_lanes)(code, place, value)
    elif place.lanes == 1:
        _store_if(code, place, mask, value)
    else:
        _store_masked(code, place, mask, value)


def _store_vector(code: Code, place: Place, value: str) -> None:
    kind = vector_name(memory_name(place.dtype), place.lanes)
    code.run(f"store {kind} {value}, ptr {address(code, place)}, align {place.dtype.bytes}")


def _store_lanes(code: Code, place: Place, value: str) -> None:
    element = memory_name(place.dtype)
    for lane in range(place.lanes):
        one = code.add(f"extractelement <{place.lanes} x {element}> {value}, i64 {lane}")
        code.run(f"store {element} {one}, ptr {address(code, place, lane)}, align {place.dtype.bytes}")


def _store_if(code: Code, place: Place, mask: str, value: str) -> None:
    scope = code.scopes[-1]
    before, write = scope.block, code.open_block()
    with code.scope(code.level, write):
        _store_vector(code, place, value)
    after = code.open_block()
    before.end = f"br i1 {mask}, label %{write.name}, label %{after.name}"
    write.end = f"br label %{after.name}"
    scope.block = after


def _unknown_true(code: Code) -> str:
    """True: scratch is aligned to more than a byte.

    LLVM 22 writes all bytes of the wider integer where it sees that a store of truncated ones, with AVX-512, has a mask
    of one lane: a mask that is no constant keeps it from seeing that.
    """
    bits = code.add("ptrtoint ptr %scratch to i64")
    return code.add(f"icmp eq i64 {code.add(f'and i64 {bits}, 1')}, 0")


def _store_masked(code: Code, place: Place, mask: str, value: str) -> None:
    kind, flags = vector_name(memory_name(place.dtype), place.lanes), f"<{place.lanes} x i1>"
    if place.contiguous:
        pointer = (f"ptr align {place.dtype.bytes}", address(code, place))
        if place.dtype.bytes < 8 and memory_name(place.dtype).startswith("i"):
            true = code.once("true, but LLVM does not know", 0, _unknown_true, code)
            mask = code.add(f"select i1 {true}, {flags} {mask}, {flags} zeroinitializer")
        code.call_void(f"llvm.masked.store.{suffix(kind)}.p0", [(kind, value), pointer, (flags, mask)])
    else:
        pointers = (f"<{place.lanes} x ptr> align {place.dtype.bytes}", _pointers(code, place))
        code.call_void(f"llvm.masked.scatter.{suffix(kind)}.v{place.lanes}p0", [(kind, value), pointers, (flags, mask)])


# ---- parts -----------------------------------------------------------------------------------------------------


def _pointers(code: Code, place: Place) -> str:
    """A vector of pointers to all lanes."""
    lanes = place.lanes
    if place.step.is_constant:
        offsets = list_literal([place.step.value * lane for lane in range(lanes)], "i64")
    else:
        numbers = list_literal(list(range(lanes)), "i64")
        offsets = code.add(f"mul <{lanes} x i64> {code.splat(code.value(place.step), 'i64', lanes)}, {numbers}")
    return code.add(f"getelementptr {memory_name(place.dtype)}, ptr {address(code, place)}, <{lanes} x i64> {offsets}")


def _in_memory(value: str, dtype: DType) -> str:
    """A boolean constant as it lies in memory."""
    return value.replace("i1 ", "i8 ").replace("true", "1").replace("false", "0") if dtype.kind == "bool" else value


def _bool_in_memory(code: Code, value: str, lanes: int) -> str:
    if is_constant(value):
        return value.replace("i1 ", "i8 ").replace("true", "1").replace("false", "0")
    return code.add(f"zext {vector_name('i1', lanes)} {value} to {vector_name('i8', lanes)}")
