"""The text of one function under construction, and where in it a formula is computed.

In: instructions, and formulas over scalars and loop axes.  Out: names of values; blocks in order.

Scopes nest as the control flow does: the function, the body of each loop, each branch of a condition.  A scope's
*level* is the number of loops around it.  What depends on formulas alone is computed once for all loops that do not
change it: at the end of what is printed so far of the innermost scope on the level that has all its symbols.  So an
inner loop holds only what changes in it, and a branch what it alone needs:

    for i: for k:  x[min(i*6, m - 1), k + 1]
    ->  in i's body, before the loop over k:   %row = x + min(i*6, m - 1)*768
        in k's body:                           %element = %row + k;  load 4 bytes behind it

Formulas have no effect and never trap: a divisor that is no constant is taken as 1 where it is 0 (a loop that
does not run may ask for that).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec

from headrace.codegen.llvm.text import Block, Phi
from headrace.ir.dims import Dim, Facts
from headrace.ir.dims.expr import Atom, Compound, Monomial
from headrace.ir.errors import CodegenError
from headrace.ir.facts import TargetFacts

# Straight-line code costs LLVM more than linear time; 8000 instructions take it about a second.
MOST_INSTRUCTIONS = 12000

Term = tuple[Monomial, int]
P = ParamSpec("P")


@dataclass(slots=True)
class Scope:
    """A stretch of code that runs as a whole; `block` is where more of it goes."""

    level: int
    block: Block
    known: dict[Hashable, str] = field(default_factory=dict)  # values of this level, by what they compute


class Code:
    """Adds instructions at a cursor that follows the scopes."""

    def __init__(self, name: str, target: TargetFacts, known: Facts) -> None:
        self.name = name
        self.target = target
        self.facts = known
        self.blocks: list[Block] = []
        self.declared: dict[str, str] = {}  # declarations of the intrinsics used
        self.symbols: dict[str, str] = {}
        self.levels: dict[str, int] = {}
        self._values = 0
        self._instructions = 0
        self.scopes = [Scope(0, self.open_block())]
        self._cursor = 0

    # ---- instructions ------------------------------------------------------------------------------------

    @property
    def block(self) -> Block:
        """Where the next instruction goes."""
        return self.scopes[self._cursor].block

    def fresh(self) -> str:
        """A new name for a value."""
        self._values += 1
        return f"%v{self._values}"

    def add(self, text: str) -> str:
        """Appends an instruction; returns the name of its value."""
        name = self.fresh()
        self.run(f"{name} = {text}")
        return name

    def run(self, text: str) -> None:
        """Appends an instruction without a value."""
        self._instructions += 1
        if self._instructions > MOST_INSTRUCTIONS:
            raise CodegenError(
                f"kernel @{self.name}: more than {MOST_INSTRUCTIONS} instructions after unrolling; its schedule"
                " must unroll less"
            )
        self.block.lines.append(text)

    def call(self, name: str, result: str, arguments: Sequence[tuple[str, str]], flags: str = "") -> str:
        """Calls an intrinsic; arguments are (type, value)."""
        self._declare(name, result, [kind for kind, _ in arguments])
        return self.add(f"call {flags}{result} @{name}({_listed(arguments)})")

    def call_void(self, name: str, arguments: Sequence[tuple[str, str]]) -> None:
        """Calls an intrinsic that gives nothing."""
        self._declare(name, "void", [kind for kind, _ in arguments])
        self.run(f"call void @{name}({_listed(arguments)})")

    def _declare(self, name: str, result: str, kinds: Sequence[str]) -> None:
        plain = ", ".join(kind.partition(" align ")[0] for kind in kinds)
        self.declared[name] = f"declare {result} @{name}({plain})"

    def splat(self, value: str, element: str, lanes: int) -> str:
        """The scalar in each lane."""
        kind = f"<{lanes} x {element}>"
        one = self.add(f"insertelement {kind} poison, {element} {value}, i64 0")
        return self.add(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")

    # ---- blocks and scopes -------------------------------------------------------------------------------

    def open_block(self) -> Block:
        """A new block, behind all others in the text."""
        block = Block(f"b{len(self.blocks)}")
        self.blocks.append(block)
        return block

    def phi(self, type: str, sources: list[tuple[str, str]]) -> Phi:
        """A new phi at the top of the current block."""
        phi = Phi(self.fresh(), type, sources)
        self.block.phis.append(phi)
        return phi

    @contextmanager
    def scope(self, level: int, block: Block) -> Iterator[Scope]:
        """Code inside goes to `block` and what follows it; the surrounding scope stays open for hoisting."""
        self.scopes.append(Scope(level, block))
        self._cursor = len(self.scopes) - 1
        try:
            yield self.scopes[-1]
        finally:
            self.scopes.pop()
            self._cursor = len(self.scopes) - 1

    @property
    def level(self) -> int:
        """How many loops are open."""
        return self.scopes[-1].level

    @contextmanager
    def symbol(self, name: str, value: str, level: int, extent: Dim) -> Iterator[None]:
        """Formulas inside may mention the axis `name`."""
        before = self.facts
        self.facts = before.with_symbol(name, Dim.constant(0), extent)
        self.symbols[name], self.levels[name] = value, level
        yield
        del self.symbols[name], self.levels[name]
        self.facts = before

    def once(self, key: Hashable, level: int, make: Callable[P, str], *arguments: P.args, **named: P.kwargs) -> str:
        """The value of `key`, which the symbols of `level` determine: made in the innermost scope of that level."""
        found = [i for i, scope in enumerate(self.scopes) if scope.level == level]
        for place in found:
            if key in self.scopes[place].known:
                return self.scopes[place].known[key]
        before, self._cursor = self._cursor, found[-1]
        value = self.scopes[found[-1]].known[key] = make(*arguments, **named)
        self._cursor = before
        return value

    # ---- formulas ----------------------------------------------------------------------------------------

    def level_of(self, dim: Dim) -> int:
        """The lowest level at which the formula has a value."""
        return max((self._symbol_level(s) for s in dim.symbols), default=0)

    def _symbol_level(self, name: str) -> int:
        if name not in self.levels:
            raise CodegenError(f"kernel @{self.name}: symbol {name!r} is neither one of its scalars nor an open loop")
        return self.levels[name]

    def value(self, dim: Dim) -> str:
        """An i64: the formula's value."""
        if dim.is_constant:
            return str(dim.value)
        total = ""
        terms: tuple[Term, ...] = ()
        for level, part in self.by_level(dim):
            total, terms = self._extended(total, terms, level, part), (*terms, *part)
        return self._offset(total, terms, dim)

    def by_level(self, dim: Dim) -> list[tuple[int, tuple[Term, ...]]]:
        """The terms but for the constant one, grouped by the level at which they are known, lowest first."""
        groups: dict[int, list[Term]] = {}
        for monomial, factor in dim.terms:
            if monomial:
                level = max(self._atom_level(atom) for atom, _ in monomial)
                groups.setdefault(level, []).append((monomial, factor))
        return [(level, tuple(groups[level])) for level in sorted(groups)]

    def sum_of(self, part: tuple[Term, ...], level: int) -> str:
        """The sum of terms of one level."""
        return self._extended("", (), level, part)

    def _extended(self, total: str, terms: tuple[Term, ...], level: int, part: tuple[Term, ...]) -> str:
        for monomial, factor in part:
            terms = (*terms, (monomial, factor))
            total = self.once(("sum", terms), level, self._plus, total, monomial, factor)
        return total

    def _plus(self, total: str, monomial: Monomial, factor: int) -> str:
        if not total:
            return self._product(monomial, factor)
        kind = "add" if factor > 0 else "sub"
        return self.add(f"{kind} i64 {total}, {self._product(monomial, abs(factor))}")

    def _offset(self, total: str, terms: tuple[Term, ...], dim: Dim) -> str:
        if not dim.offset:
            return total
        return self.once(("sum", terms, dim.offset), self.level_of(dim), self.add, f"add i64 {total}, {dim.offset}")

    def _product(self, monomial: Monomial, factor: int) -> str:
        """Factors known further out are multiplied first."""
        atoms = sorted((a for a, power in monomial for _ in range(power)), key=self._atom_level)
        total = self._atom(atoms[0])
        if factor != 1:
            level = self._atom_level(atoms[0])
            total = self.once(("product", atoms[0], factor), level, self.add, f"mul i64 {total}, {factor}")
        for count, atom in enumerate(atoms[1:], 2):
            key = ("product", tuple(atoms[:count]), factor)
            total = self.once(key, self._atom_level(atom), self._times, total, atom)
        return total

    def _times(self, total: str, atom: Atom) -> str:
        return self.add(f"mul i64 {total}, {self._atom(atom)}")

    def _atom_level(self, atom: Atom) -> int:
        if isinstance(atom, str):
            return self._symbol_level(atom)
        return max(self.level_of(a) for a in atom.arguments)

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            return self.symbols[atom]
        return self.once(("atom", atom), self._atom_level(atom), self._compound, atom)

    def _compound(self, atom: Compound) -> str:
        match atom.kind:
            case "min" | "max":
                total = self.value(atom.arguments[0])
                for argument in atom.arguments[1:]:
                    kinds = [("i64", total), ("i64", self.value(argument))]
                    total = self.call(f"llvm.s{atom.kind}.i64", "i64", kinds)
                return total
            case "floordiv":
                return self._divide(atom.arguments[0], atom.arguments[1], remainder=False)
            case _:
                return self._divide(atom.arguments[0], atom.arguments[1], remainder=True)

    def divisor(self, dim: Dim) -> str:
        """The formula's value, or 1 where it is 0."""
        if dim.is_constant:
            return str(dim.value)
        value = self.value(dim)
        if self.facts.less(0, dim) is True:
            return value
        return self.call("llvm.smax.i64", "i64", [("i64", value), ("i64", "1")])

    def _divide(self, dividend: Dim, by: Dim, *, remainder: bool) -> str:
        """Floor semantics; the divisor is positive."""
        x, y = self.value(dividend), self.divisor(by)
        if self.facts.less_equal(0, dividend) is True:
            return self.add(f"{'urem' if remainder else 'udiv'} i64 {x}, {y}")
        if by.is_constant and by.value & (by.value - 1) == 0:
            text = f"and i64 {x}, {by.value - 1}" if remainder else f"ashr i64 {x}, {by.value.bit_length() - 1}"
            return self.add(text)
        rest = self.add(f"srem i64 {x}, {y}")
        below = self.add(f"icmp slt i64 {rest}, 0")
        if remainder:
            moved = self.add(f"add i64 {rest}, {y}")
            return self.add(f"select i1 {below}, i64 {moved}, i64 {rest}")
        quotient = self.add(f"sdiv i64 {x}, {y}")
        step = self.add(f"sext i1 {below} to i64")
        return self.add(f"add i64 {quotient}, {step}")

    # ---- conditions --------------------------------------------------------------------------------------

    def holds(self, where: Sequence[Dim]) -> str:
        """An i1: whether each formula is >= 0."""
        total = "true"
        for dim in where:
            one = self._holds(dim)
            if one == "false" or total == "true":
                total = one
            elif one != "true" and total != "false":
                total = self.add(f"and i1 {total}, {one}")
        return total

    def _holds(self, dim: Dim) -> str:
        if dim.is_constant:
            return "true" if dim.value >= 0 else "false"
        return self.once(("holds", dim), self.level_of(dim), self._not_negative, dim)

    def _not_negative(self, dim: Dim) -> str:
        return self.add(f"icmp sge i64 {self.value(dim)}, 0")


def _listed(arguments: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{kind} {value}" for kind, value in arguments)



