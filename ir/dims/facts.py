"""`Facts`: what is known about the symbols of formulas, and three-valued questions about them.

In: intervals, divisors, equalities of symbols, and loop axes with symbolic bounds.  Out: intervals of formulas,
simpler formulas, and True, False or None (unknown) for a comparison.  Unknown is never guessed away.

A symbol is at least 0 unless said otherwise (dims are).  Comparisons substitute bounds: to show d >= 0, replace a
bounded symbol, innermost first, by the end of its range that makes d smallest; `k*(x floordiv k)` lies in
(x - k, x]; a minimum is one of its arguments and no larger than any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import lcm

from headrace.ir.dims import intervals
from headrace.ir.dims.expr import Atom, Compound, Dim, DimLike, Monomial, apply
from headrace.ir.dims.intervals import Interval
from headrace.ir.dims.parse import as_dim, parse_dim
from headrace.ir.errors import DimError

NOMINAL = 16  # what a symbol is taken to be where sizes are weighed and nothing is known
_DEPTH = 12  # how many bounds a proof may substitute, one after the other
_SEARCHED = 4  # quotients of a formula that a search replaces one by one
_TRIED = 8  # values of a formula's only symbol, from the smallest on
_EFFORT = 200  # how many formulas it may look at; most need fewer than ten


class Facts:
    """What is known; `with_symbol` gives a copy with one more axis."""

    __slots__ = ("_axes", "_divisors", "_equal", "_intervals")

    def __init__(self) -> None:
        self._intervals: dict[str, Interval] = {}
        self._divisors: dict[str, int] = {}
        self._equal: dict[str, Dim] = {}
        self._axes: dict[str, tuple[Dim, Dim]] = {}  # name -> [lower, upper); later ones are inner

    def copy(self) -> Facts:
        new = Facts()
        new._intervals = dict(self._intervals)
        new._divisors = dict(self._divisors)
        new._equal = dict(self._equal)
        new._axes = dict(self._axes)
        return new

    # ---- learning ----------------------------------------------------------------------------------------

    def restrict(self, name: str, lower: int | None = None, upper: int | None = None) -> None:
        """name >= lower and name <= upper.  Raises DimError if nothing is left."""
        low, high = self._intervals.get(name, (0, None))
        low = lower if low is None else low if lower is None else max(low, lower)
        high = upper if high is None else high if upper is None else min(high, upper)
        if low is not None and high is not None and low > high:
            raise DimError(f"{name} would have to be at least {low} and at most {high}")
        self._intervals[name] = (low, high)

    def divisible_by(self, name: str, number: int) -> None:
        """name mod number == 0."""
        self._divisors[name] = lcm(self._divisors.get(name, 1), number)

    def equate(self, left: DimLike, right: DimLike) -> None:
        """left == right.  Raises DimError if that cannot be."""
        difference = self.simplify(as_dim(left) - as_dim(right))
        if self.equal(difference, 0) is True:
            return
        if self.equal(difference, 0) is False:
            raise DimError(f"{left} and {right} cannot be equal")
        for name in sorted(difference.symbols, reverse=True):
            split = difference.linear(name)
            if split is not None and split[0].is_constant and abs(split[0].value) == 1 and name not in self._axes:
                solved = -split[1] if split[0].value == 1 else split[1]
                self._equal = {n: d.substitute({name: solved}) for n, d in self._equal.items()}
                self._equal[name] = solved
                return

    def with_symbol(self, name: str, lower: DimLike, upper: DimLike) -> Facts:
        """A copy in which `name` ranges over [lower, upper), formulas over what was known before."""
        new = self.copy()
        new._axes.pop(name, None)
        new._axes[name] = (as_dim(lower), as_dim(upper))
        return new

    # ---- asking ------------------------------------------------------------------------------------------

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that something is known of, and those that it mentions; sorted."""
        found = {*self._intervals, *self._divisors, *self._equal}
        for dim in self._equal.values():
            found.update(dim.symbols)
        return tuple(sorted(found))

    def interval(self, dim: DimLike) -> Interval:
        """(lowest, highest) as far as known; None for unbounded."""
        return self._interval(as_dim(dim).substitute(self._equal))

    def simplify(self, dim: DimLike) -> Dim:
        """An equal formula without what the facts decide: equalities, min, max, mod and floordiv."""
        dim = as_dim(dim).substitute(self._equal)
        total = Dim.constant(0)
        for monomial, factor in dim.terms:
            product = Dim.constant(factor)
            for atom, power in monomial:
                base = Dim.symbol(atom) if isinstance(atom, str) else self._simplify_compound(atom)
                for _ in range(power):
                    product = product * base
            total = total + product
        return total

    def equal(self, left: DimLike, right: DimLike) -> bool | None:
        """Whether they are the same number."""
        difference = (as_dim(left) - as_dim(right)).substitute(self._equal)
        if difference.is_constant:
            return difference.value == 0
        if self._positive(difference - 1) or self._positive(-difference - 1):
            return False
        return True if self._positive(difference) and self._positive(-difference) else None

    def less_equal(self, left: DimLike, right: DimLike) -> bool | None:
        """Whether left <= right."""
        difference = (as_dim(right) - as_dim(left)).substitute(self._equal)
        if self._positive(difference):
            return True
        return False if self._positive(-difference - 1) else None

    def less(self, left: DimLike, right: DimLike) -> bool | None:
        """Whether left < right."""
        return self.less_equal(as_dim(left) + 1, right)

    def divides(self, number: int, dim: DimLike) -> bool | None:
        """Whether dim is a multiple of number."""
        rest = as_dim(dim).substitute(self._equal) % number
        if rest.is_constant:
            return rest.value == 0
        rest = as_dim(dim).substitute(self._equal)
        for monomial, factor in rest.terms:
            known = factor
            for atom, power in monomial:
                if isinstance(atom, str):
                    known *= self._divisors.get(atom, 1) ** power
            if known % number:
                low, high = self.interval(rest % number)
                return False if low is not None and low > 0 and high is not None else None
        return True

    def smallest(self, symbols: Iterable[str], at_least: Mapping[str, int] | None = None) -> dict[str, int]:
        """The smallest legal value of each symbol, not below `at_least`.  Raises DimError if there is none."""
        floors = at_least or {}
        wanted = sorted(set(symbols))
        free = sorted({s for w in wanted for s in self._equal.get(w, Dim.symbol(w)).symbols})
        found: dict[str, int] = {}
        for name in free:
            low, high = self._intervals.get(name, (0, None))
            step = self._divisors.get(name, 1)
            value = -(-max(low or 0, floors.get(name, 0)) // step) * step
            if high is not None and value > high:
                value = high // step * step
            if low is not None and value < low:
                raise DimError(f"no multiple of {step} for {name} in [{low}, {high}]")
            found[name] = value
        return {w: int(self._equal.get(w, Dim.symbol(w)).evaluate(found)) for w in wanted}

    def nominal(self, formula: Dim) -> int:
        """A value to weigh costs by: at NOMINAL, or the next legal values; NOMINAL itself where that divides by 0."""
        try:
            return int(formula.evaluate(self.smallest(formula.symbols, dict.fromkeys(formula.symbols, NOMINAL))))
        except DimError:
            return NOMINAL

    # ---- text --------------------------------------------------------------------------------------------

    def lines(self) -> tuple[str, ...]:
        """One line for each fact, sorted by symbol; axes are not among them."""
        found = []
        for name, (low, high) in sorted(self._intervals.items()):
            found.append(f"{name} in [{'-inf' if low is None else low}, {'inf' if high is None else high}]")
        found += [f"{name} mod {number} == 0" for name, number in sorted(self._divisors.items())]
        found += [f"{name} == {dim}" for name, dim in sorted(self._equal.items())]
        return tuple(found)

    def formulas(self, symbols: Iterable[str]) -> tuple[Dim, ...]:
        """Formulas that are all at least 0 exactly where the facts hold, for these symbols too; axes are left out."""
        found: list[Dim] = []
        for name in sorted({*self._intervals, *symbols}):
            low, high = self._intervals.get(name, (0, None))
            found += [] if low is None else [Dim.symbol(name) - low]
            found += [] if high is None else [Dim.constant(high) - Dim.symbol(name)]
        found += [-(Dim.symbol(name) % number) for name, number in sorted(self._divisors.items())]
        for name, dim in sorted(self._equal.items()):
            found += [Dim.symbol(name) - dim, dim - Dim.symbol(name)]
        return tuple(found)

    @staticmethod
    def parse(lines: Sequence[str]) -> Facts:
        """The facts that `lines` gave.  Raises DimError for a line of another form."""
        facts = Facts()
        for line in lines:
            if match := re.fullmatch(r"\s*(\w+) in \[(-?\w+), (-?\w+)\]\s*", line):
                low, high = (None if m.endswith("inf") else int(m) for m in match.groups()[1:])
                facts._intervals[match.group(1)] = (low, high)
            elif match := re.fullmatch(r"\s*(\w+) mod (\d+) == 0\s*", line):
                facts.divisible_by(match.group(1), int(match.group(2)))
            elif "==" in line:
                left, _, right = line.partition("==")
                facts.equate(parse_dim(left), parse_dim(right))
            else:
                raise DimError(f"fact {line!r}: expected 'n in [0, 4]', 'n mod 8 == 0' or 'n == m*2'")
        return facts

    # ---- intervals ---------------------------------------------------------------------------------------

    def _interval(self, dim: Dim) -> Interval:
        found: Interval = (0, 0)
        for monomial, factor in dim.terms:
            part: Interval = (1, 1)
            for atom, power in monomial:
                one = self._atom_interval(atom)
                for _ in range(power):
                    part = intervals.product(part, one)
                if power % 2 == 0 and (part[0] is None or part[0] < 0) and len(monomial) == 1:
                    part = (0, part[1])
            found = intervals.total(found, intervals.product(part, (factor, factor)))
        return found

    def _atom_interval(self, atom: Atom) -> Interval:
        if isinstance(atom, str):
            if atom in self._axes:
                lower, upper = self._axes[atom]
                high = self._interval(upper)[1]
                return self._interval(lower)[0], None if high is None else high - 1
            if atom in self._equal:
                return self._interval(self._equal[atom])
            return self._intervals.get(atom, (0, None))
        parts = [self._interval(a) for a in atom.arguments]
        match atom.kind:
            case "floordiv":
                return intervals.quotient(parts[0], parts[1])
            case "mod":
                return intervals.remainder(parts[0], parts[1])
            case kind:
                return intervals.extreme(kind, parts)

    # ---- proofs ------------------------------------------------------------------------------------------

    def _positive(self, dim: Dim) -> bool:
        """Whether dim >= 0 can be shown."""
        quotients = constant_quotients(dim)
        if len(quotients) <= _SEARCHED:
            return self._shown(dim, _DEPTH, {})
        return self._shown(dim, 0, {}) or self._shown_at_once(dim, quotients)

    def _shown_at_once(self, dim: Dim, quotients: list[Compound]) -> bool:
        """The proof for sums of many quotients, whose bounds a search would take in every order.

        A quotient rounded up is what it bounds at 0 and less than that soon after.  So where there is one symbol, its
        first values are tried, and the bounds are taken behind these.
        """
        if len(dim.symbols) == 1 and dim.symbols[0] not in self._axes:
            (name,) = dim.symbols
            if any(_is_below_zero(dim, name, value) for value in self._first_values(name)):
                return False
            dim = dim.substitute({name: Dim.symbol(name) + _TRIED})
            quotients = constant_quotients(dim)
        return self._shown(_without(dim, quotients), _DEPTH, {})

    def _first_values(self, name: str) -> list[int]:
        """The values that a symbol may have among the smallest `_TRIED` numbers of its interval."""
        low, high = self._interval(Dim.symbol(name))
        numbers = range(low or 0, (low or 0) + _TRIED)
        return [n for n in numbers if (high is None or n <= high) and n % self._divisors.get(name, 1) == 0]

    def _shown(self, dim: Dim, depth: int, tried: dict[Dim, bool]) -> bool:
        """One step of the proof; `tried` has every formula that was looked at, with what came of it."""
        if dim in tried or len(tried) >= _EFFORT:
            return tried.get(dim, False)
        low, _ = self._interval(dim)
        tried[dim] = low is not None and low >= 0
        if not tried[dim] and depth > 0 and not dim.is_constant:
            tried[dim] = self._shown_by_bounds(dim, depth - 1, tried)
        return tried[dim]

    def _shown_by_bounds(self, dim: Dim, depth: int, tried: dict[Dim, bool]) -> bool:
        for atom in _compounds(dim):
            smaller = self._without(dim, atom)
            if smaller is not None:
                must_all, choices = smaller
                check = all if must_all else any
                if check(self._shown(c, depth, tried) for c in choices):
                    return True
        for name in reversed(self._axes):
            split = dim.linear(name) if name in dim.symbols else None
            if split is None:
                continue
            lower, upper = self._axes[name]
            least, most = self._interval(split[0])
            if least is not None and least >= 0:
                return self._shown(split[0] * lower + split[1], depth, tried)
            if most is not None and most <= 0:
                return self._shown(split[0] * (upper - 1) + split[1], depth, tried)
        return False

    def _without(self, dim: Dim, atom: Compound) -> tuple[bool, list[Dim]] | None:
        """Formulas not above `dim` with one compound replaced: all, or any of them, being >= 0 proves dim >= 0."""
        split = _linear_in_atom(dim, atom)
        if split is None:
            return None
        factor, rest = split
        match atom.kind:
            case "min":
                return factor > 0, [rest + a * factor for a in atom.arguments]
            case "max":
                return factor < 0, [rest + a * factor for a in atom.arguments]
            case "floordiv":
                x, by = atom.arguments
                if not by.is_constant or factor % by.value:
                    return None
                times = factor // by.value
                return True, [rest + (x - by + 1 if times > 0 else x) * times]
        return None

    def _simplify_compound(self, atom: Compound) -> Dim:
        arguments = [self.simplify(a) for a in atom.arguments]
        match atom.kind:
            case "floordiv" | "mod":
                x, by = arguments
                if by.is_constant or self.less(0, by) is True:
                    whole, rest = self._split_range(x, by)
                    if rest is not None:
                        return whole if atom.kind == "floordiv" else rest
            case kind:
                kept: list[Dim] = []
                for place, one in enumerate(arguments):
                    others = kept + arguments[place + 1 :]
                    beaten = any(
                        (self.less_equal(o, one) if kind == "min" else self.less_equal(one, o)) is True for o in others
                    )
                    if not beaten:
                        kept.append(one)
                arguments = kept
        return apply(atom.kind, arguments)

    def _split_range(self, x: Dim, by: Dim) -> tuple[Dim, Dim | None]:
        """(quotient, rest) of x by `by`, if the terms that are no multiples of it stay within [0, by)."""
        quotient = Dim.constant(0)
        rest = Dim.constant(0)
        for monomial, factor in x.terms:
            term = Dim(((monomial, factor),)) if monomial else Dim.constant(factor)
            if by.is_constant and factor % by.value == 0:
                quotient = quotient + (
                    Dim(((monomial, factor // by.value),)) if monomial else Dim.constant(factor // by.value)
                )
            else:
                rest = rest + term
        if self.less_equal(0, rest) is True and self.less(rest, by) is True:
            return quotient, rest
        return quotient, None


def _compounds(dim: Dim) -> list[Compound]:
    """The compounds that stand alone in a term, in term order."""
    found = [m[0][0] for m, _ in dim.terms if len(m) == 1 and m[0][1] == 1]
    return [a for a in found if isinstance(a, Compound)]


def _is_below_zero(dim: Dim, name: str, value: int) -> bool:
    try:
        return int(dim.evaluate({name: value})) < 0
    except DimError:
        return False  # a division by 0: there is no such run


def constant_quotients(dim: Dim) -> list[Compound]:
    """The compounds of a formula that stand alone in a term and divide by a number."""
    return [a for a in _compounds(dim) if a.kind == "floordiv" and a.arguments[1].is_constant]


def _without(dim: Dim, quotients: list[Compound]) -> Dim:
    """A formula that is >= 0 only where this one is: a multiple of it, each quotient replaced by its bound."""
    common = lcm(*(a.arguments[1].value for a in quotients))
    factors = dict(dim.terms)
    total = dim * common
    for atom in quotients:
        x, by = atom.arguments
        factor = factors[((atom, 1),)] * common
        bound = x - by + 1 if factor > 0 else x
        total = total - Dim(((((atom, 1),), factor),)) + bound * (factor // by.value)
    return total


def _linear_in_atom(dim: Dim, atom: Compound) -> tuple[int, Dim] | None:
    """(factor, rest) with dim = factor * atom + rest and a constant factor."""
    target: Monomial = ((atom, 1),)
    factor = dict(dim.terms).get(target)
    if factor is None:
        return None
    rest = dim - Dim(((target, factor),))
    inside = any(a == atom for m, _ in rest.terms for a, _ in m)
    return None if inside else (factor, rest)
